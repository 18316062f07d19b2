"""The promises of components/transform/README.md."""

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import hypothesis.extra.numpy as hnp
import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0 import statistics_pb2

from penstock.components.transform.counts import add_counts, count_batches
from penstock.components.transform.executor import fit_transform
from penstock.components.transform.features import (
    Bucketized,
    Categorical,
    Crossed,
    Hashed,
    Numeric,
)
from penstock.components.transform.fit import exact_quantiles, fit_feature
from penstock.data.digest import digest_path
from penstock.errors import PenstockError
from penstock.models.transform_graph import read_transform_graph

ROWS = 3000
HEADER = "from penstock.components.transform.features import *\n"

FEATURES = """
FEATURES = {
    "z": Numeric("distance"),
    "unit": Numeric("distance", scale="min_max", missing=-5.0),
    "plain": Numeric("distance", scale="none", missing=0),
    "constant": Numeric("year"),
    "hand": Bucketized("distance", boundaries=(500.0, 1000.0), output="index"),
    "tenths": Bucketized("distance", num_buckets=10, output="index"),
    "sevenths": Bucketized("distance", num_buckets=7, output="index"),
    "carrier": Categorical("carrier", output="index"),
    "carrier_bits": Categorical("carrier"),
    "top": Categorical("tail", max_tokens=20, num_oov=3, output="index"),
    "hour": Categorical("hour", output="index"),
    "rainy": Categorical("rainy", output="index"),
    "tail": Hashed("tail", num_bins=50, output="index"),
    "hour_hash": Hashed("hour", num_bins=6, output="index"),
    "route": Crossed(("carrier", "hour"), num_bins=30, output="index"),
    "triple": Crossed(("carrier", "hour", "tail"), num_bins=30, output="index"),
}
"""


def trips(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """Rows with nulls in every column that may have them, NaN, and empty strings."""
    random = np.random.default_rng(seed)
    gone = random.random((4, rows)) < 0.1
    distance = random.gamma(4.0, 250.0, rows)
    distance[random.random(rows) < 0.02] = np.nan
    carrier = random.choice(["UA", "B6", "EV", "Ünï", ""], rows, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    tail = np.char.add("N", random.zipf(1.3, rows).clip(max=10**6).astype(str))
    return pa.table(
        {
            "distance": pa.array(distance, pa.float64(), mask=gone[0], from_pandas=False),
            "carrier": pa.array(carrier, pa.string(), mask=gone[1]),
            "hour": pa.array(random.integers(-1, 24, rows), pa.int64(), mask=gone[2]),
            "tail": pa.array(tail, pa.string(), mask=gone[3]),
            "rainy": pa.array(random.random(rows) < 0.3, pa.bool_()),
            "year": pa.array(np.full(rows, 2013), pa.int64()),
            "empty": pa.array([None] * rows, pa.float64()),
            "late": pa.array(random.integers(0, 2, rows), pa.int64()),
        }
    )


def author(folder: Path, code: str) -> str:
    file = folder / "author.py"
    file.write_text(HEADER + code)
    return str(file)


@pytest.fixture(scope="module")
def artifacts(write_artifacts, tmp_path_factory):
    return write_artifacts(
        tmp_path_factory.mktemp("trips"), {"train": trips(), "eval": trips(500, seed=1)}
    )


@pytest.fixture(scope="module")
def fitted(artifacts, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fitted")
    fit(artifacts, folder / "graph", author(folder, FEATURES))
    return folder / "graph"


def fit(artifacts, graph: Path, module: str, **settings):
    return fit_transform(
        artifacts.examples, artifacts.statistics, artifacts.schema, graph, module, **settings
    )


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """The training rows as they reach the model: NaN and the empty string are missing."""
    frame = trips().to_pandas()
    frame[["carrier", "tail"]] = frame[["carrier", "tail"]].fillna("")
    return frame


@pytest.fixture(scope="module")
def transformed(fitted, rows) -> dict[str, np.ndarray]:
    graph = read_transform_graph(fitted)
    return {name: value.numpy() for name, value in graph(tensors(graph, rows)).items()}


def tensors(graph, frame: pd.DataFrame) -> dict[str, tf.Tensor]:
    return {
        column: tf.constant(
            frame[column].to_numpy(str if kind == "string" else np.float32),
            tf.string if kind == "string" else tf.float32,
        )
        for column, kind in graph.columns.items()
    }


def source(fitted: Path, name: str) -> str:
    return json.loads((fitted / "transform.json").read_text())["features"][name]["source"]


def test_z_scores_are_pandas_z_scores_and_a_missing_value_is_the_mean(transformed, rows):
    expected = (rows.distance - rows.distance.mean()) / rows.distance.std(ddof=0)

    assert transformed["z"].shape == (ROWS, 1)
    np.testing.assert_allclose(transformed["z"][:, 0], expected.fillna(0), atol=1e-5)


def test_min_max_maps_to_the_unit_interval_and_fills_in_before_scaling(transformed, rows):
    low, high = rows.distance.min(), rows.distance.max()

    expected = (rows.distance.fillna(-5.0) - low) / (high - low)

    np.testing.assert_allclose(transformed["unit"][:, 0], expected, atol=1e-5)


def test_an_unscaled_number_is_itself(transformed, rows):
    np.testing.assert_allclose(transformed["plain"][:, 0], rows.distance.fillna(0), rtol=1e-6)


def test_a_column_that_never_varies_gives_zero_whatever_comes_later(fitted, transformed, rows):
    graph = read_transform_graph(fitted)

    later = graph(tensors(graph, rows.head(3).assign(year=2026)))["constant"].numpy()

    assert not transformed["constant"].any()
    assert not later.any()


def test_buckets_are_numpys(transformed, rows):
    expected = np.digitize(rows.distance, [500.0, 1000.0]) + 1

    np.testing.assert_array_equal(
        transformed["hand"][:, 0], np.where(rows.distance.isna(), 0, expected)
    )


@pytest.mark.parametrize(
    ("name", "count", "origin"), [("tenths", 10, "statistics"), ("sevenths", 7, "data")]
)
def test_quantile_buckets_hold_equal_shares(fitted, transformed, rows, name, count, origin):
    share = pd.Series(transformed[name][rows.distance.notna(), 0]).value_counts(normalize=True)

    assert source(fitted, name) == origin
    assert sorted(share.index) == list(range(1, count + 1))
    np.testing.assert_allclose(share, 1 / count, atol=0.012)


def test_categories_are_numbered_by_frequency_after_missing_and_unseen(fitted, transformed, rows):
    counts = rows.carrier[rows.carrier != ""].value_counts()
    index = {"": 0, **{token: place for place, token in enumerate(counts.index, start=2)}}

    np.testing.assert_array_equal(transformed["carrier"][:, 0], rows.carrier.map(index))
    assert source(fitted, "carrier") == "statistics"
    np.testing.assert_array_equal(
        transformed["carrier_bits"], np.eye(len(index) + 1)[rows.carrier.map(index)]
    )


def test_integers_and_booleans_are_categories_too(fitted, transformed, rows):
    for name in ("hour", "rainy"):
        values = rows[name].dropna().astype(int)
        ranked = sorted(values.unique(), key=lambda v, seen=values: (-(seen == v).sum(), v))
        index = {value: place for place, value in enumerate(ranked, start=2)}
        expected = [0 if pd.isna(v) else index[int(v)] for v in rows[name]]

        np.testing.assert_array_equal(transformed[name][:, 0], expected)
        assert source(fitted, name) == "data"


def test_values_outside_the_vocabulary_share_the_unseen_indices(fitted, rows):
    graph = read_transform_graph(fitted)
    unseen = rows.head(200).assign(carrier="nobody", hour=99, tail=[f"new-{i}" for i in range(200)])

    answers = graph(tensors(graph, unseen))

    assert set(answers["carrier"].numpy().ravel()) == {1}
    assert set(answers["hour"].numpy().ravel()) == {1}
    assert set(answers["top"].numpy().ravel()) == {1, 2, 3}
    assert graph.size("top") == 1 + 3 + 20


def test_hashes_are_tensorflows_and_missing_is_zero(transformed, rows):
    bins = tf.strings.to_hash_bucket_fast(rows["tail"].tolist(), 50).numpy() + 1

    np.testing.assert_array_equal(transformed["tail"][:, 0], np.where(rows["tail"] == "", 0, bins))
    hours = transformed["hour_hash"][:, 0]
    assert set(hours[rows.hour.isna()]) == {0}
    assert set(hours[rows.hour.notna()]) <= set(range(1, 7))


@pytest.mark.parametrize(("name", "columns"), [("route", 2), ("triple", 3)])
def test_a_cross_is_a_function_of_its_values_and_zero_when_one_is_missing(
    transformed, rows, name, columns
):
    values = rows[["carrier", "hour", "tail"][:columns]]
    missing = ((values == "") | values.isna()).any(axis=1)
    answers = pd.Series(transformed[name][:, 0])

    assert set(answers[missing]) == {0}
    assert answers[~missing].between(1, 30).all()
    assert answers[~missing].nunique() > 20
    groups = answers[~missing].groupby([values[c][~missing] for c in values])
    assert (groups.nunique() == 1).all()


def test_columns_may_come_as_batch_by_one(fitted, rows, transformed):
    graph = read_transform_graph(fitted)
    flat = tensors(graph, rows.head(50))

    answers = graph({column: tf.expand_dims(value, -1) for column, value in flat.items()})

    for name, value in answers.items():
        np.testing.assert_array_equal(value.numpy(), transformed[name][:50])


def test_only_standard_keras_layers_are_needed_to_load_it(fitted):
    with zipfile.ZipFile(fitted / "preprocessing.keras") as archive:
        config = archive.read("config.json").decode()

    modules = {part.split('"')[0] for part in config.split('"module": "')[1:]}

    assert modules and all(module.split(".")[0] in ("keras", "builtins") for module in modules)
    registered = {part.split('"')[0] for part in config.split('"registered_name": "')[1:]}
    assert not any(">" in name for name in registered)  # as custom objects have
    assert keras.models.load_model(fitted / "preprocessing.keras") is not None


@pytest.mark.parametrize("shards", [2, 7])
def test_the_result_is_the_same_for_any_number_of_shards_and_when_run_again(
    artifacts, fitted, write_artifacts, tmp_path, shards
):
    sharded = write_artifacts(tmp_path, {"train": trips(), "eval": trips(500, seed=1)}, shards)
    module = json.loads((fitted / "transform.json").read_text())["module"]

    fit(replace(artifacts, examples=sharded.examples), tmp_path / "graph", module)

    assert digest_path(tmp_path / "graph") == digest_path(fitted)


def test_the_result_on_beam_is_that_without(artifacts, fitted, write_artifacts, tmp_path):
    sharded = write_artifacts(tmp_path, {"train": trips(), "eval": trips(500, seed=1)}, 3)
    module = str(fitted.parent / "author.py")

    summary = fit(
        replace(artifacts, examples=sharded.examples),
        tmp_path / "graph",
        module,
        beam_pipeline_args=["--runner=DirectRunner"],
    )

    assert summary["sources"]["data"] == 3
    assert digest_path(tmp_path / "graph") == digest_path(fitted)
    assert not list(sharded.examples.rglob(".counts-*"))


def test_what_statistics_determine_is_not_read_from_the_data(artifacts, tmp_path):
    """Given examples whose shards are gone, features that statistics determine are still fitted."""
    shutil.copytree(artifacts.examples, tmp_path / "examples")
    for shard in (tmp_path / "examples").glob("*/*.parquet"):
        shard.unlink()
    module = author(
        tmp_path,
        'FEATURES = {"a": Numeric("distance"), "b": Numeric("hour", scale="min_max"),'
        ' "c": Categorical("carrier"), "d": Bucketized("distance", num_buckets=5),'
        ' "e": Hashed("tail", 5), "f": Categorical("tail", max_tokens=5)}',
    )

    summary = fit(replace(artifacts, examples=tmp_path / "examples"), tmp_path / "graph", module)

    assert summary["sources"] == {"declaration": 1, "statistics": 5}


@given(
    hnp.arrays(
        np.float32,
        st.integers(1, 60),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    st.lists(st.floats(0.001, 1.0), min_size=1, max_size=5),
    st.integers(1, 4),
)
def test_exact_quantiles_are_numpys_for_any_batches(values, fractions, batches):
    arrays = [pa.array(part) for part in np.array_split(values, batches)]

    found = exact_quantiles("x", lambda _, keys: count_batches(arrays, keys), fractions)

    np.testing.assert_array_equal(found, np.quantile(values, fractions, method="inverted_cdf"))


def identity(values: pa.Array) -> pa.Array:
    return values


@given(st.lists(st.lists(st.integers(0, 20), max_size=30), max_size=9), st.integers(0, 30))
def test_counts_are_pandas_counts_however_they_are_added(batches, waiting):
    """Given a waiting room so small that sums are made at every turn, or never."""
    tables = [count_batches([pa.array(batch, pa.int64())], identity) for batch in batches]

    found = add_counts(tables, waiting)

    expected = pd.Series([v for batch in batches for v in batch], dtype=object).value_counts()
    assert dict(zip(*found.to_pydict().values(), strict=True)) == expected.to_dict()
    assert len(found) == len(expected)


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "", None]), min_size=1, max_size=40),
    st.integers(1, 7),
    st.integers(1, 8),
)
def test_a_vocabulary_is_the_same_from_statistics_and_from_data(values, max_tokens, kept):
    """Given a rank histogram cut anywhere, the vocabulary is that of a direct count."""
    present = [value for value in values if value is not None]
    counts = pd.Series(present, dtype=object).value_counts()
    tokens = sorted(counts.index, key=lambda token: (-counts[token], token))
    statistics = statistics_pb2.FeatureNameStatistics(type="STRING")
    statistics.string_stats.unique = len(tokens)
    statistics.string_stats.common_stats.num_non_missing = len(present)
    # Which of several equally frequent values TFDV keeps is not for us to say: here the last.
    for token in sorted(sorted(tokens, reverse=True), key=lambda token: -counts[token])[:kept]:
        statistics.string_stats.rank_histogram.buckets.add(label=token, sample_count=counts[token])
    wanted = [token for token in tokens if token][:max_tokens]

    def state():
        feature = Categorical("x", max_tokens=max_tokens)
        batches = [pa.array(values, pa.string())]
        return fit_feature("x", feature, statistics, lambda _, keys: count_batches(batches, keys))

    if wanted:
        assert state().values["vocabulary"] == wanted
    else:
        with pytest.raises(PenstockError, match="missing in every training row"):
            state()


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("", "defines no FEATURES"),
        ("FEATURES = {}", "must be a dictionary of one or more features"),
        ("FEATURES = [1]", "must be a dictionary"),
        ('FEATURES = {"a": "distance"}', "is a str; it must be one of Numeric"),
        ('FEATURES = {"a b": Numeric("distance")}', "a name starts with a letter"),
        ('FEATURES = {"a": Numeric("distanse")}', "'distanse', which the examples do not have"),
        ('FEATURES = {"a": Numeric("carrier")}', "it holds strings; use Categorical"),
        ('FEATURES = {"a": Categorical("distance")}', "it holds fractions; use Numeric"),
        ('FEATURES = {"a": Numeric("empty")}', "missing in every training row"),
        ('FEATURES = {"a": Bucketized("empty", num_buckets=3)}', "missing in every training row"),
        ('FEATURES = {"a": Numeric("distance", scale="log")}', "scale='log' is none of"),
        ('FEATURES = {"a": Numeric("distance", missing="median")}', "neither 'mean' nor a finite"),
        ('FEATURES = {"a": Bucketized("distance")}', "needs either num_buckets or boundaries"),
        ('FEATURES = {"a": Bucketized("distance", boundaries=(2, 1))}', "boundaries must increase"),
        ('FEATURES = {"a": Categorical("carrier", max_tokens=0)}', "max_tokens=0 is not"),
        ('FEATURES = {"a": Hashed("carrier", num_bins=2.5)}', "num_bins=2.5 is not a whole number"),
        ('FEATURES = {"a": Crossed(("carrier",), 9)}', "two or more different columns"),
        ('FEATURES = {"a": Crossed("carrier", 9)}', "must be a tuple of column names"),
        ("import no_such_package", "fails when imported, with ModuleNotFoundError"),
        ("1 / 0", r"fails when imported, with ZeroDivisionError: .* \(at .*author.py:2\)"),
    ],
)
def test_a_wrong_declaration_gets_a_sentence_and_leaves_nothing(
    artifacts, tmp_path, code, sentence
):
    with pytest.raises(PenstockError, match=sentence):
        fit(artifacts, tmp_path / "graph", author(tmp_path, code))

    assert not (tmp_path / "graph").exists()


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("", "parameter module is empty"),
        ("no.such.module", "There is no module 'no.such.module': Python finds no 'no'"),
        ("missing.py", "There is no file missing.py"),
    ],
)
def test_an_unknown_module_gets_a_sentence(artifacts, tmp_path, module, sentence):
    with pytest.raises(PenstockError, match=sentence):
        fit(artifacts, tmp_path / "graph", module)


def test_a_split_without_rows_gets_a_sentence(write_artifacts, tmp_path):
    given = write_artifacts(tmp_path, {"train": trips(20), "none": trips(20).slice(0, 0)})

    with pytest.raises(PenstockError, match="Split 'none' of the examples has no rows"):
        fit(given, tmp_path / "graph", author(tmp_path, FEATURES), train_split="none")


def test_statistics_of_other_examples_are_refused(artifacts, write_artifacts, tmp_path):
    few = write_artifacts(tmp_path, {"train": trips(20)})

    with pytest.raises(PenstockError, match="count 3000 rows in split 'train', the examples have"):
        fit(
            replace(few, statistics=artifacts.statistics),
            tmp_path / "g",
            author(tmp_path, FEATURES),
        )


def test_a_column_that_is_not_there_when_serving_is_refused(artifacts, tmp_path):
    schema = (artifacts.schema / "schema.pbtxt").read_text()
    marked = schema.replace('name: "late"', 'name: "late"\n  not_in_environment: "SERVING"')
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "schema.pbtxt").write_text(marked)
    module = author(tmp_path, 'FEATURES = {"cheat": Numeric("late")}')

    with pytest.raises(PenstockError, match="'late', which the schema says is not there when"):
        fit(replace(artifacts, schema=tmp_path / "schema"), tmp_path / "graph", module)


def test_infinite_values_and_unwieldy_categories_get_a_sentence(write_artifacts, tmp_path):
    table = pa.table(
        {
            "x": pa.array([1.0, np.inf, 2.0] * 5, pa.float64()),
            "id": pa.array([2**40 + i for i in range(15)], pa.int64()),
            "two words": pa.array([1] * 15, pa.int64()),
        }
    )
    given = write_artifacts(tmp_path, {"train": table})

    for code, sentence in (
        ('FEATURES = {"x": Numeric("x")}', "'x', which holds infinite values"),
        ('FEATURES = {"id": Categorical("id")}', "cannot be told apart as float32"),
        ('FEATURES = {"a": Numeric("two words")}', "cannot name an input of a SavedModel"),
    ):
        with pytest.raises(PenstockError, match=sentence):
            fit(given, tmp_path / "graph", author(tmp_path, code))


def test_a_changed_file_is_read_anew(artifacts, tmp_path):
    author(tmp_path, 'FEATURES = {"a": Numeric("distance")}')
    first = fit(artifacts, tmp_path / "graph", str(tmp_path / "author.py"))
    author(tmp_path, 'FEATURES = {"a": Numeric("distance"), "b": Numeric("hour")}')

    second = fit(artifacts, tmp_path / "graph", str(tmp_path / "author.py"))

    assert (first["features"], second["features"]) == (1, 2)
    assert first["module_digest"] != second["module_digest"]


def test_declarations_are_plain_values():
    assert Bucketized("x", boundaries=[1, 2]) == Bucketized("x", boundaries=(1, 2))
    assert Crossed(["a", "b"], 3).columns == ("a", "b")
    assert Numeric("x").columns == Hashed("x", 3).columns == ("x",)
