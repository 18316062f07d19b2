"""Beam steps on engines that run elsewhere give the answers of the DirectRunner.

The engine is another process that knows the pipeline only as it was sent to it, and its workers are
a third, which finds the steps' code where Penstock is installed: what does not travel shows here.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from google.protobuf import json_format

from penstock.components.bulk_inferrer.executor import infer
from penstock.components.evaluator.executor import evaluate
from penstock.components.example_gen.executor import generate_examples
from penstock.components.statistics_gen.executor import generate_statistics
from penstock.data.digest import digest_path
from penstock.data.examples import read_manifest, read_table, shard_paths
from penstock.drift.by_key import KeySkew, Side, count_skew
from penstock.drift.keys import check_keys

from ..cluster import free_port

ROOT = Path(__file__).parents[2]
BUILT = Path(os.environ.get("PENSTOCK_TEST_BEAM", ROOT / "build" / "beam"))
CONFIG = """
model_specs { label_key: "late" prediction_key: "chance" }
slicing_specs {}
slicing_specs { feature_keys: "origin" }
metrics_specs {
  metrics { class_name: "AUC" threshold { value_threshold { lower_bound { value: 0.5 } } } }
  metrics { class_name: "Calibration" }
}
"""


def flags_of(engine, workers):
    """What a user writes as `beam_pipeline_args`."""
    outside = ["--environment_type=EXTERNAL", f"--environment_config={workers}"]
    if engine == "prism":
        program = BUILT / "prism"
        if not program.exists():
            pytest.skip(f"Prism is not built: {program}; see tests/beam/prism/build.sh")
        return ["--runner=PrismRunner", f"--prism_location={program}", *outside]
    jar = os.environ.get(f"PENSTOCK_TEST_{engine.upper()}_JAR")
    if not jar or not shutil.which("java"):
        pytest.skip(f"PENSTOCK_TEST_{engine.upper()}_JAR names no job server of Beam's {engine}")
    if engine == "flink":
        return [
            "--runner=FlinkRunner",
            f"--flink_job_server_jar={jar}",
            "--parallelism=2",
            *outside,
        ]
    return ["--runner=SparkRunner", f"--spark_job_server_jar={jar}", *outside]


# As Beam's worker_pool_main, but with a thread for each pipeline, so that TensorFlow loads once.
POOL = """
import sys, time
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer as Pool
kept = Pool.start(use_process=False, port=int(sys.argv[1]))
time.sleep(3600)
"""


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """The address of Beam's worker pool, a process of its own."""
    port = free_port()
    log = tmp_path_factory.mktemp("workers") / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", POOL, str(port)], stdout=output, stderr=output, cwd=log.parent
        )
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        grpc.channel_ready_future(channel).result(timeout=300)
    yield f"localhost:{port}"
    process.kill()
    process.wait()


@pytest.fixture(scope="module", params=["prism", "flink", "spark"])
def engine(request, workers):
    return flags_of(request.param, workers)


@pytest.fixture(scope="module")
def flights():
    draw = np.random.default_rng(5)
    rows = 2000
    distance = draw.normal(0, 1.5, rows)
    return pa.table(
        {
            "key": np.arange(rows),
            "distance": pa.array(distance, mask=draw.random(rows) < 0.1),
            "origin": draw.choice(["JFK", "LGA"], rows),
            "late": (draw.random(rows) < 1 / (1 + np.exp(-distance))).astype(int),
        }
    )


@pytest.fixture(scope="module")
def examples(flights, write_tables, tmp_path_factory):
    splits = {"train": flights.slice(0, 1200), "eval": flights.slice(1200)}
    return write_tables(tmp_path_factory.mktemp("given") / "examples", splits, shards=3)


class Chance(tf.Module):
    """The chance to be late, by distance alone."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="distance")])
    def serve(self, distance):
        return {"chance": tf.sigmoid(tf.where(tf.math.is_nan(distance), 0.0, distance))}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    chance = Chance()
    tf.saved_model.save(
        chance, str(folder / "serving"), signatures={"serving_default": chance.serve}
    )
    return folder


def test_example_gen_gives_the_same_rows(engine, flights, tmp_path):
    flights.to_pandas().to_csv(tmp_path / "flights.csv", index=False)
    found = []
    for name, args in (("here", []), ("there", engine)):
        generate_examples(
            tmp_path / name, "*.csv", tmp_path, filter="key != 17", beam_pipeline_args=args
        )
        manifest = read_manifest(tmp_path / name)
        tables = {split: read_table(tmp_path / name, split) for split in manifest.splits}
        found.append((manifest.content_digest, manifest.accounts, tables))
    assert found[0] == found[1]
    assert found[1][1]["out"] == 1999


def leaves(message):
    """Every value of a proto with its path."""
    waiting = [((), json_format.MessageToDict(message))]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, dict):
            waiting += [((*path, name), value) for name, value in node.items()]
        elif isinstance(node, list):
            waiting += [((*path, place), value) for place, value in enumerate(node)]
        else:
            yield path, node


def test_statistics_gen_gives_the_same_statistics(engine, examples, tmp_path):
    for name, args in (("here", None), ("there", engine)):
        generate_statistics(examples, tmp_path / name, beam_pipeline_args=args)
    for split in ("train", "eval"):
        here, there = (
            tfdv.load_stats_binary(str(tmp_path / name / f"Split-{split}" / "stats.binpb"))
            for name in ("here", "there")
        )
        # Engines merge shards in orders of their own, which sums of floats show in the last digits.
        assert dict(leaves(there)) == {
            path: pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
            for path, value in leaves(here)
        }
        assert there.datasets[0].num_examples == {"train": 1200, "eval": 800}[split]


def test_skew_by_key_gives_the_same_counts(engine, flights, write_tables, tmp_path):
    other = flights.set_column(
        1, "distance", pa.array([None if n % 7 == 0 else n / 9 for n in range(len(flights))])
    )
    sides = []
    for name, table in (("training", flights), ("serving", other.slice(100))):
        folder = write_tables(tmp_path / name, {"all": table}, shards=2)
        shards = tuple(str(path) for path in shard_paths(folder, "all"))
        sides.append(Side(shards, table.schema, len(table)))
    counts = []
    for name, args in (("here", None), ("there", engine)):
        (tmp_path / name).mkdir()
        keys = check_keys(("key",), *(side.schema for side in sides))
        skew = KeySkew(keys, ("distance", "origin"))
        counts.append(count_skew(*sides, skew, tmp_path / name, args))
    assert counts[0] == counts[1]
    assert counts[1].pairs == 1900


def test_bulk_inferrer_gives_the_same_predictions(engine, examples, model, tmp_path):
    for name, args in (("here", None), ("there", engine)):
        infer(examples, model, tmp_path / name, allow_unvalidated=True, beam_pipeline_args=args)
    assert digest_path(tmp_path / "there") == digest_path(tmp_path / "here")


def test_evaluator_gives_the_same_numbers(engine, examples, model, tmp_path):
    found = []
    for name, args in (("here", None), ("there", engine)):
        places = [tmp_path / name / part for part in ("evaluation", "blessing", "page.html")]
        evaluate(examples, model, *places, CONFIG, beam_pipeline_args=args)
        found.append(json.loads((places[0] / "metrics.json").read_text()))
    assert found[0] == found[1]
