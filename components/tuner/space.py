"""What a search may choose from: given as data, or by the author's `tuner_space(trial)`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import optuna

from ...errors import PenstockError

Propose = Callable[[optuna.Trial], dict[str, Any]]

KEYS = {
    "int": {"low", "high", "log", "step"},
    "float": {"low", "high", "log", "step"},
    "categorical": {"choices"},
}


def whole_numbers(value: Any) -> Any:
    """Turn 64.0 into 64, within lists and dictionaries too: on Kubeflow every number is a float."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: whole_numbers(item) for name, item in value.items()}
    return [whole_numbers(item) for item in value] if isinstance(value, (list, tuple)) else value


def check_space(
    space: Mapping[str, Any], start: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the space with its numbers in their types.

    Args:
        space: By name `{"type": "int", "low": 8, "high": 256, "log": True}`, `{"type": "float",
            "low": 0.0, "high": 0.5, "step": 0.1}` or `{"type": "categorical", "choices": [...]}`.
        start: Given values; those of names in the space must lie in it.

    Raises:
        PenstockError: The space is empty, or one of it is not as above.
    """
    if not isinstance(space, Mapping) or not space:
        raise PenstockError(
            'The space is empty; give at least one hyperparameter, such as {"units": {"type": '
            '"int", "low": 8, "high": 64}}, or leave it out.'
        )
    checked = {name: _check_one(name, given) for name, given in sorted(space.items())}
    for name, value in (start or {}).items():
        if name in checked and not _contains(checked[name], value):
            raise PenstockError(
                f"hyperparameters starts {name!r} at {value!r}, which is not in its space "
                f"{checked[name]}; change one of the two."
            )
    return checked


def propose_from(space: Mapping[str, Mapping[str, Any]]) -> Propose:
    """Return a function that takes a trial's values from a checked space."""

    def propose(trial: optuna.Trial) -> dict[str, Any]:
        return {name: _suggest(trial, name, dict(given)) for name, given in space.items()}

    return propose


def _suggest(trial: optuna.Trial, name: str, given: dict[str, Any]) -> Any:
    kind = given.pop("type")
    if kind == "categorical":
        return trial.suggest_categorical(name, given["choices"])
    suggest = trial.suggest_int if kind == "int" else trial.suggest_float
    return suggest(name, **given)


def _check_one(name: str, given: Any) -> dict[str, Any]:
    where = f"The space of {name!r}"
    kind = given.get("type") if isinstance(given, Mapping) else None
    if kind not in KEYS:
        raise PenstockError(
            f'{where} is {given!r}; expected a dictionary with "type" int, float or categorical.'
        )
    unknown = set(given) - KEYS[kind] - {"type"}
    if unknown:
        raise PenstockError(
            f"{where} has {sorted(unknown)[0]!r}; {kind} takes {', '.join(sorted(KEYS[kind]))}."
        )
    if kind == "categorical":
        choices = whole_numbers(given.get("choices"))
        plain = isinstance(choices, list) and all(
            isinstance(choice, (str, int, float, bool, type(None))) for choice in choices
        )
        if not plain or not choices:
            raise PenstockError(
                f"{where} has the choices {choices!r}; expected a list of strings, numbers, "
                "booleans or null."
            )
        return {"type": kind, "choices": choices}
    return {"type": kind, **_check_range(where, kind, given)}


def _check_range(where: str, kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    number = int if kind == "int" else float
    found: dict[str, Any] = {}
    for key in ("low", "high", "step"):
        value = given.get(key)
        if value is None and key == "step":
            continue
        if not isinstance(value, (int, float)) or not _is(kind, value):
            what = "a whole number" if kind == "int" else "a number"
            raise PenstockError(f"{where} has {key} {value!r}; expected {what}.")
        found[key] = number(value)
    log, low, high = bool(given.get("log", False)), found["low"], found["high"]
    if low > high:
        raise PenstockError(f"{where} goes from {low} to {high}; give the smaller number as low.")
    if log and (low <= 0 or found.get("step", 1) != 1 or (kind == "float" and "step" in found)):
        raise PenstockError(
            f"{where} is logarithmic from {low} with step {found.get('step')}; a logarithmic one "
            "begins above 0 and has no step."
        )
    if found.get("step", 1) <= 0:
        raise PenstockError(f"{where} has step {found['step']}; give a number above 0.")
    return found | ({"log": True} if log else {})


def _is(kind: str, value: float) -> bool:
    finite = not isinstance(value, bool) and math.isfinite(value)
    return finite and (kind != "int" or value == int(value))


def _contains(given: Mapping[str, Any], value: Any) -> bool:
    if given["type"] == "categorical":
        return any(value == choice and type(value) is type(choice) for choice in given["choices"])
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and given["low"] <= value <= given["high"]
