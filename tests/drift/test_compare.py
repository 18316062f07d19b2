"""Comparing data sets by rules: when it is drift, when nothing can be said, and what is told."""

import json

import numpy as np
import pytest
from scipy import stats

from penstock.drift.calibration import MIN_WINDOWS, calibrated_threshold
from penstock.drift.comparison import compare
from penstock.drift.dataset import dataset_drift
from penstock.drift.distribution import Categorical, merge, numeric
from penstock.drift.findings import DRIFT, INSUFFICIENT, OK, Finding
from penstock.drift.measures import MEASURES, check_kind, distance, measure_named
from penstock.drift.rules import Rule
from penstock.errors import PenstockError


def normal(n, mean=0.0, seed=0):
    return numeric(np.random.default_rng([seed, n, int(mean * 100)]).normal(mean, 1, n))


def carriers(**counts):
    return Categorical({name: float(count) for name, count in counts.items()})


def only(reference, current, *rules, **more):
    (finding,) = compare({"x": reference}, {"x": current}, rules, **more)
    return finding


def test_defaults_find_a_shift_a_new_category_and_missing_values():
    reference = {
        "delay": normal(5000),
        "distance": normal(5000, seed=1),
        "carrier": carriers(AA=2500, UA=2500),
        "plane": carriers(A=2500, B=2500),
    }
    current = {
        "delay": normal(5000, 1.0),
        "distance": normal(5000, seed=2),
        "carrier": carriers(AA=2300, UA=2300, B6=400),
        "plane": Categorical({"A": 2000.0, "B": 2000.0}, 0.0, 1000.0),
    }

    findings = compare(reference, current)

    drifted = {(f.feature, f.measure) for f in findings if f.verdict == DRIFT}
    assert drifted == {
        ("delay", "jensen_shannon_distance"),
        ("carrier", "jensen_shannon_distance"),
        ("carrier", "new_category_share"),
        ("plane", "missing_rate_change"),
    }
    assert {f.verdict for f in findings[: len(drifted)]} == {DRIFT}, "drift comes first"
    effects = [f.effect for f in findings if f.verdict == DRIFT]
    assert effects == sorted(effects, reverse=True)


def test_a_finding_says_all_that_it_rests_on():
    one, other = carriers(AA=3000, UA=2000, DL=1000), carriers(AA=1000, UA=2200, B6=800)

    found = only(one, other, Rule("l_infinity", threshold=0.2, floor=0.1))

    assert (found.feature, found.measure, found.verdict) == ("x", "l_infinity", DRIFT)
    assert found.value == pytest.approx(0.25)
    assert (found.threshold, found.floor, found.calibrated) == (0.2, 0.1, False)
    assert (found.reference_n, found.current_n, found.min_n) == (6000, 4000, 1000)
    table = [[3000, 2000, 1000, 0], [1000, 2200, 0, 800]]
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert found.p_value == found.corrected_p_value == pytest.approx(expected)
    assert [c.cell for c in found.contributors] == ["AA", "UA", "B6", "DL"]
    assert found.contributors[0].reference == 0.5
    assert found.contributors[0].current == 0.25
    assert found.sentence == (
        "x: L-infinity distance 0.25 passes the threshold 0.2; most moved: AA from 50.0% to 25.0%; "
        "UA from 33.3% to 55.0%; B6 from 0.0% to 20.0%."
    )
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["effect"] == 1.25


@pytest.mark.parametrize("name", MEASURES)
def test_below_min_n_the_answer_is_insufficient_whatever_the_value(name):
    kind = MEASURES[name].kinds[0]
    small, same, far = {
        "numeric": (normal(999), normal(50_000), normal(50_000, 9.0)),
        "categorical": (carriers(AA=999), carriers(AA=50_000), carriers(UA=50_000)),
    }[kind]

    for current in (same, far):
        for sides in ((small, current), (current, small)):
            found = only(*sides, Rule(name))
            assert found.verdict == INSUFFICIENT
            assert "too few" in found.sentence and f"{found.min_n:,}" in found.sentence
    assert only(small, far, Rule(name, min_n=900)).verdict != INSUFFICIENT


def test_wasserstein_at_a_tenth_asks_for_5000():
    found = only(normal(4999), normal(4999, 1.0), Rule("normalized_wasserstein"))

    assert (found.verdict, found.min_n, found.threshold) == (INSUFFICIENT, 5000, 0.1)
    assert only(normal(5000), normal(5000, 1.0), Rule("normalized_wasserstein")).verdict == DRIFT


def test_many_categories_ask_for_more_values():
    random = np.random.default_rng(1)
    sides = [
        Categorical(
            {str(i): float(c) for i, c in enumerate(random.multinomial(2000, [0.005] * 200))}
        )
        for _ in range(2)
    ]

    found = only(*sides, Rule("jensen_shannon_distance"))

    # Nothing drifted, and yet the distance passes the threshold by chance.
    assert found.value > found.threshold
    assert found.verdict == INSUFFICIENT
    assert found.min_n == pytest.approx(stats.chi2.isf(0.001, 199) / (4 * np.log(2) * 0.01), abs=1)


def test_a_large_side_makes_up_for_a_small_one():
    rule = Rule("jensen_shannon_distance", threshold=0.08)

    assert only(normal(1200), normal(1200, seed=1), rule).verdict == INSUFFICIENT
    assert only(normal(1200), normal(12_000), rule).verdict == OK


@pytest.mark.parametrize("name", [m for m in MEASURES if m != "missing_rate_change"])
def test_an_empty_side_is_insufficient_and_named(name):
    kind = MEASURES[name].kinds[0]
    full = normal(5000) if kind == "numeric" else carriers(AA=5000)

    infinite = numeric([np.inf] * 5000)
    for empty in (
        Categorical({}, 0.0, 5000.0),
        numeric([], 5000),
        numeric([np.nan] * 5000),
        infinite,
    ):
        found = only(empty, full, Rule(name))
        assert (found.verdict, found.value) == (INSUFFICIENT, None)
        assert "the reference has no" in found.sentence
        assert "the current side has no" in only(full, empty, Rule(name)).sentence


def test_numbers_too_large_to_be_squared_are_insufficient_where_it_matters():
    one, other = numeric([1e200, 2e200] * 3000), numeric([3e200, 4e200] * 3000)

    found = only(one, other, Rule("normalized_wasserstein"))

    assert (found.verdict, found.value) == (INSUFFICIENT, None)
    assert found.sentence == (
        "x: the numbers are too large for the normalized Wasserstein distance to be told."
    )
    assert only(one, other, Rule("jensen_shannon_distance")).verdict == DRIFT


def test_a_feature_that_went_missing_altogether_is_drift_of_the_missing_rate():
    found = only(carriers(AA=5000), Categorical({}, 0.0, 5000.0), Rule("missing_rate_change"))

    assert (found.verdict, found.value) == (DRIFT, 1.0)


@pytest.mark.parametrize("name", MEASURES)
def test_single_valued_sides_differ_or_do_not(name):
    kind = MEASURES[name].kinds[0]
    one, other = {
        "numeric": (numeric([7.0] * 6000), numeric([8.0] * 6000)),
        "categorical": (carriers(AA=6000), carriers(UA=6000)),
    }[kind]
    if name == "missing_rate_change":
        one, other = Categorical({}, 0.0, 6000.0), carriers(AA=6000)

    assert only(one, one, Rule(name)).verdict == OK
    assert only(one, one, Rule(name)).value == 0
    assert only(one, other, Rule(name)).verdict == DRIFT


def test_a_feature_of_one_side_is_drift_by_itself():
    findings = compare({"gone": normal(10)}, {"new": normal(10)})

    assert [(f.feature, f.measure, f.verdict) for f in findings] == [
        ("gone", "presence", DRIFT),
        ("new", "presence", DRIFT),
    ]
    assert findings[0].sentence == "gone is in the reference and not in the current data."
    assert findings[1].sentence == "new is in the current data and not in the reference."


def test_a_feature_of_another_kind_is_drift_and_its_missing_rate_is_measured():
    findings = compare({"x": normal(5000)}, {"x": Categorical({"AA": 4000.0}, 0.0, 1000.0)})

    assert {(f.measure, f.verdict) for f in findings} == {
        ("kind", DRIFT),
        ("missing_rate_change", DRIFT),
    }
    assert findings[-1].sentence == "x was numeric and is categorical." or (
        findings[0].sentence == "x was numeric and is categorical."
    )
    with pytest.raises(PenstockError, match="is numeric and the current side categorical"):
        distance("psi", normal(10), carriers(AA=10))


def test_one_outlier_neither_hides_nor_makes_drift():
    values = np.random.default_rng(0).normal(0, 1, (3, 5000))
    values[2] += 1.0
    with_outlier = [np.append(part, 1e9) for part in values]
    name = "jensen_shannon_distance"

    hidden = only(numeric(with_outlier[0]), numeric(with_outlier[2]), Rule(name))
    made = only(numeric(values[0]), numeric(with_outlier[1]), Rule(name))

    assert (hidden.verdict, made.verdict) == (DRIFT, OK)
    # What TFDV's histograms make of it.
    standard = only(
        numeric(with_outlier[0]),
        numeric(with_outlier[2]),
        Rule("tfdv_jensen_shannon_standard", threshold=0.01),
    )
    quantiles = only(
        numeric(values[0]),
        numeric(with_outlier[1]),
        Rule("tfdv_jensen_shannon_quantiles", threshold=0.01),
    )
    assert (standard.verdict, quantiles.verdict) == (OK, DRIFT)


def test_p_values_are_a_second_key_corrected_for_all_features():
    random = np.random.default_rng(5)
    # One feature that truly moved by little, among many that did not.
    reference = {f"x{i}": numeric(random.normal(0, 1, 1500)) for i in range(30)}
    current = {f"x{i}": numeric(random.normal(0.25 * (i == 0), 1, 1500)) for i in range(30)}
    rule = {"measure": "kolmogorov_smirnov", "threshold": 0.03, "min_n": 1000}

    by_effect = compare(reference, current, [Rule(**rule)])
    with_key = compare(reference, current, [Rule(**rule, alpha=0.05)])

    assert sum(f.verdict == DRIFT for f in by_effect) > 3
    expected = stats.false_discovery_control([f.p_value for f in by_effect])
    assert [f.corrected_p_value for f in by_effect] == pytest.approx(list(expected))
    kept = {f.feature for f in with_key if f.verdict == DRIFT}
    assert kept == {f.feature for f, p in zip(by_effect, expected, strict=True) if p <= 0.05}
    assert kept == {"x0"}
    (other,) = [f for f in with_key if f.feature == by_effect[1].feature]
    assert "but chance may do so (corrected p" in other.sentence


def test_p_values_are_corrected_for_the_number_of_features_not_of_measures():
    sides = {f"x{i}": normal(1500, seed=i) for i in range(4)}
    others = {f"x{i}": normal(1500, seed=i + 4) for i in range(4)}

    alone = compare(sides, others, [Rule("psi")])
    together = compare(sides, others, [Rule("psi"), Rule("missing_rate_change")])

    expected = {f.feature: f.corrected_p_value for f in alone}
    assert expected == {f.feature: f.corrected_p_value for f in together if f.measure == "psi"}


def test_the_last_rule_of_a_measure_holds_for_a_feature():
    sides = {"a_delay": normal(5000), "b_delay": normal(5000)}
    rules = [
        Rule("psi"),
        Rule("psi", "*_delay", threshold=0.2),
        Rule("psi", "b_delay", threshold=0.3),
    ]

    found = {f.feature: f.threshold for f in compare(sides, sides, rules)}

    assert found == {"a_delay": 0.2, "b_delay": 0.3}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda: Rule("jensen_shanon_distance"), "did you mean 'jensen_shannon_distance'"),
        (lambda: Rule("psi", threshold=0), "threshold of psi is 0: give a number above 0"),
        (lambda: Rule("l_infinity", threshold=1.5), "l_infinity is 1.5: .* up to 1"),
        (lambda: Rule("psi", floor=-1), "floor of psi is -1"),
        (lambda: Rule("psi", threshold=float("nan")), "threshold of psi is nan"),
        (lambda: Rule("psi", min_n=0), "min_n of psi is 0"),
        (lambda: Rule("psi", alpha=1), "alpha of psi is 1"),
        (lambda: measure_named("ks"), "There is no drift measure 'ks': there are cramers_v"),
    ],
)
def test_a_rule_that_makes_no_sense_says_why(rule, message):
    with pytest.raises(PenstockError, match=message):
        rule()


def test_a_rule_for_a_feature_that_it_cannot_measure_is_an_error():
    sides = {"dep_delay": normal(5000), "carrier": carriers(AA=5000)}

    with pytest.raises(PenstockError, match=r"l_infinity cannot measure 'dep_delay', .* numeric"):
        compare(sides, sides, [Rule("l_infinity", "dep_delay")])
    with pytest.raises(PenstockError, match="kolmogorov_smirnov cannot measure 'carrier'"):
        compare(sides, sides, [Rule("kolmogorov_smirnov", "carrier")])
    with pytest.raises(PenstockError, match=r"names the feature 'carier', .* carrier, dep_delay"):
        compare(sides, sides, [Rule("psi", "carier")])
    check_kind(MEASURES["psi"], "numeric", "x")
    # A pattern takes what it can measure.
    assert [f.feature for f in compare(sides, sides, [Rule("l_infinity")])] == ["carrier"]


def test_threshold_comes_from_windows_when_there_are_enough():
    windows = [normal(2000, 0.3 * (i % 2), seed=i) for i in range(MIN_WINDOWS)]
    reference, current = normal(20_000), normal(20_000, 0.32)
    name = "jensen_shannon_distance"

    by_default = only(reference, current, Rule(name))
    calibrated = only(reference, current, Rule(name), windows=[{"x": w} for w in windows])
    too_few = only(reference, current, Rule(name), windows=[{"x": w} for w in windows[1:]])
    given = only(reference, current, Rule(name, threshold=0.1), windows=[{"x": w} for w in windows])

    assert (by_default.verdict, by_default.threshold) == (DRIFT, 0.1)
    assert (too_few.verdict, too_few.calibrated) == (DRIFT, False)
    assert (given.threshold, given.calibrated) == (0.1, False)
    farthest = 0.0
    for i, window in enumerate(windows):
        rest = numeric([])
        for other in windows[:i] + windows[i + 1 :]:
            rest = merge(rest, other)
        farthest = max(farthest, distance(name, rest, window))
    assert calibrated.calibrated
    assert calibrated.threshold == pytest.approx(max(farthest, MEASURES[name].floor), rel=0.02)
    assert "calibrated threshold" in calibrated.sentence


def test_calibration_never_goes_below_the_floor():
    windows = [carriers(AA=500 + i, UA=500) for i in range(30)]

    assert calibrated_threshold("l_infinity", windows, 0.05) == 0.05
    assert calibrated_threshold("l_infinity", windows[: MIN_WINDOWS - 1], 0.05) is None


def test_about_one_in_twenty_further_windows_passes_a_calibrated_threshold():
    random = np.random.default_rng(2)
    passed = 0
    for _ in range(400):
        shares = random.beta(50, 50, size=MIN_WINDOWS + 1)
        *windows, further = [Categorical({"a": 1000 * s, "b": 1000 * (1 - s)}) for s in shares]
        threshold = calibrated_threshold("l_infinity", windows, 1e-9)
        whole = windows[0]
        for window in windows[1:]:
            whole = merge(whole, window)
        passed += distance("l_infinity", whole, further) > threshold

    assert 0.02 < passed / 400 < 0.08


def finding(feature, verdict, effect):
    return Finding(feature, "psi", verdict, "", value=effect / 10, threshold=0.1)


def test_dataset_drift_is_the_weighted_share_of_drifted_features():
    findings = [
        finding("small", DRIFT, 9.0),
        finding("large", DRIFT, 2.0),
        finding("calm", OK, 0.5),
        finding("unknown", INSUFFICIENT, 3.0),
        finding("large", OK, 0.1),
    ]
    importance = {"small": 1.0, "large": 5.0, "calm": 2.0, "unknown": 2.0, "elsewhere": 7.0}

    plain, weighed = dataset_drift(findings), dataset_drift(findings, importance)

    assert plain.share == pytest.approx(2 / 3)
    assert [f.feature for f in plain.features] == ["small", "large", "unknown", "calm"]
    assert weighed.share == pytest.approx(6 / 8)
    assert weighed.told == pytest.approx(0.8)
    assert [f.feature for f in weighed.features] == ["large", "small", "unknown", "calm"]
    assert weighed.sentence == (
        "2 of 4 features drifted, 75% by importance: large, small; of 1 too little is known."
    )
    assert dataset_drift([finding("x", INSUFFICIENT, 1.0)]).share is None
    assert dataset_drift([]).sentence == "0 of 0 features drifted."
    with pytest.raises(PenstockError, match="importance of 'x' is -1"):
        dataset_drift(findings, {"x": -1})
