"""Configs that are no gate, and what does not fit together: one sentence each."""

import shutil

import pytest
from gate import CONFIG, ThreeClasses, export, run
from google.protobuf import json_format, text_format

from penstock.components.evaluator.config import parse_eval_config, read_eval_config
from penstock.errors import PenstockError


def change(old: str, new: str) -> str:
    assert old in CONFIG
    return CONFIG.replace(old, new, 1)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("  ", "eval_config is empty"),
        (
            'model_specs { label_key: "late" }\nmetrics_spec {}',
            'proto text at line 2, column 1: Message type "tensorflow_model_analysis.EvalConfig" '
            'has no field named "metrics_spec"',
        ),
        ('{"modelSpecs": [}', "not JSON at line 1, column 17"),
        ('{"modelSpec": []}', 'in JSON: Message type "tensorflow_model_analysis.EvalConfig" has'),
        (change("model_specs", "model_specs {} model_specs"), "has 2 model_specs"),
        (change('label_key: "late"', ""), "has no label_key"),
        ('model_specs { label_key: "late" }', "has no metrics"),
        (change('"AUC"', '"AUK"'), "asks for the metric 'AUK', which neither TFMA nor Keras has"),
        (
            change('"BinaryAccuracy"', '"BinaryAccuracy" config: \'"treshold": 1\''),
            "cannot be made",
        ),
        (
            'model_specs { label_key: "late" } metrics_specs { metrics { class_name: "AUC" } }',
            "has no thresholds",
        ),
        (change("lower_bound { value: 0.6 }", ""), "neither lower_bound nor upper_bound"),
        (
            change(
                '{ feature_keys: "origin" }\n      threshold',
                '{ feature_keys: "month" }\n threshold',
            ),
            "for slices by month, which slicing_specs does not make",
        ),
        (
            change("slicing_specs {}\nslicing_specs", "slicing_specs"),
            "for all rows, which slicing_specs does not make",
        ),
        (
            change("metrics_specs {", 'metrics_specs { thresholds { key: "f1" value {} }'),
            "has a threshold on 'f1', but its metrics_specs entry has example_count, auc",
        ),
        (
            change(
                "per_slice_thresholds {",
                "cross_slice_thresholds { cross_slicing_specs { baseline_spec {} } threshold "
                "{ value_threshold { lower_bound { value: 0 } } } } per_slice_thresholds {",
            ),
            "on 'auc' in eval_config compares slices that cross_slicing_specs does not compare",
        ),
        ("model_specs:\n  - label_key: [", "eval_config is not YAML at line 2"),
        ("model_specs:\n  - label: late", "not a tfma.EvalConfig in YAML: "),
        (
            CONFIG + "options { compute_confidence_intervals { value: true } }",
            "sets options.compute_confidence_intervals",
        ),
        (
            change('label_key: "late"', 'label_keys { key: "a" value: "late" }'),
            "sets model_specs.label_keys",
        ),
    ],
)
def test_a_config_that_is_no_gate_is_refused_with_a_sentence(config, sentence):
    with pytest.raises(PenstockError) as raised:
        read_eval_config(config)

    assert sentence in str(raised.value)
    assert str(raised.value).endswith(".")


@pytest.mark.parametrize(
    ("config", "options", "sentence"),
    [
        (
            change('"late"', '"tardy"'),
            {},
            "names the column 'tardy', which the examples do not have",
        ),
        (change('"late"', '"origin"'), {}, "label_key 'origin' of eval_config is of type string"),
        (
            change('feature_keys: "month"', 'feature_keys: "week"'),
            {},
            "slicing_specs of eval_config names the column 'week'",
        ),
        (
            change('"late"', '"late" example_weight_key: "grams"'),
            {},
            "example_weight_key of eval_config names the column 'grams'",
        ),
        (
            change('"late"', '"late" prediction_key: "logits"'),
            {},
            "prediction_key of eval_config is 'logits', but the model gives predictions",
        ),
        (
            change('"late"', '"late" signature_name: "serve"'),
            {},
            "no signature 'serve'; it has serving_default",
        ),
        (change('"late"', '"distance"'), {}, "Column 'distance' has missing values"),
        (change('"late"', '"month"'), {}, "for labels from 0 to 1, and the column 'month' holds"),
        (CONFIG, {"split": "test"}, "There is no split 'test'"),
        (CONFIG, {"beam_pipeline_args": ["runner"]}, "beam_pipeline_args holds 'runner'"),
    ],
)
def test_what_does_not_fit_together_is_refused_and_leaves_nothing(
    examples, model, tmp_path, config, options, sentence
):
    with pytest.raises(PenstockError) as raised:
        run(examples, model, tmp_path, config, **options)

    assert sentence in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_there_or_wants_other_features_is_refused(examples, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(PenstockError, match="There is no model at"):
        run(examples, tmp_path / "model", tmp_path)

    other = export(ThreeClasses(), tmp_path / "other")
    with pytest.raises(PenstockError, match="takes the feature 'x', which the examples do not"):
        run(examples, other, tmp_path, change('"late"', '"late" prediction_key: "x"'))

    (other / "serving" / "saved_model.pb").write_bytes(b"not a model")
    with pytest.raises(PenstockError, match="cannot be loaded"):
        run(examples, other, tmp_path)
    shutil.rmtree(other)


AS_YAML = """
model_specs:
  - label_key: late
slicing_specs:
  - {}
  - feature_keys: [origin]
metrics_specs:
  - metrics:
      - class_name: AUC
        threshold:
          value_threshold: {lower_bound: 0.6}
          change_threshold: {absolute: -0.01, direction: HIGHER_IS_BETTER}
"""


def test_text_json_and_yaml_say_the_same():
    config = read_eval_config(AS_YAML, champion=True)

    again = [
        text_format.MessageToString(parse_eval_config(AS_YAML)),
        json_format.MessageToJson(parse_eval_config(AS_YAML)),
    ]

    assert all(read_eval_config(text, champion=True) == config for text in again)
    assert [spec.name for spec in config.model_specs] == ["candidate", "baseline"]
    assert config.metrics_specs[-1].metrics[0].class_name == "ExampleCount"


@pytest.mark.parametrize(
    ("threshold", "sentence"),
    [
        ("direction: HIGHER_IS_BETTER", "neither absolute nor relative"),
        ("absolute { value: 0 }", "has no direction; say HIGHER_IS_BETTER or LOWER_IS_BETTER"),
    ],
)
def test_a_change_threshold_that_bounds_nothing_is_refused(threshold, sentence):
    config = change(
        "value_threshold { lower_bound { value: 0.6 } }", f"change_threshold {{ {threshold} }}"
    )

    with pytest.raises(PenstockError, match=sentence):
        read_eval_config(config, champion=True)
