"""The methods by name, with their parameters as river names them and its defaults.

- `adwin` keeps a window of the values since the last change, and finds a change where two parts of
  it have means that differ by more than chance allows (`delta`). Takes any numbers and sizes its
  window itself, and so is the default. A. Bifet and R. Gavaldà, Learning from time-changing data
  with adaptive windowing, SIAM International Conference on Data Mining (2007).
- `page_hinkley` sums how far values lie from their mean, and finds a change where the sum has gone
  up or down by more than `threshold`. That and `delta`, which every value gives up, are in the unit
  of the values: half the least shift of the mean that matters is a good `delta`. E. Page,
  Continuous inspection schemes, Biometrika 41 (1954).
- `hddm_a` and `hddm_w` take values of 0 or 1, such as whether a prediction was wrong, and find a
  change where the mean rises by more than Hoeffding's bound allows; `hddm_w` weighs late values
  more (`lambda_val`) and is quicker to find gradual changes. I. Frías-Blanco and others, Online and
  non-parametric drift detection methods based on Hoeffding's bounds, IEEE Transactions on Knowledge
  and Data Engineering 27 (2015).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import PenstockError


@dataclass(frozen=True)
class Method:
    """A method: its parameters with their defaults, what it reads, and river's class by name."""

    parameters: Mapping[str, float | int | str | bool]
    binary: bool
    river: tuple[str, ...]


METHODS = {
    "adwin": Method(
        {
            "delta": 0.002,
            "clock": 32,
            "max_buckets": 5,
            "min_window_length": 5,
            "grace_period": 10,
        },
        binary=False,
        river=("drift.ADWIN",),
    ),
    "page_hinkley": Method(
        {
            "min_instances": 30,
            "delta": 0.005,
            "threshold": 50.0,
            "alpha": 0.9999,
            "mode": "both",
        },
        binary=False,
        river=("drift.PageHinkley",),
    ),
    "hddm_a": Method(
        {"drift_confidence": 0.001, "warning_confidence": 0.005, "two_sided_test": False},
        binary=True,
        # Its name of newer versions, then of older ones.
        river=("drift.binary.HDDMA", "drift.binary.HDDM_A"),
    ),
    "hddm_w": Method(
        {
            "drift_confidence": 0.001,
            "warning_confidence": 0.005,
            "lambda_val": 0.05,
            "two_sided_test": False,
        },
        binary=True,
        river=("drift.binary.HDDMW", "drift.binary.HDDM_W"),
    ),
}


def method_named(name: str) -> Method:
    """Return a method by its name.

    Raises:
        PenstockError: There is none of this name.
    """
    if name in METHODS:
        return METHODS[name]
    close = difflib.get_close_matches(name, METHODS, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else "."
    raise PenstockError(f"There is no detector {name!r}: there are {', '.join(METHODS)}{meant}")


def checked_parameters(
    name: str, parameters: Mapping[str, float | int | str | bool]
) -> dict[str, Any]:
    """Return a method's parameters, those given in place of the defaults.

    Raises:
        PenstockError: One is unknown, or not of the type of the default.
    """
    defaults = method_named(name).parameters
    checked = dict(defaults)
    for key, value in parameters.items():
        if key not in defaults:
            raise PenstockError(
                f"The detector {name} has no parameter {key!r}; it has {', '.join(defaults)}."
            )
        wanted = type(defaults[key])
        fits = isinstance(value, bool) == (wanted is bool) and isinstance(
            value, (int, float) if wanted is float else wanted
        )
        # What passed through JSON or Kubeflow may be a float that is whole.
        if wanted is int and isinstance(value, float) and value.is_integer():
            value, fits = int(value), True
        if not fits:
            raise PenstockError(
                f"The parameter {key!r} of the detector {name} is {value!r}: give a value of the "
                f"type {wanted.__name__}, such as {defaults[key]!r}."
            )
        checked[key] = value
    return checked


def river_detector(name: str, parameters: Mapping[str, Any]) -> Any:
    """Return river's detector, fresh.

    Raises:
        PenstockError: river is not installed, or refuses the parameters.
    """
    try:
        from river import drift
        from river.drift import binary
    except ImportError as error:
        raise PenstockError(
            "Detectors of drift in streams need river, which is not installed: install it with "
            "`pip install 'penstock[streams]'`."
        ) from error
    rooms = {"drift": drift, "drift.binary": binary}
    for path in method_named(name).river:
        room, _, attribute = path.rpartition(".")
        if hasattr(rooms[room], attribute):
            try:
                return getattr(rooms[room], attribute)(**parameters)
            except (ValueError, TypeError) as error:
                raise PenstockError(f"river refuses parameters of {name}: {error}") from error
    raise PenstockError(
        f"The river that is installed has no {name}; install it with "
        "`pip install 'penstock[streams]'`."
    )


def river_version() -> str:
    """Return the version of river that is installed."""
    from importlib import metadata

    return metadata.version("river")
