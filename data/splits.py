"""Which rows train and which evaluate."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import PenstockError
from .row_hash import Hashes


def check_weights(splits: Mapping[str, float]) -> dict[str, float]:
    """Return the weights as floats in the order of the splits' names.

    Raises:
        PenstockError: There is no split, a name is not letters, digits, `-` and `_`, or a weight
            is not a positive finite number.
    """
    if not splits:
        raise PenstockError(
            'No splits are given; name at least one with its weight, such as {"train": 2, '
            '"eval": 1}.'
        )
    for name, weight in splits.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise PenstockError(
                f"The split name {name!r} is not usable as a folder name; use letters, digits, "
                "'-' and '_' only."
            )
        number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not number or not math.isfinite(weight) or weight <= 0:
            raise PenstockError(
                f"The weight of split {name!r} is {weight!r}; give a number above 0, such as 2.0."
            )
    return {name: float(splits[name]) for name in sorted(splits)}


def assign_splits(hashes: Hashes, weights: Mapping[str, float]) -> np.ndarray[Any, Any]:
    """Return the index of each row's split, shape `[rows]`.

    A hash is read as a number in [0, 1) from its upper 53 bits; each split owns an interval as
    wide as its share of the weights, in the order of `weights`.

    Args:
        hashes: What `row_hashes` gave.
        weights: Positive weights by split, in the order of their names (`check_weights`), because
            a dictionary's own order does not survive every way a parameter travels.
    """
    shares = np.cumsum(list(weights.values()))
    position = (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.searchsorted(shares[:-1] / shares[-1], position, side="right")
