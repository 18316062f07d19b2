"""What the measures of drift say when nothing drifted, and when something did.

Two samples of the same law, or of laws that differ by a known shift, are measured thousands of
times. From `penstock.drift` are the measures, their default thresholds and the numbers of values
that they ask for; min_n is left aside, as its worth is what the table shows.

    python benchmarks/drift_chance.py --write    # a few minutes; writes the tables to docs/drift.md
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from penstock.drift.cells import cells
from penstock.drift.distribution import Categorical, Distribution, categorical, numeric
from penstock.drift.measures import MEASURES
from penstock.drift.measures.missing_rate import MISSING_RATE_CHANGE
from penstock.drift.rules import MIN_N

DOCUMENT = Path(__file__).parents[1] / "docs" / "drift.md"
SIZES = (100, 300, 1000, 5000)
SIGMAS = (0.1, 0.25, 0.5)
POINTS = (0.05, 0.10, 0.20)
# What TFDV's tutorial takes, beside our defaults.
TUTORIAL = 0.01
FIVE = np.array([0.4, 0.3, 0.15, 0.1, 0.05])

Random = np.random.Generator
Sample = Callable[[Random, int], Distribution]


def counted(random: Random, n: int, shares: np.ndarray, missing: float = 0.0) -> Categorical:
    """Draw n rows of a category, of which a share is missing."""
    gone = random.binomial(n, missing)
    drawn = random.multinomial(n - gone, shares)
    return categorical({str(i): float(c) for i, c in enumerate(drawn) if c}, 0.0, float(gone))


def zipf(number: int) -> np.ndarray:
    """Return shares that fall as 1 / rank."""
    shares = 1 / np.arange(1, number + 1)
    return shares / shares.sum()


def moved(points: float) -> np.ndarray:
    """Return the five shares with so many points moved from the first to the second."""
    return FIVE + points * np.array([-1, 1, 0, 0, 0])


# Laws without drift, by what the table calls them.
NULL: dict[str, Sample] = {
    "normal": lambda r, n: numeric(r.normal(size=n)),
    "log-normal": lambda r, n: numeric(r.lognormal(0, 1, n)),
    "heavy tail": lambda r, n: numeric(r.lognormal(0, 2, n)),
    "counts": lambda r, n: numeric(r.poisson(3, n)),
    "5 categories": lambda r, n: counted(r, n, FIVE),
    "50 categories": lambda r, n: counted(r, n, zipf(50)),
    "500 categories": lambda r, n: counted(r, n, zipf(500)),
    "10% missing": lambda r, n: counted(r, n, FIVE, 0.1),
}
SHIFTED: dict[str, tuple[Sample, Sample]] = {
    **{
        f"{sigma} sigma": (NULL["normal"], lambda r, n, s=sigma: numeric(r.normal(s, 1, n)))
        for sigma in SIGMAS
    },
    **{
        f"{points * 100:.0f} points": (
            NULL["5 categories"],
            lambda r, n, p=points: counted(r, n, moved(p)),
        )
        for points in POINTS
    },
    **{
        f"{points * 100:.0f} points missing": (
            lambda r, n: counted(r, n, FIVE, 0.02),
            lambda r, n, p=points: counted(r, n, FIVE, 0.02 + p),
        )
        for points in POINTS
    },
}


def measures_of(kind: str, of_missing: bool) -> list[tuple[str, float]]:
    """Return the measures that the law is about, with the thresholds to try."""
    if of_missing:
        return [(MISSING_RATE_CHANGE.name, MISSING_RATE_CHANGE.threshold)]
    fitting = [m for m in MEASURES.values() if kind in m.kinds and m is not MISSING_RATE_CHANGE]
    tutorial = [(m.name, TUTORIAL) for m in fitting if m.name.startswith("tfdv")]
    return [(m.name, m.threshold) for m in fitting] + tutorial


def alarms(
    random: Random, one: Sample, other: Sample, n: int, repeats: int, of_missing: bool
) -> dict[tuple[str, float], float]:
    """Return per measure and threshold the share of repeats in which it is reached."""
    hits: Counter[tuple[str, float]] = Counter()
    for _ in range(repeats):
        sides = one(random, n), other(random, n)
        for name, threshold in measures_of(sides[0].kind, of_missing):
            hits[name, threshold] += MEASURES[name].distance(*sides) >= threshold
    return {tried: count / repeats for tried, count in hits.items()}


def null_table(random: Random, repeats: int) -> list[str]:
    """Return the table of false alarms, in percent, by law and measure and n."""
    lines = [
        "| law | measure | threshold | "
        + " | ".join(f"n {n:,}" for n in SIZES)
        + " | asks for n |",
        "|---|---|---:|" + "---:|" * (len(SIZES) + 1),
    ]
    for law, sample in NULL.items():
        by_n = [alarms(random, sample, sample, n, repeats, "missing" in law) for n in SIZES]
        known = shares(random, sample, law)
        for name, threshold in by_n[0]:
            rates = " | ".join(percent(rates[name, threshold]) for rates in by_n)
            needed = MEASURES[name].needed(threshold, known)
            asked = f"{max(MIN_N, needed):,.0f}" if needed else ""
            lines.append(f"| {law} | {name} | {threshold:g} | {rates} | {asked} |")
    return lines


def shares(random: Random, sample: Sample, law: str) -> np.ndarray:
    """Return the shares of the cells of a large sample."""
    if "missing" in law:
        return np.array([0.1, 0.9])
    return cells(sample(random, 100_000), sample(random, 100_000)).reference


def power_table(random: Random, repeats: int, law: str, kind: str) -> list[str]:
    """Return the table of alarms, in percent, by shift, for the shifts whose name ends in `law`."""
    shifts = [name for name in SHIFTED if name.endswith(law)]
    sizes = (1000, 5000)
    heads = [f"{name.removesuffix(law).strip()}, n {n:,}" for name in shifts for n in sizes]
    lines = ["| measure | threshold | " + " | ".join(heads) + " |"]
    lines.append("|---|---:|" + "---:|" * len(heads))
    missing = law.endswith("missing")
    found = [alarms(random, *SHIFTED[name], n, repeats, missing) for name in shifts for n in sizes]
    for tried in measures_of(kind, missing):
        rates = " | ".join(percent(rates[tried]) for rates in found)
        lines.append(f"| {tried[0]} | {tried[1]:g} | {rates} |")
    return lines


def percent(rate: float) -> str:
    """Return a share in percent, with a digit only where it says something."""
    return f"{100 * rate:.1f}" if 0 < rate < 0.1 else f"{100 * rate:.0f}"


def tables(repeats: int) -> str:
    """Return all tables in Markdown."""
    random = np.random.default_rng(20130101)
    power = max(repeats // 5, 20)
    parts = [
        f"False alarms, percent of {repeats:,} pairs of samples of the same law, n values a side:",
        "\n".join(null_table(random, repeats)),
        f"Alarms, percent of {power:,} pairs, where the mean of a normal law moved by so many "
        "standard deviations:",
        "\n".join(power_table(random, power, "sigma", "numeric")),
        "where so many points of share moved between two of five categories:",
        "\n".join(power_table(random, power, "points", "categorical")),
        "and where so many points more are missing, from 2%:",
        "\n".join(power_table(random, power, "points missing", "categorical")),
    ]
    return "\n\n".join(parts)


def write(mark: str, text: str, document: Path = DOCUMENT) -> None:
    """Put text between the two comments of a mark in a document."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, _, rest = document.read_text().partition(begin)
    _, _, after = rest.partition(end)
    document.write_text(f"{before}{begin}\n{text}\n{end}{after}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--write", action="store_true", help="write the tables to docs/drift.md")
    options = parser.parse_args()
    made = tables(options.repeats)
    print(made)
    if options.write:
        write("chance", made)
