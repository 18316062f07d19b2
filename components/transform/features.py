"""What an author declares: how each raw column becomes a feature of the model.

A module's `FEATURES` maps the name of each transformed feature to one of the declarations here:

    >>> FEATURES = {
    ...     "distance": Numeric("distance"),
    ...     "hour": Bucketized("hour", boundaries=(6, 12, 18)),
    ...     "carrier": Categorical("carrier"),
    ...     "route": Crossed(("origin", "dest"), num_bins=200),
    ... }

A null, a NaN and an empty string are all a missing value. Every declaration but `Numeric` turns a
value into an index, and index 0 always means missing; `output` says whether the model gets the
index itself, `[batch, 1]` int64 for an embedding, or its one-hot encoding, `[batch, size]` float32.

This module needs neither TensorFlow nor Keras.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...errors import PenstockError

Output = Literal["one_hot", "index"]


@dataclass(frozen=True)
class Numeric:
    """A number, scaled; `[batch, 1]` float32.

    A column that never varies gives 0 under either scale. Values outside of what was seen are
    scaled like all others: `min_max` can give less than 0 and more than 1.

    Attributes:
        column: A numeric column.
        scale: `z_score` subtracts the mean and divides by the standard deviation (of the
            population), `min_max` maps the smallest value to 0 and the largest to 1, `none` leaves
            the value as it is.
        missing: What stands in for a missing value before scaling: a number in the column's own
            units, or `mean`.
    """

    column: str
    scale: Literal["z_score", "min_max", "none"] = "z_score"
    missing: float | Literal["mean"] = "mean"

    def __post_init__(self) -> None:
        _check_column(self, self.column)
        if self.scale not in ("z_score", "min_max", "none"):
            _refuse(self, f"scale={self.scale!r} is none of z_score, min_max and none")
        if self.missing != "mean" and not _is_finite(self.missing):
            _refuse(self, f"missing={self.missing!r} is neither 'mean' nor a finite number")

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns it reads."""
        return (self.column,)


@dataclass(frozen=True)
class Bucketized:
    """The interval that a number falls into.

    Index 0 is missing, index 1 all below the first boundary, index i + 1 what is at or above
    boundary i and below the next.

    Attributes:
        column: A numeric column.
        num_buckets: Cut at the quantiles, into so many buckets with about as many rows each; a
            value so frequent that it holds several quantiles makes fewer buckets.
        boundaries: Or cut here; strictly increasing.
        output: `one_hot` or `index`.
    """

    column: str
    num_buckets: int | None = None
    boundaries: tuple[float, ...] | None = None
    output: Output = "one_hot"

    def __post_init__(self) -> None:
        _check_column(self, self.column)
        _check_output(self, self.output)
        if (self.num_buckets is None) == (self.boundaries is None):
            _refuse(self, "it needs either num_buckets or boundaries")
        if self.num_buckets is not None:
            _check_count(self, "num_buckets", self.num_buckets, 2)
        if self.boundaries is not None:
            object.__setattr__(self, "boundaries", tuple(self.boundaries))
            if not self.boundaries or not all(map(_is_finite, self.boundaries)):
                _refuse(self, "boundaries must be one or more finite numbers")
            if any(a >= b for a, b in zip(self.boundaries, self.boundaries[1:], strict=False)):
                _refuse(self, f"boundaries must increase, and are {list(self.boundaries)}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns it reads."""
        return (self.column,)


@dataclass(frozen=True)
class Categorical:
    """One of the values seen in training, strings or integers.

    Index 0 is missing, 1 to `num_oov` are values not in the vocabulary (spread by a hash when
    there are several), then comes the vocabulary, the most frequent value first, equally frequent
    ones in their own order.

    Attributes:
        column: A string or an integer column.
        max_tokens: The vocabulary keeps so many values at most, the most frequent ones.
        num_oov: How many indices values outside the vocabulary share.
        output: `one_hot` or `index`.
    """

    column: str
    max_tokens: int = 1000
    num_oov: int = 1
    output: Output = "one_hot"

    def __post_init__(self) -> None:
        _check_column(self, self.column)
        _check_output(self, self.output)
        _check_count(self, "max_tokens", self.max_tokens, 1)
        _check_count(self, "num_oov", self.num_oov, 1)

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns it reads."""
        return (self.column,)


@dataclass(frozen=True)
class Hashed:
    """A hash of a string or an integer, for columns with too many values for a vocabulary.

    Index 0 is missing, all else falls into 1 to `num_bins`; nothing is fitted.

    Attributes:
        column: A string or an integer column.
        num_bins: How many indices the values share.
        output: `one_hot` or `index`.
    """

    column: str
    num_bins: int
    output: Output = "one_hot"

    def __post_init__(self) -> None:
        _check_column(self, self.column)
        _check_output(self, self.output)
        _check_count(self, "num_bins", self.num_bins, 1)

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns it reads."""
        return (self.column,)


@dataclass(frozen=True)
class Crossed:
    """A hash of the combination of several strings or integers.

    Index 0 means that any of them is missing, all else falls into 1 to `num_bins`; nothing is
    fitted.

    Attributes:
        columns: Two or more string or integer columns.
        num_bins: How many indices the combinations share.
        output: `one_hot` or `index`.
    """

    columns: tuple[str, ...]
    num_bins: int
    output: Output = "one_hot"

    def __post_init__(self) -> None:
        # A string alone would be taken apart into its letters.
        columns: Any = self.columns
        if isinstance(columns, str):
            _refuse(self, "columns must be a tuple of column names")
        object.__setattr__(self, "columns", tuple(columns))
        for column in self.columns:
            _check_column(self, column)
        if len(set(self.columns)) != len(self.columns) or len(self.columns) < 2:
            _refuse(self, "columns must be two or more different columns")
        _check_output(self, self.output)
        _check_count(self, "num_bins", self.num_bins, 1)


Feature = Numeric | Bucketized | Categorical | Hashed | Crossed


def check_features(features: Any, source: str) -> dict[str, Feature]:
    """Return `features` as a dictionary, sorted by name.

    The order in which an author writes them has no influence on the result.

    Args:
        features: What a module defines as `FEATURES`.
        source: The module's file, for the sentences.

    Raises:
        PenstockError: It is not a mapping of names to declarations, or it is empty.
    """
    if not isinstance(features, Mapping) or not features:
        raise PenstockError(
            f"FEATURES in {source} must be a dictionary of one or more features, such as "
            f'{{"distance": Numeric("distance")}}, and is {type(features).__name__} '
            f"{features!r:.80}."
        )
    for name, feature in features.items():
        if not isinstance(name, str) or not is_tensor_name(name):
            raise PenstockError(
                f"FEATURES in {source} names a feature {name!r}; a name starts with a letter and "
                "goes on with letters, digits and underscores."
            )
        if not isinstance(feature, Feature):
            raise PenstockError(
                f"FEATURES[{name!r}] in {source} is a {type(feature).__name__}; it must be one of "
                "Numeric, Bucketized, Categorical, Hashed and Crossed."
            )
    return {name: features[name] for name in sorted(features)}


def is_tensor_name(name: str) -> bool:
    """Return whether a SavedModel can take a tensor of this name in every client.

    Its Python signatures take tensors as keyword arguments and rename what is not an identifier.
    """
    return (
        name.isascii()
        and name.isidentifier()
        and not name.startswith("_")
        and not keyword.iskeyword(name)
        and name != "self"
    )


def _refuse(feature: Any, complaint: str) -> None:
    raise PenstockError(f"{feature!r} is not a feature: {complaint}.")


def _check_column(feature: Any, column: Any) -> None:
    if not isinstance(column, str) or not column:
        _refuse(feature, f"{column!r} is not the name of a column")


def _check_output(feature: Any, output: Any) -> None:
    if output not in ("one_hot", "index"):
        _refuse(feature, f"output={output!r} is neither one_hot nor index")


def _check_count(feature: Any, name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        _refuse(feature, f"{name}={value!r} is not a whole number of {least} or more")


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
