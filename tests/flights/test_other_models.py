"""The flights by scikit-learn and XGBoost: the same features, gate and push as the network's."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from penstock.components.evaluator.executor import evaluate
from penstock.components.example_gen.executor import generate_examples
from penstock.components.pusher.executor import push
from penstock.components.statistics_gen.executor import generate_statistics
from penstock.components.trainer.executor import train
from penstock.components.transform.executor import fit_transform
from penstock.data.examples import read_table
from penstock.models.loading import load_model
from penstock.pipelines.flights.spans import write_spans
from penstock.schemas import schema_text

CONFIG = """
model_specs { label_key: "late" }
slicing_specs {}
metrics_specs {
  metrics { class_name: "ExampleCount" }
  metrics {
    class_name: "AUC"
    threshold { value_threshold { lower_bound { value: 0.55 } } }
  }
}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Examples of 2,000 flights each of January and February, their statistics and schema."""
    folder = tmp_path_factory.mktemp("flights")
    write_spans(folder / "spans", 2000)
    pattern = str(folder / "spans" / "span-{SPAN}" / "flights.csv")
    generate_examples(folder / "examples", pattern, first_span=1, last_span=2)
    generate_statistics(folder / "examples", folder / "statistics")
    (folder / "schema").mkdir()
    (folder / "schema" / "schema.pbtxt").write_text(schema_text("flights"))
    return folder


@pytest.mark.parametrize("library", ["sklearn", "xgboost"])
def test_a_model_beyond_keras_is_trained_blessed_and_pushed(data, tmp_path, library):
    module = f"penstock.pipelines.flights.{library}_model"
    examples, schema, model = data / "examples", data / "schema", tmp_path / "model"

    fit_transform(examples, data / "statistics", schema, tmp_path / "graph", module)
    trained = train(
        examples, tmp_path / "graph", schema, model, module, "late", hyperparameters={"rounds": 10}
    )
    judged = evaluate(
        examples, model, tmp_path / "evaluation", tmp_path / "blessing", tmp_path / "page", CONFIG
    )
    pushed = push(model, tmp_path / "blessing", tmp_path / "pushed", str(tmp_path / "served"))

    rows = read_table(examples, "eval")
    answers = load_model(tmp_path / "served" / "1").predict(rows)[:, 0]
    auc = roc_auc_score(rows["late"].to_numpy(), answers)
    assert pushed["version"] == 1
    assert judged["blessed"], judged["reason"]
    assert judged["metrics"]["auc"] == pytest.approx(auc, abs=5e-3)
    assert trained["metrics"]["eval_auc"] == pytest.approx(auc, abs=1e-6)
    assert json.loads((model / "model.json").read_text())["kind"] == library
    assert np.std(answers) > 0.01
