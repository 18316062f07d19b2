"""A fitted preprocessing, and rows that ask of it what rows may ask."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from penstock.components.transform.features import Categorical, Numeric
from penstock.components.transform.fit import State
from penstock.components.transform.graph import write_transform_graph
from penstock.components.transform.preprocessing import build_preprocessing
from penstock.models.transform_graph import read_transform_graph


@pytest.fixture(scope="session")
def transform(tmp_path_factory):
    """Numbers scaled by hand, and three carriers one-hot: a matrix of 6 columns."""
    features = {"carrier": Categorical("carrier"), "distance": Numeric("distance")}
    states = {
        "carrier": State("data", {"vocabulary": ["UA", "B6", "EV"]}),
        "distance": State("data", {"fill": 1000.0, "shift": 1000.0, "scale": 2.0**-9}),
    }
    kinds = {"carrier": "string", "distance": "float"}
    folder: Path = tmp_path_factory.mktemp("graph")
    model = build_preprocessing(features, states, kinds)
    write_transform_graph(folder, model, features, states, kinds, {})
    return read_transform_graph(folder)


def flights(rows: int, seed: int = 0) -> pa.Table:
    """Rows with nulls, NaN, empty and unseen strings, and two columns that no model reads."""
    random = np.random.default_rng(seed)
    # Whole numbers, scaled by a power of two: float32 holds each result, so all agree to the bit.
    distance = random.gamma(4.0, 250.0, rows).round()
    distance[::11] = np.nan
    return pa.table(
        {
            "late": pa.array(random.integers(0, 2, rows), pa.int64()),
            "distance": pa.array(distance, pa.float64(), mask=random.random(rows) < 0.1),
            "carrier": pa.array(
                random.choice(["UA", "B6", "EV", "", "new"], rows),
                pa.string(),
                mask=random.random(rows) < 0.1,
            ),
            "tail": pa.array(["N1"] * rows),
        }
    )


@pytest.fixture(scope="session")
def rows() -> pa.Table:
    return flights(600)


@pytest.fixture(scope="session")
def matrix(rows) -> np.ndarray:
    """What the preprocessing makes of `rows`, by hand: missing, unseen, three carriers, number."""
    carriers = [None, "?", "UA", "B6", "EV"]
    found = np.zeros((len(rows), 6), np.float32)
    for place, (carrier, distance) in enumerate(
        zip(rows["carrier"].to_pylist(), rows["distance"].to_pylist(), strict=True)
    ):
        known = carrier or None
        found[place, carriers.index(known) if known in carriers else 1] = 1
        missing = distance is None or np.isnan(distance)
        found[place, 5] = 0.0 if missing else (distance - 1000) / 512
    return found


@pytest.fixture(scope="session")
def labels(matrix) -> np.ndarray:
    """0 and 1, which the distance tells and the carrier hints at."""
    odds = matrix[:, 5] * 2 + matrix[:, 2]
    return (odds + np.random.default_rng(1).normal(size=len(odds)) > 0).astype(int)
