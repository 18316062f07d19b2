"""A schema from statistics: TFDV's inference, and by choice ranges and environments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import PenstockError
from .features import dotted, walk_features

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

TRAINING, SERVING = "TRAINING", "SERVING"
# Beyond it a statistic, which is a float64, does not tell one integer from the next.
EXACT = 1 << 53


def infer_schema(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    *,
    ranges: bool = False,
    max_string_domain_size: int = 100,
    shapes: bool = True,
    labels: Sequence[str] = (),
) -> schema_pb2.Schema:
    """Infer what data are like that have these statistics.

    Types, presence, valency, shapes, domains of words and booleans are `tfdv.infer_schema`'s.

    Args:
        statistics: Of one data set.
        ranges: Give numbers the range that they were found in, which TFDV does not. An infinite end
            is left open, as is a whole number beyond +-2^53, which statistics hold inexactly.
        max_string_domain_size: A feature of words that has more different ones gets no domain.
        shapes: Infer fixed shapes where every row has the same number of values.
        labels: Features, by their paths, that serving rows do not have. When there are any, the
            default environments are TRAINING and SERVING, and these are not in SERVING.

    Raises:
        PenstockError: There are no rows, a label is no feature, or the size is negative.
    """
    import tensorflow_data_validation as tfdv

    if not statistics.datasets or not statistics.datasets[0].num_examples:
        raise PenstockError(
            "The statistics are of no rows, so no schema can be inferred from them; give more data."
        )
    if max_string_domain_size < 0:
        raise PenstockError(
            f"max_string_domain_size is {max_string_domain_size}; give a number of words of at "
            "least 0."
        )
    schema = tfdv.infer_schema(statistics, shapes, max_string_domain_size)
    if ranges:
        _add_ranges(schema, statistics.datasets[0])
    if labels:
        _add_environments(schema, labels)
    return schema


def _add_ranges(schema: schema_pb2.Schema, dataset: Any) -> None:
    found = {tuple(f.path.step) or (f.name,): f.num_stats for f in dataset.features}
    for path, feature in walk_features(schema):
        stats = found.get(path)
        if stats is None or feature.WhichOneof("domain_info") or not _counted(stats):
            continue
        if (
            feature.type
            == feature.DESCRIPTOR.fields_by_name["type"].enum_type.values_by_name["INT"].number
        ):
            if abs(stats.min) < EXACT:
                feature.int_domain.min = int(stats.min)
            if abs(stats.max) < EXACT:
                feature.int_domain.max = int(stats.max)
        elif feature.type:
            low, high = _outward(stats.min, -math.inf), _outward(stats.max, math.inf)
            if math.isfinite(low):
                feature.float_domain.min = low
            if math.isfinite(high):
                feature.float_domain.max = high


def _counted(stats: Any) -> bool:
    return bool(stats.common_stats.tot_num_values) and stats.min <= stats.max


def _outward(value: float, end: float) -> float:
    """Return the nearest float32, which a FloatDomain holds, that does not shut `value` out."""
    with np.errstate(over="ignore"):
        near = np.float32(value)
        beyond = float(near) > value if end < 0 else float(near) < value
        return float(np.nextafter(near, np.float32(end)) if beyond else near)


def _add_environments(schema: schema_pb2.Schema, labels: Sequence[str]) -> None:
    features = {dotted(path): feature for path, feature in walk_features(schema)}
    for label in labels:
        if label not in features:
            raise PenstockError(
                f"The label {label!r} is no feature of the data; there are "
                f"{', '.join(features) or 'none'}."
            )
        features[label].not_in_environment.append(SERVING)
    schema.default_environment.extend([TRAINING, SERVING])
