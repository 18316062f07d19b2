"""A small model gate on synthetic flights, for the evaluator's tests."""

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from penstock.components.evaluator.executor import evaluate
from penstock.components.evaluator.row_files import RowFile, write_rows
from penstock.data.examples import Column, Manifest, Shard, write_manifest

CONFIG = """
model_specs { label_key: "late" }
slicing_specs {}
slicing_specs { feature_keys: "origin" }
slicing_specs { feature_keys: "month" feature_values { key: "origin" value: "JFK" } }
metrics_specs {
  metrics { class_name: "ExampleCount" }
  metrics {
    class_name: "AUC"
    threshold { value_threshold { lower_bound { value: 0.6 } } }
    per_slice_thresholds {
      slicing_specs { feature_keys: "origin" }
      threshold { value_threshold { lower_bound { value: 0.55 } } }
    }
  }
  metrics {
    class_name: "BinaryAccuracy"
    per_slice_thresholds {
      slicing_specs {}
      threshold { value_threshold { lower_bound { value: 0.51 } } }
    }
  }
  metrics { class_name: "BinaryCrossEntropy" }
  metrics { class_name: "Calibration" }
}
"""


def flights(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    distance = rng.normal(0, 1.5, rows)
    late = (rng.random(rows) < 1 / (1 + np.exp(-distance))).astype(int)
    distance[rng.random(rows) < 0.05] = np.nan
    origin = rng.choice(np.array(["JFK", "LGA", "EWR", None]), rows, p=[0.4, 0.3, 0.25, 0.05])
    return pd.DataFrame(
        {
            "distance": distance,
            "origin": origin,
            "month": rng.integers(1, 4, rows),
            "late": late,
            "weight": rng.uniform(0.5, 2, rows),
        }
    )


def write_examples(folder: Path, frame: pd.DataFrame, split: str = "eval", shards: int = 2) -> Path:
    place = folder / f"Split-{split}"
    place.mkdir(parents=True)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    # Several shards, so that results are merged over batches.
    cuts = [round(number * len(frame) / shards) for number in range(shards + 1)]
    listed = []
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        part, name = table.slice(start, end - start), f"part-{number:05}.parquet"
        pq.write_table(part, place / name)
        listed.append(Shard(name, part.num_rows, (place / name).stat().st_size))
    columns = tuple(Column(field.name, str(field.type)) for field in table.schema)
    digests = ("sha256:" + "1" * 64, "sha256:" + "2" * 64)
    write_manifest(folder, Manifest(columns, *digests, (1, 2), {}, {split: tuple(listed)}))
    return folder


class Logistic(tf.Module):
    """Knows the distance and, a little, the airport; a missing distance counts as 0."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="distance"),
            tf.TensorSpec([None], tf.string, name="origin"),
        ]
    )
    def serve(self, distance, origin):
        known = tf.where(tf.math.is_nan(distance), 0.0, distance)
        bonus = tf.where(origin == "JFK", 0.3, tf.where(origin == "", -0.2, 0.0))
        return {"predictions": tf.sigmoid(known + bonus)[:, tf.newaxis]}


def predicted(frame: pd.DataFrame) -> np.ndarray:
    bonus = frame.origin.map({"JFK": 0.3}).fillna(0.0).where(frame.origin.notna(), -0.2)
    return 1 / (1 + np.exp(-(frame.distance.fillna(0) + bonus).to_numpy()))


def export(module: tf.Module, folder: Path) -> Path:
    tf.saved_model.save(
        module, str(folder / "serving"), signatures={"serving_default": module.serve}
    )
    return folder


def run(examples, model, folder, config=CONFIG, **options):
    result = evaluate(
        examples,
        model,
        folder / "evaluation",
        folder / "blessing",
        folder / "report",
        config,
        **options,
    )
    record = json.loads((folder / "blessing" / "blessing.json").read_text())
    return result, record


def row_files(folder: Path, *batches: pa.RecordBatch, numbers=None) -> list[RowFile]:
    """Batches as files of rows, numbered from 0 on unless told otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    if numbers is None:
        numbers = np.arange(sum(batch.num_rows for batch in batches))
    files, start = [], 0
    for place, batch in enumerate(batches):
        own = numbers[start : start + batch.num_rows]
        files.append(write_rows(folder / f"{place}.arrow", [batch], [own]))
        start += batch.num_rows
    return [file for file in files if file is not None]


class ThreeClasses(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(self, x):
        return {"probabilities": tf.nn.softmax(tf.stack([x, -x, 0 * x], axis=1)), "x": x}
