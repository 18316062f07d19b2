"""What the data gate found, as a page for people and in short as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .distribution import Bar, Plot, bars_of_values, plot_numbers
from .page import cut, number, render_page, share

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    Datasets = Mapping[str, Mapping[str, statistics_pb2.DatasetFeatureStatistics]]

# So many anomalies of a split get a line each, so many features are drawn.
LISTED = 500
DRAWN = 40

_TEMPLATE = Path(__file__).with_name("validation.html")
_TITLES = {
    "fail": ("The data failed", "bad"),
    "quarantine": ("The data passed without the rows in quarantine", "warn"),
    "warn": ("The data passed with warnings", "warn"),
    "pass": ("The data passed", "good"),
}
_WORDS = {
    "fail": ("failed", "bad"),
    "quarantine": ("quarantined", "warn"),
    "warn": ("warning", "warn"),
    "tolerated": ("tolerated", "soft"),
    "ignored": ("ignored", "soft"),
}
# What to do about an anomaly, by what its type begins with; the first that fits.
_ADVICE = (
    ("ROW_RULE", "Look at the rows; mend them at their source, or the rule."),
    ("STATISTICS_RULE", "Look at the feature's statistics; mend the data, or the rule."),
    ("SPLIT_EMPTY", "Give more data, or other weights of the splits."),
    ("QUARANTINE_TOO_LARGE", "Mend the data at its source, or raise max_quarantined_share."),
    ("SCHEMA_NEW_COLUMN", "Leave the column out, or review it and add it to the schema."),
    ("SCHEMA_MISSING_COLUMN", "Find out where the column went, or take it out of the schema."),
    ("DRIFT", "Look whether the world changed or the data; a change of the world may stay."),
    ("SKEW", "Compare how training and serving compute the feature."),
    ("COMPARISON", "Compare with more rows."),
    ("COMPARATOR_CANNOT", "Change the comparator in the schema."),
    ("COMPARATOR", "Look whether the world changed or the data, or change the threshold."),
    ("INVALID_SCHEMA", "Mend the schema."),
    ("INVALID_DOMAIN", "Mend the schema."),
    ("DOMAIN_INVALID", "Mend the schema."),
    ("FEATURE_MISSING", "Mend the schema."),
    ("", "Mend the data at its source, or review the schema if the data is right."),
)


@dataclass(frozen=True)
class Drawn:
    """A feature's distributions over one another.

    Attributes:
        feature: Its path.
        split: The split.
        names: The series: the other side first.
        plots: Per series the histogram, of a number.
        bars: The most frequent values, of others.
        measured: What was measured, as the verdict holds it.
    """

    feature: str
    split: str
    names: tuple[str, ...]
    plots: tuple[Plot | None, ...]
    bars: tuple[Bar, ...]
    measured: tuple[Mapping[str, Any], ...]


def validation_page(verdict: Mapping[str, Any], datasets: Datasets) -> str:
    """Return one HTML document that needs nothing from elsewhere.

    Args:
        verdict: What `verdict.json` holds.
        datasets: Per split its statistics as `current`, and those of `previous span` and `serving`
            where they were given.
    """
    title, tone = _TITLES[verdict["verdict"]]
    splits = verdict["splits"]
    return render_page(
        _TEMPLATE,
        title=title,
        tone=tone,
        verdict=verdict,
        splits=[(name, split, *_TITLES[split["verdict"]]) for name, split in splits.items()],
        counted=[(name, split, _counted(split)) for name, split in splits.items()],
        aside=[
            (name, anomaly)
            for name, split in splits.items()
            for anomaly in split["anomalies"]
            if anomaly["outcome"] in ("tolerated", "ignored")
        ],
        drawn=_drawn(splits, datasets),
        measured=_measured(splits),
        words=_WORDS,
        advice=advice,
        precise=precise,
        listed=LISTED,
    )


def validation_markdown(verdict: Mapping[str, Any]) -> str:
    """Return the verdict in short: a heading, a line per split, and the first anomalies."""
    lines = [f"## {_TITLES[verdict['verdict']][0]}", ""]
    for name, split in verdict["splits"].items():
        found = _counted(split)
        count = f"{len(found)} anomal{'y' if len(found) == 1 else 'ies'}" if found else "no anomaly"
        lines.append(
            f"- **{_plain(name)}**: {split['verdict']}, {number(split['rows'])} rows, {count}"
        )
    rows = [(name, a) for name, split in verdict["splits"].items() for a in _counted(split)]
    if rows:
        lines += ["", "| split | feature | rule | what | rows |", "|---|---|---|---|---|"]
    for name, anomaly in rows[:50]:
        offending = "" if anomaly["offending"] is None else precise(anomaly)
        if anomaly["examples"]:
            offending += f", first at {anomaly['examples'][0]['place']}"
        cells = (name, anomaly["feature"] or "", anomaly["rule"], anomaly["description"], offending)
        lines.append(f"| {' | '.join(_plain(str(cell)) for cell in cells)} |")
    if len(rows) > 50:
        lines += ["", f"and {len(rows) - 50} more"]
    return "\n".join(lines) + "\n"


def advice(anomaly: Mapping[str, Any]) -> str:
    """Return what to do about an anomaly."""
    return next(text for start, text in _ADVICE if anomaly["type"].startswith(start))


def precise(anomaly: Mapping[str, Any]) -> str:
    """Return how many rows offend, with their share."""
    rows = anomaly["offending"]
    return "" if rows is None else f"{rows:,} ({share(anomaly['share'])})"


def _counted(split: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [a for a in split["anomalies"] if a["outcome"] in ("fail", "quarantine", "warn")]


def _plain(text: str) -> str:
    """Return text that is no markup in a cell of a Markdown table."""
    for character in "\\`*_[]<>|#":
        text = text.replace(character, f"\\{character}")
    return cut(" ".join(text.split()), 200)


def _measured(splits: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return every measurement with its split, the largest effects first."""
    found = [(name, m) for name, split in splits.items() for m in split["comparisons"]]
    return sorted(found, key=lambda pair: -pair[1]["effect"])


def _drawn(splits: Mapping[str, Any], datasets: Datasets) -> list[Drawn]:
    """Return the distributions of the features that moved, the largest effects first."""
    moved: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for name, measured in _measured(splits):
        if measured["verdict"] == "DRIFT":
            moved.setdefault((name, measured["feature"]), []).append(measured)
    return [
        _overlaid(split, feature, datasets[split], found)
        for (split, feature), found in list(moved.items())[:DRAWN]
    ]


def _overlaid(
    split: str,
    feature: str,
    datasets: Mapping[str, statistics_pb2.DatasetFeatureStatistics],
    measured: Sequence[Mapping[str, Any]],
) -> Drawn:
    against = dict.fromkeys(each["against"] for each in measured)
    names = (*against, "current")
    features = [
        next((f for f in datasets[name].features if _path(f) == feature), None) for name in names
    ]
    kinds = {f.WhichOneof("stats") for f in features if f is not None}
    numbers = [f.num_stats if f is not None and f.HasField("num_stats") else None for f in features]
    texts = [
        f.string_stats if f is not None and f.HasField("string_stats") else None for f in features
    ]
    return Drawn(
        feature,
        split,
        names,
        plot_numbers(numbers) if "num_stats" in kinds else (),
        bars_of_values(texts) if "string_stats" in kinds else (),
        tuple(measured),
    )


def _path(feature: statistics_pb2.FeatureNameStatistics) -> str:
    return ".".join(feature.path.step) or feature.name
