"""Slices made by SQL, against pandas and, where its release has one, TFMA's own engine."""

import collections
import json

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from gate import flights, run, write_examples
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.api import model_eval_lib
from tensorflow_model_analysis.extractors import features_extractor

from penstock.components.evaluator.batched import slices_of_batch
from penstock.components.evaluator.config import read_eval_config
from penstock.errors import PenstockError

SLICED = """
model_specs:
  - label_key: late
    prediction_key: score
slicing_specs:
  - slice_keys_sql: "{sql}"
{more}
metrics_specs:
  - metrics:
      - class_name: BinaryAccuracy
        threshold:
          value_threshold: {{lower_bound: 0.5}}
{metrics}
"""
SEASONS = (
    "SELECT STRUCT(IF(month > 1, 'later', 'first') AS season, origin) "
    "FROM example.month, example.origin"
)


def config(sql, more="", metrics=""):
    return SLICED.format(sql=sql, more=more, metrics=metrics)


@pytest.fixture(scope="module")
def frame():
    found = flights(900)
    score = 1 / (1 + np.exp(-found.distance.fillna(0)))
    stops = [[f"s{k}" for k in range(n % 3)] for n in range(len(found))]
    return found.assign(score=score.astype(np.float32), stops=stops)


@pytest.fixture(scope="module")
def examples(frame, tmp_path_factory):
    return write_examples(tmp_path_factory.mktemp("examples"), frame)


def checks(record):
    return {tuple(check["slice"].items()): check for check in record["checks"]}


def test_sql_makes_slices(frame, examples, tmp_path):
    _, record = run(examples, None, tmp_path, config(SEASONS))

    found = checks(record)
    right = (frame.score > 0.5) == frame.late
    seasons = frame.month.gt(1).map({True: "later", False: "first"})
    expected = right.groupby([seasons, frame.origin]).agg(["mean", "size"])
    # As in TFMA, a spec without feature keys also stands for all rows.
    assert len(found) == 1 + len(expected) == 7
    for (season, origin), (share, rows) in expected.iterrows():
        check = found[("season", season), ("origin", origin)]
        assert check["value"] == pytest.approx(share) and check["rows"] == rows
        assert check["method"] == "wilson" and check["interval"][0] < share


def test_slices_may_overlap_and_take_lists_apart(frame, examples, tmp_path):
    sql = "SELECT STRUCT(stops AS stop) FROM example.stops"
    more = "  - slice_keys_sql: \"SELECT STRUCT('s0' AS stop) WHERE example.month = 1\""
    brier = "      - class_name: MeanSquaredError"
    run(examples, None, tmp_path, config(sql, more, brier))

    has = {stop: frame.stops.map(lambda stops, s=stop: s in stops) for stop in ("s0", "s1")}
    has["s0"] |= frame.month == 1
    squared = (frame.score - frame.late) ** 2
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["slices"]
    assert [place["slice"] for place in metrics] == [{}, {"stop": "s0"}, {"stop": "s1"}]
    for place in metrics[1:]:
        rows = has[place["slice"]["stop"]]
        assert place["metrics"]["example_count"] == rows.sum()
        assert place["metrics"]["mean_squared_error"] == pytest.approx(squared[rows].mean(), 1e-4)
        span = place["intervals"]["mean_squared_error"]
        assert span["method"] == "poisson_bootstrap"
        half = 1.97 * squared[rows].std() / np.sqrt(rows.sum())
        assert (span["high"] - span["low"]) / 2 == pytest.approx(half, rel=0.2)


def test_sql_makes_slices_for_what_tfma_takes_row_by_row(frame, examples, tmp_path):
    _, record = run(
        examples, None, tmp_path, config(SEASONS) + "options: {min_slice_size: 2}\n", replicates=0
    )
    seasons = frame.month.gt(1).map({True: "later", False: "first"})
    sizes = frame.groupby([seasons, frame.origin]).size()
    found = checks(record)
    assert len(found) == 7
    for (season, origin), rows in sizes.items():
        assert found[("season", season), ("origin", origin)]["rows"] == rows


QUERIES = [
    SEASONS,
    "SELECT STRUCT(origin) FROM example.origin WHERE origin != b'JFK'",
    "SELECT STRUCT(month, late) FROM example.month, example.late",
    "SELECT STRUCT(CONCAT(origin, b'-', stops) AS both) FROM example.origin, example.stops",
    "SELECT STRUCT(ROUND(distance) AS far) FROM example.distance WHERE distance > 1",
]


@pytest.mark.parametrize("sql", QUERIES)
def test_slices_are_those_of_tfmas_engine(frame, sql, tmp_path):
    pytest.importorskip("tfx_bsl.arrow.sql_util", reason="no SQL in this tfx_bsl")
    from tensorflow_model_analysis.extractors import sql_slice_key_extractor

    asked = read_eval_config(config(sql))
    rows = frame.head(200).drop(columns=["score", "weight"])
    batch = pa.RecordBatch.from_pandas(rows, preserve_index=False)
    ours = {
        key: len(np.arange(batch.num_rows)[found])
        for key, found in slices_of_batch(batch, asked).items()
    }
    words = {"origin": pa.large_binary(), "stops": pa.large_list(pa.large_binary())}
    cells = [
        [None if v is None or v != v else [v] for v in column.to_pylist()]
        if name != "stops"
        else column.to_pylist()
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    kinds = {
        "stops": pa.large_list(pa.large_binary()),
        "origin": pa.large_list(words["origin"]),
        "distance": pa.large_list(pa.float32()),
    }
    listed = pa.RecordBatch.from_arrays(
        [
            pa.array(c, kinds.get(n, pa.large_list(pa.int64())))
            for n, c in zip(batch.schema.names, cells, strict=True)
        ],
        names=batch.schema.names,
    )
    extractors = [
        features_extractor.FeaturesExtractor(asked),
        sql_slice_key_extractor.SqlSliceKeyExtractor(asked),
    ]
    theirs = collections.Counter()
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        extracts = pipeline | beam.Create([listed]) | model_eval_lib.BatchedInputsToExtracts()
        for extractor in extractors:
            extracts |= extractor.stage_name >> extractor.ptransform
        _ = extracts | beam.Map(lambda e: _write(tmp_path, e))
    for line in (tmp_path / "keys").read_text().splitlines():
        theirs.update({tuple(map(tuple, key)) for key in json.loads(line)})
    ours.pop(())
    assert ours == theirs != {}


def _write(folder, extracts):
    with (folder / "keys").open("w") as file:
        for row in extracts[constants.SLICE_KEY_TYPES_KEY].dense_rows():
            file.write(json.dumps([list(map(list, key)) for key in row]) + "\n")


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("SELECT STRUCT(month) FROM example.moon", "names the feature 'moon', which is not among"),
        ("SELEKT", r"is 'SELEKT'; write it as \"SELECT STRUCT\(feature"),
        ("SELECT month FROM example.month", "write it as"),
        ("SELECT STRUCT(month + 1) FROM example.month", "which has no name for the slices"),
        ("SELECT STRUCT(NOSUCH(month) AS m) FROM example.month", "cannot be evaluated .*nosuch"),
    ],
)
def test_sql_that_cannot_be_executed_is_refused(examples, tmp_path, sql, sentence):
    with pytest.raises(PenstockError, match=f"slice_keys_sql of eval_config.*{sentence}"):
        run(examples, None, tmp_path, config(sql))
    assert list(tmp_path.iterdir()) == []
