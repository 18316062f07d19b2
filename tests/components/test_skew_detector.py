"""The skew gate: columns, distributions, and values by key, on flights with planted faults."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from kfp import dsl
from kfp.compiler import Compiler

from penstock.components.artifacts import Examples
from penstock.components.example_gen.executor import generate_examples
from penstock.components.skew_detector.component import skew_detector
from penstock.components.skew_detector.executor import detect_skew
from penstock.components.skew_detector.overlay import overlaid_plots
from penstock.drift.columns import distribution_of_column
from penstock.errors import PenstockError
from penstock.orchestration.report import State
from penstock.orchestration.run import Settings, run_pipeline
from penstock.orchestration.spec import parse
from penstock.pipelines.flights.serving_log import FAULTS, KEYS, UNKNOWN, serving_log
from penstock.pipelines.flights.spans import label_flights, read_flights
from penstock.schemas import schema_text

CLEAN = {"schema": "fail", "distribution": "fail", "key": "fail"}


@pytest.fixture(scope="module")
def flights(tmp_path_factory, write_artifacts):
    """Some flights of January as training's Examples, and the reviewed schema."""
    folder = tmp_path_factory.mktemp("flights")
    table = label_flights(read_flights()).slice(0, 5000)
    whole = write_artifacts(folder / "training", {"train": table}, shards=2)
    (whole.schema / "schema.pbtxt").write_text(schema_text("flights"))
    return table, whole


@pytest.fixture(scope="module")
def logs(tmp_path_factory, write_artifacts, flights):
    """A function that gives the Examples of a log with faults, each written once."""
    folder, written = tmp_path_factory.mktemp("logs"), {}

    def log(*faults):
        if faults not in written:
            table = serving_log(flights[0], faults)
            place = folder / ("-".join(faults) or "clean")
            written[faults] = write_artifacts(place, {"train": table}, shards=3)
        return written[faults]

    return log


def detect(folder, flights, log, **chosen):
    given = {
        "training_examples_path": flights[1].examples,
        "serving_examples_path": log.examples,
        "schema_path": flights[1].schema,
        "keys": KEYS,
    }
    detected = detect_skew(folder / "skew", **(given | chosen))
    verdict = json.loads((folder / "skew" / "verdict.json").read_text())
    assert verdict["verdict"] == detected.metadata["verdict"]
    return detected, verdict


def found(verdict, *parts):
    return {
        (f["part"], f["feature"], f["rule"]): f for f in verdict["findings"] if f["part"] in parts
    }


def test_a_log_without_skew_passes(tmp_path, flights, logs):
    detected, verdict = detect(tmp_path, flights, logs())
    assert verdict["findings"] == []
    assert detected.metadata["summary"] == (
        "no skew; 5,000 pairs by key; training 5,000 rows, serving 5,000"
    )
    assert detected.metrics == {
        "training_rows": 5000,
        "serving_rows": 5000,
        "failed_features": 0,
        "pairs": 5000,
        "skewed_share": 0.0,
    }
    detected.stop()
    assert "late" not in verdict["by_key"]["features"]
    assert pq.read_table(tmp_path / "skew" / "samples.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("fault", "feature", "parts"),
    [
        ("kilometres", "distance", {("schema", "TYPE"), ("key", "VALUES")}),
        ("lower_case", "dest", {("schema", "DOMAIN"), ("key", "VALUES")}),
        ("shifted_hours", "hour", {("key", "VALUES")}),
        ("missing_weekdays", "weekday", {("schema", "PRESENCE"), ("key", "VALUES")}),
    ],
)
def test_each_planted_fault_is_caught_and_its_feature_alone(
    tmp_path, flights, logs, fault, feature, parts
):
    detected, verdict = detect(tmp_path, flights, logs(fault))
    of_parts = found(verdict, "schema", "key")
    assert {f for _, f, _ in of_parts} == {feature}
    assert parts <= {(part, rule) for part, _, rule in of_parts}

    befallen = FAULTS[fault](flights[0], np.random.default_rng(0).random(5000) < 0.1)
    assert abs(of_parts["key", feature, "VALUES"]["value"] - 0.1) < 0.02
    assert befallen.num_rows == 5000
    with pytest.raises(PenstockError) as error:
        detected.stop()
    sentence = str(error.value)
    assert sentence.startswith(f"Serving is not as training: {feature} differs in ")
    assert re.search(r"such as time_hour=2013-01-\S+, carrier=\w\w, flight=\d+, origin=", sentence)
    assert f"{tmp_path}/skew/verdict.json" in sentence


def test_counts_of_a_fault_are_those_of_a_join_by_pandas(tmp_path, flights, logs):
    log = logs("shifted_hours", "missing_weekdays")
    _, verdict = detect(tmp_path, flights, log)
    serving = serving_log(flights[0], ("shifted_hours", "missing_weekdays")).to_pandas()
    joined = flights[0].to_pandas().merge(serving, on=list(KEYS), suffixes=("", "_s"))
    features = verdict["by_key"]["features"]
    assert features["hour"]["mismatch"] == int((joined["hour"] != joined["hour_s"]).sum())
    assert features["weekday"]["only_training"] == int(joined["weekday_s"].isna().sum())
    skewed = (joined["hour"] != joined["hour_s"]) | joined["weekday_s"].isna()
    assert verdict["by_key"]["skewed_pairs"] == int(skewed.sum())
    assert verdict["by_key"]["pairs"] == len(joined) == 5000


def test_samples_lead_to_the_rows(tmp_path, flights, logs):
    log = logs("shifted_hours", "missing_weekdays")
    detect(tmp_path, flights, log, samples=3)
    samples = pq.read_table(tmp_path / "skew" / "samples.parquet").to_pylist()
    assert [sample["feature"] for sample in samples] == ["hour"] * 3 + ["weekday"] * 3
    for sample in samples:
        for side, artifacts in (("training", flights[1]), ("serving", log)):
            shard, row = sample[f"{side}_shard"], sample[f"{side}_row"]
            line = pq.read_table(artifacts.examples / shard).slice(row, 1).to_pylist()[0]
            assert (sample[f"{side}_file"], sample[f"{side}_line"]) == (None, None)
            assert sample["key"] == ", ".join(f"{key}={line[key]}" for key in KEYS)
            value = line[sample["feature"]]
            assert sample[side] == (None if value is None else str(value))


def test_samples_name_the_files_and_lines_that_the_rows_came_from(tmp_path):
    for side, changed in (("training", ()), ("serving", (17, 401))):
        lines = [f"{n},{n * 2.0 + (n in changed)}" for n in range(600)]
        order = lines if side == "training" else lines[::-1]
        for part in range(2):
            rows = "\n".join(["id,x", *order[part * 300 : part * 300 + 300]])
            source = tmp_path / side / f"{part}.csv"
            source.parent.mkdir(exist_ok=True)
            source.write_text(f"{rows}\n")
        generate_examples(
            tmp_path / f"{side}-examples",
            "*.csv",
            tmp_path / side,
            splits={"train": 1, "eval": 1},
        )
    detect_skew(
        tmp_path / "skew",
        training_examples_path=tmp_path / "training-examples",
        serving_examples_path=tmp_path / "serving-examples",
        keys=["id"],
    )
    samples = pq.read_table(tmp_path / "skew" / "samples.parquet").to_pylist()
    placed = {
        sample["key"]: [(sample[f"{s}_file"], sample[f"{s}_line"]) for s in ("training", "serving")]
        for sample in samples
    }
    # After the header, 300 rows a file; serving's are in the opposite order.
    assert placed == {
        "id=17": [("0.csv", 19), ("1.csv", 284)],
        "id=401": [("1.csv", 103), ("0.csv", 200)],
    }
    page = (tmp_path / "skew" / "skew.html").read_text()
    assert "0.csv, line 19" in page and "1.csv, line 284" in page


def test_floats_within_the_tolerance_are_no_skew(tmp_path, flights, logs):
    log = logs("rounded_floats")
    _, verdict = detect(tmp_path, flights, log)
    assert verdict["by_key"]["features"]["distance"]["mismatch"] == 0
    assert set(found(verdict, "schema", "key")) == {("schema", "distance", "TYPE")}
    exact = {"relative": 0.0, "absolute": 0.0}
    _, verdict = detect(tmp_path, flights, log, tolerance=exact)
    assert abs(verdict["by_key"]["features"]["distance"]["share"] - 0.1) < 0.02


@pytest.mark.parametrize(
    ("rule", "pairs", "verdict"),
    [
        ("refuse", 4499, "fail"),
        ("drop", 4499, "pass"),
        ("first", 5000, "pass"),
        ("all", 5501, "pass"),
    ],
)
def test_duplicate_keys_are_handled_by_rule(tmp_path, flights, logs, rule, pairs, verdict):
    detected, told = detect(tmp_path, flights, logs("repeated_rows"), duplicates=rule)
    by_key = told["by_key"]
    repeated = by_key["duplicate_keys"]
    assert abs(repeated - 500) < 60
    expected = {"refuse": 5000 - repeated, "first": 5000, "all": 5000 + repeated}
    assert by_key["pairs"] == expected.get(rule, 5000 - repeated)
    assert told["verdict"] == verdict
    if rule == "refuse":
        assert "more than once on a side, such as time_hour=2013-01-" in detected.refusal


def test_the_limit_is_the_last_pattern_that_fits(tmp_path, flights, logs):
    log = logs("shifted_hours", "missing_weekdays")
    chosen = {"severity": {"schema": "warn", "distribution": "ignore"}}
    limits = {"*": 0.0, "*ho*": 0.5, "weekday": 0.5}
    detected, verdict = detect(tmp_path, flights, log, max_skew=limits, **chosen)
    assert found(verdict, "key") == {}
    assert (verdict["verdict"], detected.refusal) == ("warn", "")
    assert "The part 'distribution' is left out." in verdict["notes"]
    limits["weekday"] = 0.01
    _, verdict = detect(tmp_path, flights, log, max_skew=limits, **chosen)
    assert set(found(verdict, "key")) == {("key", "weekday", "VALUES")}


def test_too_few_pairs_never_pass(tmp_path, flights, logs):
    only_key = {"severity": {"schema": "ignore", "distribution": "ignore"}}
    detected, verdict = detect(tmp_path, flights, logs(), min_pairs=5001, **only_key)
    assert (verdict["verdict"], detected.refusal) == ("insufficient", "")
    assert detected.metadata["summary"].startswith("too little to tell; 5,000 pairs")
    _, verdict = detect(tmp_path, flights, logs("kilometres"), min_pairs=5001, **only_key)
    assert verdict["verdict"] == "insufficient"


def test_a_log_of_other_rows_fails(tmp_path, flights, write_artifacts):
    table = flights[0].set_column(
        flights[0].schema.get_field_index("flight"), "flight", pc.add(flights[0]["flight"], 10_000)
    )
    log = write_artifacts(tmp_path / "log", {"train": table})
    detected, verdict = detect(tmp_path, flights, log, severity={"distribution": "ignore"})
    assert "No row of serving has the key of a training row (such as time_hour=" in detected.refusal
    assert verdict["by_key"]["unmatched"] == {"training": 5000, "serving": 5000}


def test_an_empty_side_fails(tmp_path, flights, write_artifacts):
    log = write_artifacts(tmp_path / "log", {"train": flights[0], "log": flights[0].slice(0, 0)})
    detected, verdict = detect(tmp_path, flights, log, serving_splits=["log"])
    assert "There are no serving rows" in detected.refusal
    assert {rule for _, _, rule in found(verdict, "schema", "key")} == {"NO_ROWS", "NO_PAIRS"}


def test_missing_and_extra_columns_and_lists(tmp_path, flights, logs, write_artifacts):
    table = serving_log(flights[0]).drop(["minute"])
    table = table.append_column("request", pa.array(["r"] * len(table)))
    lists = pa.array([[d] for d in table["day"].to_pylist()])
    pq.write_table(
        table.set_column(table.schema.get_field_index("day"), "day", lists), tmp_path / "l.parquet"
    )
    from penstock.components.example_gen.executor import generate_examples

    generate_examples(tmp_path / "log", str(tmp_path / "l.parquet"))
    chosen = {"serving_examples_path": tmp_path / "log", "max_skew": {"*": 0.0}}
    _, verdict = detect(tmp_path, flights, logs(), **chosen)
    of_columns = found(verdict, "schema")
    assert {(f, rule): v["verdict"] for (_, f, rule), v in of_columns.items()} == {
        ("minute", "MISSING"): "fail",
        ("request", "EXTRA"): "warn",
        ("day", "VALENCY"): "fail",
    }
    assert verdict["by_key"]["features"]["minute"]["only_training"] == 5000
    assert "request" not in verdict["by_key"]["features"]


def test_statistics_do_in_place_of_a_pass_over_rows(tmp_path, flights, logs):
    log = logs("missing_weekdays", "kilometres")
    chosen = {
        "training_statistics_path": flights[1].statistics,
        "serving_statistics_path": log.statistics,
        "training_examples_path": None,
        "serving_examples_path": None,
        "keys": None,
    }
    _, verdict = detect(tmp_path, flights, log, **chosen)
    rules = {(f, rule) for _, f, rule in found(verdict, "schema", "distribution")}
    assert {
        ("distance", "TYPE"),
        ("weekday", "PRESENCE"),
        ("weekday", "missing_rate_change"),
    } <= rules
    assert {f for f, _ in rules} <= {"distance", "weekday"}
    assert verdict["by_key"] is None
    assert "There are no keys, so values are not compared row by row." in verdict["notes"]


def test_without_a_schema_the_labels_are_missing(tmp_path, flights, logs):
    _, verdict = detect(tmp_path, flights, logs(), schema_path=None)
    missing = [f for _, f, rule in found(verdict, "schema") if rule == "MISSING"]
    assert "late" in missing
    chosen = {"schema_path": None, "exclude_features": UNKNOWN}
    _, verdict = detect(tmp_path, flights, logs(), **chosen)
    assert verdict["verdict"] == "pass"


def test_rules_of_drift_are_taken(tmp_path, flights, logs):
    rules = [{"measure": "l_infinity", "features": "dest", "threshold": 0.001, "min_n": 100.0}]
    _, verdict = detect(tmp_path, flights, logs("lower_case"), rules=rules)
    assert {(d["feature"], d["measure"]) for d in verdict["distributions"]} == {
        ("dest", "l_infinity")
    }
    assert ("distribution", "dest", "l_infinity") in found(verdict, "distribution")


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"duplicates": "last"}, "duplicates is 'last'; expected one of refuse, drop, first, all."),
        ({"max_skew": {"*": 2}}, "max_skew gives '*' as 2; give a share of pairs from 0 to 1."),
        ({"min_pairs": -1}, "min_pairs is -1; give a whole number of at least 0."),
        ({"tolerance": {"near": 1}}, "tolerance has 'near'; there are relative and absolute."),
        ({"severity": {"keys": "fail"}}, "severity names the part 'keys'; there are"),
        ({"severity": {"key": "stop"}}, "severity gives key as 'stop'; expected fail, warn"),
        ({"severity": dict.fromkeys(CLEAN, "ignore")}, "severity ignores every part"),
        ({"rules": [{"threshold": 1}]}, "rules holds {'threshold': 1}; write each such as"),
        ({"rules": [{"measure": "psi", "limit": 1}]}, "A rule has 'limit'; there are measure"),
        ({"keys": ["id"]}, "The key column 'id' is not in the training examples"),
        ({"serving_splits": ["x"]}, "serving_splits names 'x', which serving does not have"),
        ({"environment": "TEST"}, "The schema has no environment 'TEST' (it has TRAINING, SERV"),
        ({"serving_examples_path": None}, "There is nothing about serving: give serving_examples"),
    ],
)
def test_wrong_choices_are_one_sentence_and_leave_nothing(
    tmp_path, flights, logs, chosen, sentence
):
    given = {
        "training_examples_path": flights[1].examples,
        "serving_examples_path": logs().examples,
        "schema_path": flights[1].schema,
        "keys": KEYS,
    }
    with pytest.raises(PenstockError) as error:
        detect_skew(tmp_path / "skew", **(given | chosen))
    assert sentence in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_the_page_says_the_verdict_and_escapes_what_the_data_say(tmp_path, write_artifacts):
    rows = {"id": list(range(1500)), "word": ["<script>alert(1)</script>|"] * 1500}
    training = write_artifacts(tmp_path / "t", {"train": pa.table(rows)})
    serving = write_artifacts(tmp_path / "s", {"train": pa.table(rows | {"word": ["b"] * 1500})})
    chosen = {"report_path": tmp_path / "r.html", "summary_path": tmp_path / "r.md"}
    detected = detect_skew(
        tmp_path / "skew",
        training_examples_path=training.examples,
        serving_examples_path=serving.examples,
        keys=["id"],
        **chosen,
    )
    page = (tmp_path / "r.html").read_text()
    assert page == (tmp_path / "skew" / "skew.html").read_text()
    assert "<h1>Serving is not as training</h1>" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert not re.search(r'(?:src|href)="?(?:https?:)?//', page)
    assert "word differs in 100.000% of 1,500 pairs by key" in (tmp_path / "r.md").read_text()
    assert "word differs in 100.000%" in detected.refusal


def test_the_step_fails_after_its_outputs_are_written(tmp_path, flights, logs):
    @dsl.pipeline(name="p")
    def pipeline():
        training = dsl.importer(artifact_uri=str(flights[1].examples), artifact_class=Examples)
        serving = dsl.importer(
            artifact_uri=str(logs("kilometres").examples), artifact_class=Examples
        )
        skew_detector(
            training_examples=training.output,
            serving_examples=serving.output,
            keys=list(KEYS),
            exclude_features=list(UNKNOWN),
            severity={"schema": "ignore"},
        )

    Compiler().compile(pipeline, str(tmp_path / "p.yaml"))
    spec = parse((tmp_path / "p.yaml").read_text(), "p.yaml")
    report = run_pipeline(spec, {}, Settings(tmp_path / "runs"))
    assert report.state is State.FAILED
    (failure,) = report.failures()
    assert "distance differs in" in failure.reason
    (verdict,) = tmp_path.glob("runs/**/verdict.json")
    assert json.loads(verdict.read_text())["verdict"] == "fail"
    assert list(tmp_path.glob("runs/**/skew.html"))
    assert not list(tmp_path.glob("runs/**/.partitions-*"))


def test_skewed_numbers_are_drawn_over_each_other(tmp_path, write_artifacts):
    rng = np.random.default_rng(0)
    training = write_artifacts(tmp_path / "t", {"train": pa.table({"x": rng.normal(size=4000)})})
    shifted = rng.normal(1.5, 1, 4000)
    serving = write_artifacts(tmp_path / "s", {"train": pa.table({"x": shifted})})
    detect_skew(
        tmp_path / "skew",
        training_examples_path=training.examples,
        serving_examples_path=serving.examples,
    )
    page = (tmp_path / "skew" / "skew.html").read_text()
    assert 'aria-label="Histograms of x: training, serving"' in page


def test_bars_are_the_shares_of_values_between_their_ends():
    one = distribution_of_column(pa.array([0.0] * 10 + [1.0] * 30 + [2.5] * 40 + [10.0] * 20))
    other = distribution_of_column(pa.array([4.0] * 50))
    first, second = overlaid_plots(one, other)
    assert (first.low, first.high, first.whole) == (0.0, 10.0, True)
    assert [(r.low <= 1.0 < r.high, round(r.share, 6)) for r in first.rects][:2] == [
        (False, 0.1),
        (True, 0.3),
    ]
    assert sum(r.share for r in first.rects) == pytest.approx(1.0)
    (bar,) = second.rects
    assert (bar.share, bar.height, bar.low <= 4.0 <= bar.high) == (1.0, 100.0, True)
    assert overlaid_plots(one, distribution_of_column(pa.array(["a"]))) is None
    assert overlaid_plots(one, distribution_of_column(pa.array([], pa.float64()))) is None
