import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_data_validation as tfdv
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kfp import dsl

from penstock.components.artifacts import Examples, Statistics
from penstock.components.example_gen.executor import generate_examples
from penstock.components.statistics_gen.batches import read_list_batches
from penstock.components.statistics_gen.component import statistics_gen
from penstock.components.statistics_gen.counting import Counting
from penstock.components.statistics_gen.executor import generate_statistics
from penstock.data import shards as shards_module
from penstock.data.examples import read_manifest, read_table, shard_paths
from penstock.data.statistics import read_statistics, statistics_splits
from penstock.errors import PenstockError


@pytest.fixture(scope="module")
def flights():
    """5,000 rows like flights: integers, floats, words, missing values, NaN."""
    draw = np.random.default_rng(1)
    rows = 5000
    frame = pd.DataFrame(
        {
            "month": draw.integers(1, 13, rows),
            "distance": np.round(draw.gamma(2, 500, rows), 1),
            "delay": draw.normal(5, 30, rows),
            "carrier": draw.choice(["UA", "AA", "B6", "ünï"], rows, p=[0.5, 0.3, 0.15, 0.05]),
            "tail": [f"N{n}" for n in draw.integers(0, 900, rows)],
        }
    )
    frame.loc[::9, "distance"] = np.nan
    frame.loc[::13, "tail"] = None
    return frame


@pytest.fixture(scope="module")
def folders(flights, tmp_path_factory):
    """Examples of the flights in many shards, and their statistics."""
    folder = tmp_path_factory.mktemp("statistics")
    flights.to_parquet(folder / "x.parquet", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards_module, "SHARD_ROWS", 1000)
        patch.setattr(shards_module, "ROW_GROUP_ROWS", 500)
        generate_examples(folder / "examples", "x.parquet", folder)
    metadata = generate_statistics(folder / "examples", folder / "statistics")
    return folder / "examples", folder / "statistics", metadata


def features_of(statistics):
    (dataset,) = statistics.datasets
    return {feature.path.step[0]: feature for feature in dataset.features}


@pytest.mark.parametrize("split", ["train", "eval"])
def test_numbers_equal_those_of_tfdv_from_a_dataframe(folders, split):
    examples, statistics, _ = folders
    assert len(shard_paths(examples, "train")) > 2
    frame = read_table(examples, split).to_pandas()
    # TFDV counts a NaN of a pandas column as missing only when it comes as a null.
    expected = features_of(tfdv.generate_statistics_from_dataframe(frame))
    found = features_of(tfdv.load_stats_binary(f"{statistics}/Split-{split}/stats.binpb"))
    assert set(found) == set(expected) == set(frame)
    for name, feature in found.items():
        other = expected[name]
        assert feature.type == other.type
        kind = feature.WhichOneof("stats")
        mine, theirs = getattr(feature, kind), getattr(other, kind)
        for count in ("num_non_missing", "num_missing", "min_num_values", "max_num_values"):
            assert getattr(mine.common_stats, count) == getattr(theirs.common_stats, count)
        if kind == "num_stats":
            assert (mine.min, mine.max, mine.num_zeros) == (
                theirs.min,
                theirs.max,
                theirs.num_zeros,
            )
            np.testing.assert_allclose(mine.mean, theirs.mean, rtol=1e-12)
            np.testing.assert_allclose(mine.std_dev, theirs.std_dev, rtol=1e-12)
            np.testing.assert_allclose(mine.median, theirs.median, rtol=0.05)
        else:
            assert mine.unique == theirs.unique
            assert mine.top_values == theirs.top_values
            assert mine.rank_histogram == theirs.rank_histogram
            np.testing.assert_allclose(mine.avg_length, theirs.avg_length, rtol=1e-6)


def test_numbers_equal_those_of_pandas(folders):
    examples, statistics, _ = folders
    frame = read_table(examples, "train").to_pandas()
    features = features_of(read_statistics(statistics, "train"))
    distance = features["distance"].num_stats
    assert distance.common_stats.num_missing == frame["distance"].isna().sum() > 0
    np.testing.assert_allclose(distance.mean, frame["distance"].mean(), rtol=1e-12)
    np.testing.assert_allclose(distance.std_dev, frame["distance"].std(ddof=0), rtol=1e-9)
    carriers = {v.value: v.frequency for v in features["carrier"].string_stats.top_values}
    assert carriers == frame["carrier"].value_counts().to_dict()


def counted(batches):
    """Statistics of batches, each counted as a shard of its own."""
    counting = Counting(tfdv.StatsOptions())
    with ThreadPoolExecutor(2) as pool:
        partials = [counting.add(counting.create(), batch, pool) for batch in batches]
    merged = counting.merge([counting.compact(partial) for partial in partials])
    return {f.path.step[0]: f for f in counting.extract(merged).features}


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(0, 2000), max_size=6), order=st.randoms(use_true_random=False))
def test_any_partition_of_the_rows_gives_the_same_statistics(folders, cuts, order):
    shard = shard_paths(folders[0], "train")[0]
    names = ["distance", "delay", "carrier", "tail"]
    (whole,) = (
        pa.Table.from_batches(read_list_batches(str(shard), names)).combine_chunks().to_batches()
    )
    edges = sorted({0, len(whole), *(cut % len(whole) for cut in cuts)})
    parts = [whole.slice(a, b - a) for a, b in itertools.pairwise(edges)]
    order.shuffle(parts)
    one, many = counted([whole]), counted(parts)
    assert set(one) == set(many) == set(names)
    for name in names:
        a, b = one[name], many[name]
        kind = a.WhichOneof("stats")
        common, other = getattr(a, kind).common_stats, getattr(b, kind).common_stats
        for field in ("num_non_missing", "num_missing", "min_num_values", "tot_num_values"):
            assert getattr(common, field) == getattr(other, field)
        if kind == "string_stats":
            assert a.string_stats.unique == b.string_stats.unique
            assert a.string_stats.top_values == b.string_stats.top_values
            assert a.string_stats.rank_histogram == b.string_stats.rank_histogram
        else:
            a, b = a.num_stats, b.num_stats
            assert (a.min, a.max, a.num_zeros) == (b.min, b.max, b.num_zeros)
            np.testing.assert_allclose([a.mean, a.std_dev], [b.mean, b.std_dev], rtol=1e-9)
            # The sketch promises each rank within epsilon, 1% of the rows.
            values = np.sort(whole.column(names.index(name)).flatten().to_numpy())
            for found in (a, b):
                low, high = np.searchsorted(values, [found.median, np.nextafter(found.median, 1e9)])
                assert low / len(values) - 0.02 <= 0.5 <= high / len(values) + 0.02


def test_the_dataset_is_named_after_its_split(folders):
    examples, statistics, metadata = folders
    assert statistics_splits(statistics) == ["eval", "train"]
    manifest = read_manifest(examples)
    for split in ("train", "eval"):
        (dataset,) = read_statistics(statistics, split).datasets
        assert (dataset.name, dataset.num_examples) == (split, manifest.rows(split))
    train, evaluation = manifest.rows("train"), manifest.rows("eval")
    assert metadata == {
        "summary": f"5 columns over the rows of train {train:,}, eval {evaluation:,}",
        "rows": {"train": train, "eval": evaluation},
    }


@pytest.fixture
def examples_of(tmp_path):
    def make(table, **kwargs):
        pq.write_table(pa.table(table), tmp_path / "x.parquet")
        generate_examples(tmp_path / "examples", "x.parquet", tmp_path, **kwargs)
        return tmp_path / "examples"

    return make


def test_every_type_of_the_examples_is_counted(examples_of, tmp_path):
    folder = examples_of(
        {
            "flag": [True, None, False, True],
            "small": pa.array([1, 2, 3, 4], pa.int8()),
            "big": pa.array([1, 2, 3, 2**63], pa.uint64()),
            "float": pa.array([1.5, float("nan"), None, 2.5], pa.float32()),
            "day": pa.array([1, 2, None, 4], pa.date32()),
            "moment": pa.array([1000, 2000, 3000, None], pa.timestamp("ms")),
            "bytes": [b"\xff", b"x", None, b"x"],
            "list": [[1, 2], [], None, [3]],
            "words": [["a"], ["a", "b"], [], None],
            "nothing": pa.array([None] * 4),
        },
        splits={"all": 1},
    )
    generate_statistics(folder, tmp_path / "out")
    features = features_of(read_statistics(tmp_path / "out", "all"))
    assert features["flag"].num_stats.mean == pytest.approx(2 / 3)
    assert features["flag"].num_stats.common_stats.num_missing == 1
    assert features["small"].num_stats.max == 4
    assert features["big"].num_stats.max == 2.0**63
    assert features["float"].num_stats.common_stats.num_missing == 1
    assert features["float"].num_stats.mean == 2.0
    assert features["day"].num_stats.max == 4
    assert features["moment"].num_stats.max == 3000
    assert features["bytes"].string_stats.unique == 2
    assert features["list"].num_stats.common_stats.num_missing == 1
    assert features["list"].num_stats.common_stats.max_num_values == 2
    assert features["list"].num_stats.common_stats.min_num_values == 0
    assert features["words"].string_stats.common_stats.num_missing == 1
    nothing = features["nothing"]
    assert getattr(nothing, nothing.WhichOneof("stats")).common_stats.num_missing == 4


def test_an_empty_split_has_statistics_of_no_examples(examples_of, tmp_path):
    folder = examples_of({"a": [1, 1, 1]}, splits={"train": 1, "eval": 1})
    metadata = generate_statistics(folder, tmp_path / "out")
    assert sorted(metadata["rows"].values()) == [0, 3]
    (empty,) = [split for split, rows in metadata["rows"].items() if not rows]
    (dataset,) = read_statistics(tmp_path / "out", empty).datasets
    assert (dataset.name, dataset.num_examples, len(dataset.features)) == (empty, 0, 0)


def test_excluded_splits_are_left_out(folders, tmp_path):
    metadata = generate_statistics(folders[0], tmp_path / "out", exclude_splits=["train"])
    assert statistics_splits(tmp_path / "out") == ["eval"] == list(metadata["rows"])


def test_a_sample_is_the_same_in_every_run_and_about_as_large_as_asked(folders, tmp_path):
    counts = []
    for name in ("one", "two"):
        metadata = generate_statistics(
            folders[0], tmp_path / name, exclude_splits=["eval"], sample_rate=0.3
        )
        counts.append(metadata["rows"]["train"])
    rows = read_manifest(folders[0]).rows("train")
    assert counts[0] == counts[1]
    assert abs(counts[0] - 0.3 * rows) < 5 * np.sqrt(rows * 0.3 * 0.7)
    contents = [(tmp_path / n / "Split-train" / "stats.binpb").read_bytes() for n in ("one", "two")]
    assert contents[0] == contents[1]


def test_values_are_wrapped_without_being_copied_or_looped_over(folders):
    shard = shard_paths(folders[0], "train")[0]
    batch = next(read_list_batches(str(shard), ["month", "tail"]))
    assert pa.types.is_large_list(batch.column(0).type)
    assert pa.types.is_large_list(batch.column(1).type)
    assert batch.column(1).null_count > 0
    flat = pq.read_table(shard, columns=["tail"])["tail"].to_pylist()[: batch.num_rows]
    assert batch.column(1).to_pylist() == [None if t is None else [t.encode()] for t in flat]


def refusal(*args, **kwargs):
    with pytest.raises(PenstockError) as error:
        generate_statistics(*args, **kwargs)
    return str(error.value)


def test_wrong_parameters_are_refused(folders, tmp_path):
    out = tmp_path / "out"
    assert refusal(folders[0], out, exclude_splits=["test"]) == (
        "exclude_splits names 'test', which is no split of the examples; there are train, eval."
    )
    assert refusal(folders[0], out, exclude_splits=["train", "eval"]) == (
        "exclude_splits leaves none of the splits train, eval; keep at least one."
    )
    for rate in (0, -1, 1.5, float("nan")):
        assert refusal(folders[0], out, sample_rate=rate) == (
            f"sample_rate is {rate}; give a share above 0 and up to 1, such as 0.1."
        )
    assert refusal(tmp_path, out).startswith(f"There are no examples at {tmp_path}:")
    assert not out.exists()


def test_an_error_within_beam_keeps_its_sentence(examples_of, tmp_path):
    folder = examples_of({"a": list(range(100))})
    (shard,) = shard_paths(folder, "train")
    shard.write_bytes(shard.read_bytes()[:100])
    assert refusal(folder, tmp_path / "out").startswith(f"The shard {shard} cannot be read")
    assert not (tmp_path / "out").exists()


def test_the_component_passes_its_parameters_on(folders, tmp_path):
    examples = Examples(uri=str(folders[0]))
    statistics = Statistics(uri=str(tmp_path / "out"))
    report = dsl.HTML(uri=str(tmp_path / "page" / "report.html"))
    statistics_gen.python_func(
        examples=examples,
        statistics=statistics,
        report=report,
        exclude_splits=["train"],
        sample_rate=0.5,
    )
    page = (tmp_path / "out" / "statistics.html").read_bytes()
    assert (tmp_path / "page" / "report.html").read_bytes() == page
    assert list(statistics.metadata["rows"]) == ["eval"]
