"""Whether infra_validator's verdict can be read."""

import json

import pytest

from penstock.errors import PenstockError
from penstock.evaluation.infra_blessing import read_infra_blessing, warmup_file

GOOD = {"blessed": True, "reason": "All 9 checks passed.", "model_digest": "sha256:1", "rows": 7}


def test_the_verdict_is_read_with_all_that_was_recorded(tmp_path):
    (tmp_path / "infra_blessing.json").write_text(json.dumps(GOOD))

    found = read_infra_blessing(tmp_path)

    assert (found.blessed, found.reason) == (True, "All 9 checks passed.")
    assert found.model_digest == "sha256:1"
    assert found.record["rows"] == 7


@pytest.mark.parametrize("wrong", [{"blessed": 1}, {"reason": None}, {"model_digest": None}])
def test_what_is_no_infra_blessing_is_refused(tmp_path, wrong):
    with pytest.raises(PenstockError, match=r"no infra blessing at .* the infra_validator wrote"):
        read_infra_blessing(tmp_path)
    (tmp_path / "infra_blessing.json").write_text(json.dumps(GOOD | wrong))

    with pytest.raises(PenstockError, match=r"infra_blessing\.json is not an infra blessing"):
        read_infra_blessing(tmp_path)


def test_warm_up_requests_are_found_where_there_are_some(tmp_path):
    assert warmup_file(tmp_path) is None
    (tmp_path / "warmup").mkdir()
    (tmp_path / "warmup/tf_serving_warmup_requests").write_bytes(b"")

    assert warmup_file(tmp_path) == tmp_path / "warmup/tf_serving_warmup_requests"
