"""What the blessing policy makes of the same numbers."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from gate import ThreeClasses, export, run, write_examples
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import validation_result_pb2

from penstock.components.evaluator.analysis import Analysis
from penstock.components.evaluator.checks import Evidence
from penstock.components.evaluator.config import read_eval_config
from penstock.components.evaluator.policy import Policy, read_policy
from penstock.components.evaluator.significance import Significance
from penstock.components.evaluator.verdict import judge
from penstock.errors import PenstockError
from penstock.evaluation.estimate import Estimate

AUC = metric_types.MetricKey("auc")
COUNT = metric_types.MetricKey("example_count")
CONFIG = """
model_specs { label_key: "late" }
slicing_specs {}
slicing_specs { feature_keys: "origin" }
metrics_specs {
  metrics { class_name: "AUC" threshold { value_threshold { lower_bound { value: 0.6 } } } }
}
"""


def verdict(policy, aucs, error=0.01, sizes=None):
    """Judge AUCs by slice, the first of all rows, each with its standard error."""
    places = [(), *((("origin", f"airport {n}"),) for n in range(1, len(aucs)))]
    sizes = sizes or [1000] * len(aucs)
    errors = error if isinstance(error, list) else [error] * len(aucs)
    analysis = Analysis(
        {p: {AUC: a, COUNT: float(n)} for p, a, n in zip(places, aucs, sizes, strict=True)},
        {},
        validation_result_pb2.ValidationResult(validation_ok=True),
        {},
        True,
    )
    significance = Significance(
        {
            (p, AUC): Estimate(a, e, "identity", "delong")
            for p, a, e in zip(places, aucs, errors, strict=True)
            if e is not None
        },
        {},
    )
    evidence = Evidence(1000, 0, analysis, significance)
    return judge(read_eval_config(CONFIG), evidence, policy)


CONFIDENT = Policy(mode="confident")


@pytest.mark.parametrize(
    ("auc", "point", "confident"), [(0.63, True, True), (0.61, True, False), (0.59, False, False)]
)
def test_in_confident_mode_the_end_of_the_interval_that_protects_the_user_decides(
    auc, point, confident
):
    assert verdict(Policy(), [auc]).blessed is point
    found = verdict(CONFIDENT, [auc])
    assert found.blessed is confident
    low = found.checks[0].interval[0]
    assert (low >= 0.6) is confident and low == pytest.approx(auc - 0.0196, abs=1e-4)
    if point and not confident:
        assert found.reason == (
            "auc over all rows is 0.61 (95% interval 0.5904 to 0.6296), at or above its lower "
            "bound 0.6, but not by enough to be sure."
        )


def test_a_slice_must_prove_its_bound_or_not_be_disproven():
    aucs = [0.7, 0.61, 0.59]

    proven = verdict(CONFIDENT, aucs)
    doubted = verdict(Policy(mode="confident", slices="not_disproven"), aucs)
    broken = verdict(Policy(mode="confident", slices="not_disproven"), [0.7, 0.61, 0.5])

    assert [check.passed for check in proven.checks] == [False, False, True]
    assert doubted.blessed is True
    assert broken.blessed is False and "wholly below its lower bound 0.6" in broken.reason
    # All rows bear the burden of proof in either case.
    assert not verdict(Policy(mode="confident", slices="not_disproven"), [0.61, 0.7]).blessed


def test_holm_holds_good_slices_back_from_failing_by_chance_and_shows_the_level():
    policy = Policy(mode="confident", slices="not_disproven")
    # Each of 40 slices is at the bound in truth; 2.2 standard errors below is chance among 40.
    aucs = [0.7] + [0.6] * 39 + [0.578]

    assert verdict(policy, aucs).blessed is True
    alone = verdict(policy, [0.7, 0.578])
    assert alone.blessed is False
    level = verdict(policy, aucs).checks[1].confidence
    assert level == pytest.approx(1 - 0.05 / 40)
    far = verdict(policy, [0.7] + [0.6] * 39 + [0.55])
    assert [check.confidence for check in far.checks if check.passed is False] == [
        pytest.approx(1 - 0.05 / 40)
    ]


@pytest.mark.parametrize("mode", ["point", "confident"])
def test_small_slices_fail_or_are_left_out_and_say_so(mode):
    sizes = [1000, 99, 100]
    aucs = [0.7, 0.7, 0.7]

    fail = verdict(Policy(mode=mode, min_slice_size=100), aucs, sizes=sizes)
    skip = verdict(Policy(mode=mode, min_slice_size=100, small_slices="skip"), aucs, sizes=sizes)

    assert fail.blessed is False and fail.reason == (
        "auc where origin = airport 1 is over 99 rows, fewer than the 100 that the policy asks "
        "for; and too few rows fail."
    )
    assert skip.blessed is True
    assert [check.passed for check in skip.checks] == [True, True, None]


def test_no_interval_is_no_evidence_and_nothing_left_to_check_is_none_either():
    unsure = verdict(CONFIDENT, [0.9], error=[None])
    assert unsure.blessed is False and "has no confidence interval" in unsure.reason

    doubted = Policy(mode="confident", slices="not_disproven")
    assert verdict(doubted, [0.9, 0.9], error=[0.01, None]).blessed is False

    sliced = (
        CONFIG.replace("slicing_specs {}\n", "")
        .replace(
            "threshold { value_threshold",
            "per_slice_thresholds { slicing_specs { feature_keys: "
            '"origin" } threshold { value_threshold',
        )
        .replace("0.6 } } }", "0.6 } } } }")
    )
    analysis = Analysis(
        {(("origin", "a"),): {AUC: 0.9, COUNT: 5.0}},
        {},
        validation_result_pb2.ValidationResult(validation_ok=True),
        {},
        True,
    )
    left_out = judge(
        read_eval_config(sliced),
        Evidence(5, 0, analysis, Significance({}, {})),
        Policy(min_slice_size=10, small_slices="skip"),
    )
    assert left_out.blessed is False and left_out.reason.startswith("Every check was left out")


def test_equal_models_are_seldom_blessed_as_better_and_better_ones_often():
    """The gate's decision on differences as large as chance makes them; benchmarks/gate.py repeats
    it from rows."""
    rng = np.random.default_rng(0)
    rates = {}
    for truth in (0.6, 0.63):
        for mode in ("point", "confident"):
            blessed = [
                verdict(Policy(mode=mode), [a]).blessed for a in rng.normal(truth, 0.01, 300)
            ]
            rates[truth, mode] = np.mean(blessed)
    assert rates[0.6, "point"] > 0.4 and rates[0.6, "confident"] <= 0.05
    assert rates[0.63, "confident"] >= 0.8


def test_what_only_tfma_computes_is_judged_by_its_jackknife(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(0, 2, 300)
    classes = np.where(rng.random(300) < 0.8, np.stack([x, -x, 0 * x], 1).argmax(1), 2)
    examples = write_examples(tmp_path / "examples", pd.DataFrame({"x": x, "class": classes}))
    config = """
    model_specs { label_key: "class" prediction_key: "probabilities" }
    metrics_specs {
      metrics {
        class_name: "SparseCategoricalAccuracy"
        config: '"name": "accuracy"'
        threshold { value_threshold { lower_bound { value: 0.7 } } }
      }
    }
    """
    model = export(ThreeClasses(), tmp_path / "model")
    policy = {"mode": "confident"}

    result, record = run(examples, model, tmp_path, config, policy=policy)
    again, _ = run(examples, model, tmp_path / "again", config, policy=policy)

    check = record["checks"][0]
    share = np.mean(np.stack([x, -x, 0 * x], 1).argmax(1) == classes)
    error = np.sqrt(share * (1 - share) / 300)
    assert check["method"] == "jackknife" and check["value"] == pytest.approx(share)
    half = (check["interval"][1] - check["interval"][0]) / 2
    assert half == pytest.approx(2.09 * error, rel=0.5)
    assert result["reason"] == again["reason"]


def test_a_policy_may_be_yaml_or_come_with_floats():
    assert read_policy("mode: confident\nmin_slice_size: 30") == Policy(
        mode="confident", min_slice_size=30
    )
    assert read_policy({"min_slice_size": 30.0}).min_slice_size == 30
    assert read_policy(None) == read_policy({}) == Policy()


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ({"mod": "point"}, "'mod' was unexpected); it knows mode, confidence, slices"),
        ({"mode": "sure"}, "is wrong at mode: 'sure' is not one of ['point', 'confident']"),
        ({"confidence": 95}, "is wrong at confidence: 95 is greater than or equal to the maximum"),
        ("- mode", "The blessing policy is list"),
        ("mode: [", "The blessing policy is not YAML"),
    ],
)
def test_a_policy_that_is_none_is_refused(policy, sentence):
    with pytest.raises(PenstockError, match=re.escape(sentence)):
        read_policy(policy)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"replicates": 1}, "replicates is 1; give 0 for none, or 2 to 10,000"),
        ({"seed": -1}, "seed is -1"),
        ({"replicates": 0, "policy": {"mode": "confident"}}, "mode is confident, and replicates"),
        ({"forced": {"by": "ana"}}, "A forced blessing says who, why and until when"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_first(tmp_path, options, sentence):
    with pytest.raises(PenstockError, match=sentence):
        run(tmp_path, tmp_path, tmp_path, json.dumps({}), **options)
