"""What several workers find, shard by shard, is what one process finds in one shard."""

import json

import pytest
from gate import Logistic, export, flights, run, write_examples

CONFIG = """
model_specs { label_key: "late" example_weight_key: "weight" }
slicing_specs {}
slicing_specs { slice_keys_sql: "SELECT STRUCT(month) FROM example.month WHERE month = 1" }
metrics_specs {
  metrics {
    class_name: "AUC"
    threshold {
      value_threshold { lower_bound { value: 0.6 } }
      change_threshold { direction: HIGHER_IS_BETTER absolute { value: -0.01 } }
    }
  }
  metrics { class_name: "BinaryAccuracy" }
  metrics { class_name: "Calibration" }
  metrics { class_name: "MeanSquaredError" }
  metrics { class_name: "LogCoshError" }
}
"""
WORKERS = ["--direct_running_mode=multi_threading", "--direct_num_workers=3"]


@pytest.fixture(scope="module")
def models(model, tmp_path_factory):
    return model, export(Logistic(), tmp_path_factory.mktemp("champion"))


def numbers(node, path=()):
    """Every leaf of JSON with its path."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from numbers(value, (*path, key))
    elif isinstance(node, list):
        for place, value in enumerate(node):
            yield from numbers(value, (*path, place))
    else:
        yield path, node


def test_shards_on_workers_give_the_numbers_of_one_process(models, tmp_path):
    frame = flights(1200, seed=8)
    options = {"champion": models[1], "replicates": 40, "seed": 3, "policy": {"mode": "confident"}}
    whole, shards = (write_examples(tmp_path / str(n), frame, shards=n) for n in (1, 3))
    _, alone = run(whole, models[0], tmp_path / "alone", CONFIG, **options)
    _, spread = run(
        shards, models[0], tmp_path / "spread", CONFIG, beam_pipeline_args=WORKERS, **options
    )

    found = [
        dict(numbers(json.loads((tmp_path / side / "evaluation" / "metrics.json").read_text())))
        for side in ("alone", "spread")
    ]
    assert found[0].keys() == found[1].keys()
    methods = {value for path, value in found[0].items() if path[-1] == "method"}
    assert {"influence", "poisson_bootstrap", "jackknife"} <= methods
    for path, value in found[0].items():
        # Keras' metrics and the replicates add up in float32.
        told = value if isinstance(value, str) else pytest.approx(value, rel=2e-4, abs=1e-6)
        assert found[1][path] == told, path
    assert [c["passed"] for c in alone["checks"]] == [c["passed"] for c in spread["checks"]]
    assert alone["reason"] == spread["reason"]
    assert not (tmp_path / "spread" / "evaluation" / "work").exists()
