"""Poisson bootstrap: every replicate counts each row 0, 1, 2, ... times.

Chamandy, Muralidharan, Najmi and Naidu, Estimating uncertainty for massive data streams (Google,
2012). A row's counts come from its number and the seed alone, so they are the same however the rows
are cut into shards and batches, and the same for every model: differences are paired.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

Array = np.ndarray[Any, Any]

# A counter of Philox gives 256 bits: sixteen draws of 16 bits.
DRAWS_PER_COUNTER = 16


def _table() -> Array:
    """Return the count for each of 65,536 equally likely draws."""
    bounds = np.floor(stats.poisson.cdf(np.arange(12), 1.0) * 65_536 + 0.5)
    return np.searchsorted(bounds, np.arange(65_536), side="right").astype(np.uint8)


COUNTS = _table()


def poisson_counts(first_row: int, rows: int, replicates: int, seed: int) -> Array:
    """Return how often each replicate counts each row.

    Args:
        first_row: Number of the first row within the split, from 0.
        rows: How many rows.
        replicates: How many replicates.
        seed: At least 0.

    Returns:
        `[rows, replicates]` uint8, Poisson with mean 1 to within 2^-16.
    """
    counters = math.ceil(replicates / DRAWS_PER_COUNTER)
    bits = np.random.Philox(key=seed)
    bits.advance(first_row * counters)
    raw = bits.random_raw(rows * counters * 4)
    # Little-endian whatever the machine, so that seeds travel.
    draws = np.asarray(raw, "<u8").view("<u2").reshape(rows, counters * DRAWS_PER_COUNTER)
    return COUNTS[draws[:, :replicates]]


def replicate_sums(counts: Array, terms: Array) -> Array:
    """Return the sums over rows by replicate; sums of parts add up to the sums of the whole.

    Args:
        counts: What `poisson_counts` gave, `[rows, replicates]`.
        terms: What is summed, `[rows, terms]`.

    Returns:
        `[replicates, terms]` float64, of products in float32.
    """
    found = counts.astype(np.float32).T @ terms.astype(np.float32, copy=False)
    return found.astype(np.float64)
