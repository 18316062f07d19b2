"""Intervals for metrics that no formula is known of: TFMA's jackknife, over whole slices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from ...data.row_hash import mix
from ...data.tasks import run_each
from ...evaluation.estimate import Estimate, jackknife_estimate
from .analysis import Analysis, Place, slices_of
from .batched import CombineRows, batched_computations, row_taker, slices_of_batch
from .config import baseline_of
from .formulas import count_names, only
from .row_files import RowFile, read_rows, schema_of
from .significance import Significance

Array = np.ndarray[Any, Any]
Key: TypeAlias = metric_types.MetricKey
# What was found without each part, by place and metric.
Samples = Mapping[tuple[Place, Key], Array]

PARTS = 20
MOST_TASKS = 16


def fill_by_jackknife(
    found: Significance,
    files: Sequence[RowFile],
    config: config_pb2.EvalConfig,
    analysis: Analysis,
    folder: Path,
    seed: int,
    beam_pipeline_args: Sequence[str] | None = None,
) -> Significance:
    """Say how sure the numbers are of which `found` says nothing.

    Rows are divided into 20 parts by their numbers, and TFMA's own accumulators of all parts but
    one are merged, so whatever TFMA computes has an interval. Counts have none.

    Args:
        found: What `assess` returned.
        files: All rows that were analyzed.
        config: As for `analyze`.
        analysis: What `analyze` returned.
        folder: Where workers leave their answers; every worker must see it at the same path.
        seed: Of the division into parts.
        beam_pipeline_args: Beam's flags; see `penstock.data.beam`.
    """
    counts = count_names(config)
    missing = [
        (place, key)
        for place, metrics in analysis.slices.items()
        for key, value in metrics.items()
        if math.isfinite(value) and key.name not in counts and (place, key) not in found.values
    ]
    names = {key.name for _, key in missing}
    if not missing or not files:
        return found
    samples = _samples(files, only(config, names), analysis, folder, seed, beam_pipeline_args)
    baseline = baseline_of(config)
    values, relative = dict(found.values), dict(found.relative)
    for place, key in missing:
        own = _of_place(samples, place, key, baseline.name if baseline else None)
        estimate = None if own is None else jackknife_estimate(analysis.slices[place][key], own)
        if estimate is not None:
            values[place, key] = estimate
            if key.is_diff and baseline is not None:
                relative |= _relative(samples, analysis, place, key, baseline.name, own)
    return Significance(values, relative)


@dataclass(frozen=True)
class _Sampling:
    files: tuple[RowFile, ...]
    config: config_pb2.EvalConfig
    keys: tuple[Key, ...]
    seed: int


def _samples(
    files: Sequence[RowFile],
    config: config_pb2.EvalConfig,
    analysis: Analysis,
    folder: Path,
    seed: int,
    beam_pipeline_args: Sequence[str] | None,
) -> Samples:
    places = [place for place in analysis.slices if slices_of(place)[1] is None]
    keys = tuple(
        dict.fromkeys(key for place in places for key in analysis.slices[place] if not key.is_diff)
    )
    tasks = min(len(places), MOST_TASKS) if beam_pipeline_args else 1
    answers = folder / "jackknife"
    answers.mkdir()
    work = partial(_leave_out, sampling=_Sampling(tuple(files), config, keys, seed))
    done = run_each(
        work, [tuple(places[n::tasks]) for n in range(tasks)], answers, beam_pipeline_args
    )
    return {
        (place, keys[int(key)]): np.array(values)
        for n, answer in enumerate(done)
        for place, metrics in zip(places[n::tasks], answer["samples"], strict=True)
        for key, values in metrics.items()
    }


def _leave_out(places: tuple[Place, ...], sampling: _Sampling) -> dict[str, Any]:
    """Return of each slice, by metric, the values without each part; none where a part is empty."""
    computations = batched_computations(sampling.config, schema_of(sampling.files))
    assert computations is not None  # what was analyzed by slices is
    combine = CombineRows(computations.combined)
    combine.setup()
    seed = mix(np.array([sampling.seed], np.uint64))
    files = []
    for file in sampling.files:
        batch, numbers = read_rows(file)
        part = mix(seed ^ numbers.astype(np.uint64)) % np.uint64(PARTS)
        slices = slices_of_batch(batch, sampling.config)
        files.append((row_taker(batch, sampling.config), part, slices))
    samples = []
    for place in places:
        parts = [combine.create_accumulator() for _ in range(PARTS)]
        rows_of_part = np.zeros(PARTS, int)
        for take, part, slices in files:
            rows = np.arange(len(part))[slices.get(place, slice(0))]
            for number in range(PARTS):
                chosen = rows[part[rows] == number]
                if len(chosen):
                    parts[number] = combine.add_input(parts[number], take(chosen))
                    rows_of_part[number] += len(chosen)
        samples.append(
            _values(combine, computations.derived, parts, sampling.keys)
            if rows_of_part.all()
            else {}
        )
    return {"samples": samples}


def _values(
    combine: CombineRows, derived: Iterable[Any], parts: Sequence[Any], keys: Sequence[Key]
) -> dict[str, list[float]]:
    """Return by a metric's place in `keys` its value without each part."""

    def merged(one: Any, other: Any) -> Any:
        # Merging may change what it is given, and each part is merged more than once.
        return combine.merge_accumulators(deepcopy([one, other]))

    before = [None, *accumulate(parts[:-1], merged)]
    after = [*reversed([*accumulate(reversed(parts[1:]), merged)]), None]
    found: dict[str, list[float]] = {}
    for left, right in zip(before, after, strict=True):
        rest = left if right is None else right if left is None else merged(left, right)
        metrics = combine.extract_output(rest)
        for computation in derived:
            metrics.update(computation.result(metrics))
        for number, key in enumerate(keys):
            if key in metrics and np.ndim(metrics[key]) == 0:
                found.setdefault(str(number), []).append(float(metrics[key]))
    return found


def _of_place(samples: Samples, place: Place, key: Key, baseline: str | None) -> Array | None:
    """Return a metric's samples at a slice, or between two; differences from both models'."""
    first, second = slices_of(place)
    if second is not None:
        one = _of_place(samples, first, key, baseline)
        other = _of_place(samples, second, key, baseline)
        return None if one is None or other is None else one - other
    if not key.is_diff or baseline is None:
        return samples.get((first, key))
    own = _compared([k for p, k in samples if p == first], key, baseline)
    one, other = (samples.get((first, k)) for k in own)
    return None if one is None or other is None else one - other


def _compared(keys: Iterable[Key], key: Key, baseline: str) -> tuple[Key | None, Key | None]:
    """Return the candidate's and the champion's metric that a difference is of."""
    for own in keys:
        if not own.is_diff and own.model_name != baseline and own.make_diff_key() == key:
            return own, own.make_baseline_key(baseline)
    return None, None


def _relative(
    samples: Samples,
    analysis: Analysis,
    place: Place,
    key: Key,
    baseline: str,
    change: Array | None,
) -> dict[tuple[Place, Key], Estimate]:
    """Return the estimate of the change over the champion's value, if there is one."""
    _, base = _compared(analysis.slices[place], key, baseline)
    value = analysis.slices[place].get(base, 0.0) if base else 0.0
    if change is None or value == 0 or (place, base) not in samples:
        return {}
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = change / samples[place, base]
    estimate = jackknife_estimate(analysis.slices[place][key] / value, ratio)
    return {} if estimate is None else {(place, key): estimate}
