"""A study as a page for people: history, importance, parallel coordinates, trials."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .page import number, render_page
from .tuning_plots import HEIGHT, WIDTH, plot_history, plot_parallel

# So many trials have a line in the table and in the charts; the page says what is left out.
SHOWN = 500
# So many hyperparameters have an axis, the most important ones.
AXES = 8

_TEMPLATE = Path(__file__).with_name("tuning.html")
_TONES = {"complete": "good", "pruned": "warn", "failed": "bad", "lost": "bad", "running": "warn"}


def tuning_page(
    content: Mapping[str, Any],
    trials: Sequence[Mapping[str, Any]],
    importance: Mapping[str, float],
) -> str:
    """Return one HTML document that needs nothing from elsewhere.

    Args:
        content: What `hyperparameters.json` holds.
        trials: The rows of `trials.parquet`.
        importance: Share of the score that each hyperparameter decides.
    """
    score = content["score"]
    maximize = score["direction"] == "maximize"
    shown = trials[-SHOWN:]
    chosen = content["hyperparameters"]
    varied = [n for n in importance if n in chosen] + [n for n in chosen if n not in importance]
    varied = [name for name in varied if _varies(name, shown)]
    axes, lines = plot_parallel(shown, varied[:AXES], score["metric"], maximize)
    return render_page(
        _TEMPLATE,
        content=content,
        score=score,
        trials=[{**trial, "chosen": _in_words(trial)} for trial in shown],
        left_out=len(trials) - len(shown),
        states=[(n, state, _TONES[state]) for state, n in content["study"]["trials"].items()],
        tones=_TONES,
        importance=list(importance.items()),
        history=plot_history(shown, maximize, content["trial"]),
        axes=axes,
        lines=lines,
        more_axes=max(len(varied) - AXES, 0),
        width=WIDTH,
        height=HEIGHT,
    )


def tuning_markdown(
    content: Mapping[str, Any],
    trials: Sequence[Mapping[str, Any]],
    importance: Mapping[str, float],
) -> str:
    """Return the summary for Kubeflow's UI; arguments as for `tuning_page`."""
    score = content["score"]
    around = score["standard_deviation"]
    spread = f" \N{PLUS-MINUS SIGN} {number(around)}" if around is not None else ""
    counts = ", ".join(f"{n} {state}" for state, n in content["study"]["trials"].items())
    lines = [
        f"## {_cell(score['metric'])} {number(score['mean'])}{spread}",
        "",
        f"{_cell(content['validation'])}; {score['direction']}; trials: {counts}.",
        "",
        "| hyperparameter | best | importance |",
        "|---|---|---|",
    ]
    for name, value in content["hyperparameters"].items():
        weight = f"{importance[name]:.0%}" if name in importance else ""
        lines.append(f"| {_cell(name)} | {_cell(value)} | {weight} |")
    lines += [
        "",
        f"| fold | {_cell(score['metric'])} | training rows | rows scored |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {n} | {number(f['score'])} | {f['train_rows']:,} | {f['eval_rows']:,} |"
        for n, f in enumerate(score["folds"])
    ]
    reasons = [t["reason"] for t in trials if t["state"] == "failed" and t["reason"]]
    if reasons:
        lines += ["", f"{len(reasons)} failed, the first because: {_cell(reasons[0])}"]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    for character in "\\`*_{}[]<>|":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")


def _varies(name: str, trials: Sequence[Mapping[str, Any]]) -> bool:
    found = {json.dumps(json.loads(t["hyperparameters"]).get(name)) for t in trials}
    return len(found) > 1


def _in_words(trial: Mapping[str, Any]) -> str:
    chosen = json.loads(trial["hyperparameters"])
    return ", ".join(
        f"{name} {f'{value:.4g}' if isinstance(value, float) else value}"
        for name, value in chosen.items()
    )
