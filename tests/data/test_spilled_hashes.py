import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.data import spilled_hashes as spilled_module
from penstock.data.leakage import Leakage, LeakageCheck
from penstock.data.row_hash import row_hashes
from penstock.data.spilled_hashes import SpilledHashes

hashes = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1 << 58, (1 << 58) - 1, 2**64 - 1])


@settings(max_examples=50, deadline=None)
@given(
    batches=st.lists(st.tuples(st.integers(0, 2), st.lists(hashes, max_size=8)), max_size=12),
    most=st.integers(1, 30),
)
def test_parts_hold_every_hash_once_and_equal_ones_together(batches, most, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spilled_module, "WAITING_ROWS", most)
        spilled = SpilledHashes(tmp_path_factory.mktemp("hashes") / "x", 3)
        for place, values in batches:
            spilled.add(place, np.array(values, np.uint64))
        parts = list(spilled.parts())
    for place in range(3):
        found = [value for part in parts for value in part[place].tolist()]
        assert sorted(found) == sorted(v for p, values in batches if p == place for v in values)
    seen = [{value for split in part for value in split.tolist()} for part in parts]
    assert sum(map(len, seen)) == len(set().union(*seen))


def test_leaks_are_counted_the_same_from_files(tmp_path, monkeypatch):
    draw = np.random.default_rng(0)
    batch = pa.RecordBatch.from_pydict(
        {"n": draw.integers(0, 9, 1000), "group": draw.integers(0, 300, 1000)}
    )
    places = draw.integers(0, 2, 1000)
    check = LeakageCheck(groups=("group",))
    frame = batch.to_pandas().assign(split=places)

    def shared(names):
        return frame.groupby(names)["split"].transform("nunique") > 1

    expected = {
        "duplicate_rows": shared(["n", "group"]).sum(),
        "duplicate_groups": frame["group"][shared(["group"])].nunique(),
    }
    assert all(expected.values())
    for most in (10_000, 150):
        monkeypatch.setattr(spilled_module, "WAITING_ROWS", most)
        leakage = Leakage(check, ["a", "b"], True, tmp_path / str(most))
        for start in range(0, 1000, 100):
            part = batch.slice(start, 100)
            leakage.add(part, row_hashes(part), places[start : start + 100])
        assert leakage.counts() == expected
        assert (tmp_path / str(most)).exists() == (most == 150)
