"""Statistics as a page for people: distributions of every feature, the splits side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .distribution import Bar, Plot, bars_of_values, plot_numbers
from .page import number, render_page, share

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

# A page stays below some 6 MB whatever the data: so many features are plotted, so many more get a
# line.
PLOTTED = 200
LISTED = 5000

_TEMPLATE = Path(__file__).with_name("statistics.html")
_TYPES = ("integer", "float", "string", "bytes", "struct")


@dataclass(frozen=True)
class FeatureView:
    """One feature as the page shows it.

    Attributes:
        name: The feature's path, its steps joined by dots.
        type: What TFDV takes it for.
        notes: What is worth a look, in words.
        missing: Per split the share of rows without a value; None where there are no rows.
        plots: Per split the histogram of numbers; empty for other features.
        bars: The values that occur most, with their share per split; empty for numbers.
        facts: Lines of a table: a measure and its value per split.
        brief: Per split one phrase, for features that are not plotted.
    """

    name: str
    type: str
    notes: tuple[str, ...]
    missing: tuple[float | None, ...]
    plots: tuple[Plot | None, ...]
    bars: tuple[Bar, ...]
    facts: tuple[tuple[str, tuple[str, ...]], ...]
    brief: tuple[str, ...]


def statistics_page(
    datasets: Sequence[statistics_pb2.DatasetFeatureStatistics], title: str = "Statistics"
) -> str:
    """Return one HTML document that needs nothing from elsewhere.

    The first `PLOTTED` features are plotted, the next `LISTED` get a line each; the page says so
    and how many are left out.

    Args:
        datasets: The statistics of one split each, named after it, at least one.
        title: The page's heading.
    """
    found: dict[tuple[str, ...], list[Any]] = {}
    for place, dataset in enumerate(datasets):
        for feature in dataset.features:
            path = tuple(feature.path.step) or (feature.name,)
            found.setdefault(path, [None] * len(datasets))[place] = feature
    shown = list(found.items())[: PLOTTED + LISTED]
    views = [_view(path, features, datasets) for path, features in shown]
    return render_page(
        _TEMPLATE,
        title=title,
        splits=[(dataset.name, int(dataset.num_examples)) for dataset in datasets],
        features=len(found),
        plotted=views[:PLOTTED],
        listed=views[PLOTTED:],
        noted=[view for view in views if view.notes],
        left_out=len(found) - len(views),
    )


def _view(
    path: tuple[str, ...],
    features: Sequence[Any],
    datasets: Sequence[statistics_pb2.DatasetFeatureStatistics],
) -> FeatureView:
    stats = [
        None if f is None else getattr(f, f.WhichOneof("stats") or "num_stats") for f in features
    ]
    first = next(feature for feature in features if feature is not None)
    missing = tuple(
        _missing(stat, int(dataset.num_examples))
        for stat, dataset in zip(stats, datasets, strict=True)
    )
    numeric = first.WhichOneof("stats") == "num_stats"
    text = first.WhichOneof("stats") == "string_stats"
    return FeatureView(
        name=".".join(path),
        type=_TYPES[first.type] if first.type < len(_TYPES) else "unknown",
        notes=_notes(stats, missing, numeric, text),
        missing=missing,
        plots=plot_numbers(stats) if numeric else (),
        bars=bars_of_values(stats) if text else (),
        facts=tuple(_facts(stats, numeric, text)),
        brief=tuple(_brief(stat, numeric, text) for stat in stats),
    )


def _missing(stat: Any, rows: int) -> float | None:
    if not rows or stat is None:
        return 1.0 if rows else None
    # Of a field of a struct, what is counted are the structs, not the rows.
    there, missing = stat.common_stats.num_non_missing, stat.common_stats.num_missing
    return missing / (there + missing) if there + missing else None


def _has_values(stat: Any) -> bool:
    return stat is not None and stat.common_stats.tot_num_values > 0


def _notes(
    stats: Sequence[Any], missing: Sequence[float | None], numeric: bool, text: bool
) -> tuple[str, ...]:
    """Return what is worth a look: never a judgement, which is the validator's."""
    notes = []
    shares = [part for part in missing if part is not None]
    filled = [stat for stat in stats if _has_values(stat)]
    if shares and not filled:
        notes.append("no values")
    elif shares and max(shares) >= 0.5:
        notes.append("mostly missing")
    if len(shares) > 1 and filled and max(shares) - min(shares) > 0.1:
        notes.append("missing differs between splits")
    if numeric and filled:
        if all(stat.min == stat.max for stat in filled):
            notes.append("one value only")
        if any(_infinite(stat) for stat in filled):
            notes.append("infinite values")
        if any(histogram.num_nan for stat in filled for histogram in stat.histograms):
            notes.append("NaN values")
    if text and filled:
        if all(stat.unique == 1 for stat in filled):
            notes.append("one value only")
        elif any(
            stat.unique > 100 and stat.unique == stat.common_stats.tot_num_values for stat in filled
        ):
            notes.append("every value differs")
    return tuple(notes)


def _infinite(stat: Any) -> bool:
    return any(value in (float("inf"), float("-inf")) for value in (stat.min, stat.max))


def _facts(
    stats: Sequence[Any], numeric: bool, text: bool
) -> Sequence[tuple[str, tuple[str, ...]]]:
    """Return the lines of the feature's table, without those that say nothing for any split."""
    lines: dict[str, list[str]] = {}
    for place, stat in enumerate(stats):
        for name, value in _measures(stat, numeric, text).items():
            lines.setdefault(name, ["\N{EN DASH}"] * len(stats))[place] = value
    return [(name, tuple(values)) for name, values in lines.items()]


def _measures(stat: Any, numeric: bool, text: bool) -> Mapping[str, str]:
    if not _has_values(stat):
        return {}
    common = stat.common_stats
    measures = {"values": number(common.tot_num_values)}
    if common.max_num_values > 1:
        measures["values per row"] = f"{common.min_num_values} to {common.max_num_values}"
    if numeric:
        deciles = _deciles(stat)
        measures |= {"mean": number(stat.mean), "std. dev.": number(stat.std_dev)}
        measures["zeros"] = share(stat.num_zeros / common.tot_num_values)
        measures["min"] = number(stat.min)
        measures |= {} if deciles is None else {"10%": number(deciles[0])}
        measures["median"] = number(stat.median)
        measures |= {} if deciles is None else {"90%": number(deciles[1])}
        measures["max"] = number(stat.max)
    elif text:
        measures |= {"distinct": number(stat.unique), "mean length": number(stat.avg_length)}
        top = stat.top_values[0].frequency if stat.top_values else 0
        measures["most frequent"] = share(top / common.tot_num_values)
    return measures


def _deciles(stat: Any) -> tuple[float, float] | None:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    for histogram in stat.histograms:
        buckets = histogram.buckets
        if histogram.type == statistics_pb2.Histogram.QUANTILES and len(buckets) == 10:
            return buckets[0].high_value, buckets[-1].low_value
    return None


def _brief(stat: Any, numeric: bool, text: bool) -> str:
    if not _has_values(stat):
        return "no values"
    if numeric:
        return f"{number(stat.min)} to {number(stat.max)}, mean {number(stat.mean)}"
    if text:
        return f"{number(stat.unique)} distinct"
    return ""
