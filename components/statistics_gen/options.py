"""What may be chosen, checked before any row is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tensorflow_data_validation.statistics.stats_options import StatsOptions
from tensorflow_metadata.proto.v0 import schema_pb2

from ...data.examples import Manifest
from ...errors import PenstockError

# TFDV's names, each with the least value; whole numbers but for those in FRACTIONS.
NUMBERS = {
    "num_top_values": 1,
    "num_rank_histogram_buckets": 1,
    "num_values_histogram_buckets": 2,
    "num_histogram_buckets": 1,
    "num_quantiles_histogram_buckets": 2,
    "frequency_threshold": 1,
    "weighted_frequency_threshold": 0,
    "epsilon": 0,
    "semantic_domain_stats_sample_rate": 0,
    "enable_semantic_domain_stats": 0,
}
FRACTIONS = ("epsilon", "semantic_domain_stats_sample_rate")

Slice = dict[str, list[bytes | int] | None]


def chosen_splits(manifest: Manifest, exclude_splits: Sequence[str]) -> list[str]:
    """Return the splits to count.

    Raises:
        PenstockError: An excluded split is unknown, or none is left.
    """
    known = ", ".join(manifest.splits)
    for split in exclude_splits:
        if split not in manifest.splits:
            raise PenstockError(
                f"exclude_splits names {split!r}, which is no split of the examples; there are "
                f"{known}."
            )
    chosen = [split for split in manifest.splits if split not in exclude_splits]
    if not chosen:
        raise PenstockError(f"exclude_splits leaves none of the splits {known}; keep at least one.")
    return chosen


def chosen_columns(
    manifest: Manifest, include: Sequence[str] | None, exclude: Sequence[str] | None
) -> dict[str, str]:
    """Return the columns to count, in the manifest's order, with Arrow's names of their types.

    Raises:
        PenstockError: Both lists are given, one names an unknown column, or none is left.
    """
    if include and exclude:
        raise PenstockError(
            "Both include_columns and exclude_columns are given; give one of the two."
        )
    types = {column.name: column.type for column in manifest.columns}
    if not types:
        raise PenstockError(
            "The examples have no columns, so there is nothing to count; run example_gen on a "
            "source with columns."
        )
    for parameter, names in (("include_columns", include), ("exclude_columns", exclude)):
        for name in names or ():
            _check_column(name, types, parameter)
    if include:
        types = {name: kind for name, kind in types.items() if name in include}
    left = {name: kind for name, kind in types.items() if name not in (exclude or ())}
    if exclude and not left:
        raise PenstockError("exclude_columns leaves no column; keep at least one.")
    return left


def sample_rates(
    splits: Sequence[str], sample_rate: float, by_split: Mapping[str, float] | None
) -> dict[str, float]:
    """Return each split's sample rate.

    Raises:
        PenstockError: A rate is out of range or for an unknown split.
    """
    _check_rate(sample_rate, "sample_rate")
    for split, rate in (by_split or {}).items():
        if split not in splits:
            raise PenstockError(
                f"sample_rates names {split!r}, which is no split that is counted; there are "
                f"{', '.join(splits)}."
            )
        _check_rate(rate, f"sample_rates[{split!r}]")
    return dict.fromkeys(splits, float(sample_rate)) | dict(by_split or {})


def stats_options(
    columns: Mapping[str, str],
    weight_column: str = "",
    label: str = "",
    schema: schema_pb2.Schema | None = None,
    options: Mapping[str, float] | None = None,
) -> StatsOptions:
    """Return TFDV's options.

    Args:
        columns: The columns that are counted, with their types.
        weight_column: Its numbers weigh the rows; none when empty.
        label: What lift and mutual information are about; none when empty.
        schema: Says which integers are categories, which strings are bytes, and what domains are.
        options: TFDV's own numbers, by the names in `NUMBERS`.

    Raises:
        PenstockError: A column or an option is unknown or unfit, or a label comes without the
            schema that TFDV needs for it.
    """
    chosen: dict[str, Any] = {}
    for name, value in (options or {}).items():
        chosen[name] = _checked(name, value)
    if weight_column:
        _check_column(weight_column, columns, "weight_column")
        if not columns[weight_column].startswith(("int", "uint", "float", "double", "halffloat")):
            raise PenstockError(
                f"weight_column {weight_column!r} has type {columns[weight_column]}; a weight must "
                "be a number."
            )
    if label:
        _check_column(label, columns, "label")
        if schema is None or label not in [feature.name for feature in schema.feature]:
            raise PenstockError(
                f"The label {label!r} needs a schema that describes it, from which TFDV learns "
                "which features are categories; give the schema of schema_gen."
            )
    return StatsOptions(schema=schema, weight_feature=weight_column or None, **chosen)


def checked_slices(
    slices: Sequence[Mapping[str, Sequence[str]]] | None, columns: Mapping[str, str]
) -> list[Slice]:
    """Return slices as TFDV's slicer takes them: values by column, None for every value.

    Args:
        slices: Per slice its columns with the values wanted, an empty list for every value; with
            several columns, their crosses.
        columns: The columns that are counted, with their types.

    Raises:
        PenstockError: A slice has no columns, an unknown one, or one that has no values to name.
    """
    checked: list[Slice] = []
    for place, slice_ in enumerate(slices or ()):
        if not isinstance(slice_, Mapping) or not slice_:
            raise PenstockError(
                f"slices[{place}] is {slice_!r}; give the columns with the values wanted, such as "
                '{"carrier": ["UA"]}, with [] for every value.'
            )
        for name in slice_:
            _check_column(name, columns, f"slices[{place}]")
            if not columns[name].startswith(("int", "uint", "string", "large_string")):
                raise PenstockError(
                    f"slices[{place}] slices by {name!r} of type {columns[name]}; slice by strings "
                    "or integers."
                )
            if columns[name].startswith(("int", "uint")):
                _check_integers(slice_[name], name, f"slices[{place}]")
        checked.append({name: _wanted(values, columns[name]) for name, values in slice_.items()})
    return checked


def _wanted(values: Sequence[str], kind: str) -> list[bytes | int] | None:
    if not values:
        return None
    whole = kind.startswith(("int", "uint"))
    return [int(value) if whole else str(value).encode() for value in values]


def _check_integers(values: Sequence[str], column: str, parameter: str) -> None:
    for value in values:
        try:
            int(value)
        except ValueError as error:
            raise PenstockError(
                f"{parameter} wants the value {value!r} of the integers {column!r}; give whole "
                "numbers."
            ) from error


def _checked(name: str, value: Any) -> Any:
    if name not in NUMBERS:
        raise PenstockError(f"There is no option {name!r}; there are {', '.join(sorted(NUMBERS))}.")
    if name == "enable_semantic_domain_stats":
        if value not in (0, 1):
            raise PenstockError(f"The option {name} is {value!r}; give true or false.")
        return bool(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in FRACTIONS:
        if not number or not 0 < value < 1:
            raise PenstockError(f"The option {name} is {value!r}; give a share between 0 and 1.")
        return float(value)
    if not number or not math.isfinite(value) or value < NUMBERS[name] or value != int(value):
        raise PenstockError(
            f"The option {name} is {value!r}; give a whole number of at least {NUMBERS[name]}."
        )
    # KFP may hand whole numbers over as floats.
    return int(value)


def _check_rate(rate: float, name: str) -> None:
    if not 0 < rate <= 1:
        raise PenstockError(f"{name} is {rate}; give a share above 0 and up to 1, such as 0.1.")


def _check_column(name: str, columns: Mapping[str, str], parameter: str) -> None:
    if name not in columns:
        known = [*columns][:20]
        more = f" and {len(columns) - len(known)} more" if len(columns) > len(known) else ""
        raise PenstockError(
            f"{parameter} names the column {name!r}, which is not among those counted; there are "
            f"{', '.join(known) or 'none'}{more}."
        )
