"""What may be chosen, checked before any row is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ...data.examples import Manifest, field_steps
from ...errors import PenstockError

MISSING_FEATURES = ("fail", "as_missing")


def chosen_splits(manifest: Manifest, splits: Sequence[str] | None) -> list[str]:
    """Return the splits to predict.

    Raises:
        PenstockError: One is unknown, or there is none.
    """
    if splits is not None and not splits:
        raise PenstockError("splits is empty; name at least one, or leave it out for all.")
    chosen = list(dict.fromkeys(manifest.splits if splits is None else splits))
    for split in chosen:
        manifest.shards(split)
    return chosen


def chosen_outputs(
    asked: Mapping[str, str] | None, given: Mapping[str, int | None], kept: Sequence[str]
) -> dict[str, str]:
    """Return the outputs of the model that are written, each with the name of its column.

    Args:
        asked: Outputs with their columns; None for all, under their own names.
        given: What the model gives.
        kept: The columns that are there already.

    Raises:
        PenstockError: The model does not give one, or a name is taken.
    """
    chosen = {name: name for name in given} if asked is None else dict(asked)
    if not chosen:
        raise PenstockError(
            f"outputs is empty; the model gives {', '.join(given)}, so name at least one, or leave "
            "it out for all."
        )
    taken = set(kept)
    for name, column in chosen.items():
        if name not in given:
            raise PenstockError(
                f"outputs names {name!r}, which the model does not give; it gives "
                f"{', '.join(given)}."
            )
        if not isinstance(column, str) or not column:
            raise PenstockError(
                f"outputs gives {name!r} the column {column!r}; give the name of a column."
            )
        if column in taken:
            raise PenstockError(
                f"The output {name!r} would become the column {column!r}, which is there already; "
                f'name it by outputs, such as {{"{name}": "predicted_{column}"}}.'
            )
        taken.add(column)
    return chosen


def absent_features(
    inputs: Mapping[str, str], schema: pa.Schema, missing_features: str
) -> dict[str, str]:
    """Return the features of the model that the examples do not have, with the types it takes.

    Args:
        inputs: What the model takes.
        schema: The columns of the examples.
        missing_features: `fail` or `as_missing`.

    Raises:
        PenstockError: There are some and they are not to be missing, or cannot be.
    """
    if missing_features not in MISSING_FEATURES:
        raise PenstockError(
            f"missing_features is {missing_features!r}; give {' or '.join(MISSING_FEATURES)}."
        )
    absent = {n: kind for n, kind in inputs.items() if field_steps(schema, n) is None}
    if absent and missing_features == "fail":
        raise PenstockError(
            f"The model takes {_names(absent)}, which the examples do not have; give it examples "
            "with the columns that it was trained on, or set missing_features to as_missing."
        )
    for name, kind in absent.items():
        if kind != "string" and not kind.startswith("float"):
            raise PenstockError(
                f"The model takes {name!r}, which the examples do not have, as {kind}, which "
                "cannot say that a value is missing; give it examples with that column."
            )
    return absent


def _names(names: Mapping[str, Any]) -> str:
    shown = ", ".join(repr(name) for name in list(names)[:5])
    return f"{shown} and {len(names) - 5} more features" if len(names) > 5 else shown
