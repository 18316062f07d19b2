"""Whether the gate's intervals and verdicts keep what they promise, by repeated sampling.

    python benchmarks/gate.py coverage [repeats]
    python benchmarks/gate.py verdicts [repeats]

`coverage` draws rows again and again from a known distribution and counts how often the 95%
interval covers the truth; `verdicts` compares a challenger with a champion again and again and
counts how often it is blessed as better, by intervals and by point thresholds.
"""

import sys
from collections.abc import Callable

import numpy as np
from scipy import stats

from penstock.evaluation.bootstrap import poisson_counts, replicate_sums
from penstock.evaluation.estimate import Estimate, bootstrap_estimate, rate_estimate
from penstock.evaluation.ranking import area_difference, area_estimate, area_under_roc

REPLICATES = 200
LEVEL = 0.95
POSITIVE = 0.3
# Scores are normal in each class, this far apart: an AUC of 0.75.
APART = float(stats.norm.ppf(0.75)) * np.sqrt(2)


def draw(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and probabilities, a little too small as a model's may be."""
    labels = (rng.random(rows) < POSITIVE).astype(float)
    distance = rng.normal(APART * labels, 1.0)
    prior = np.log(POSITIVE / (1 - POSITIVE))
    logit = prior + APART * distance - APART**2 / 2
    return labels, 1 / (1 + np.exp(-(0.9 * logit - 0.1)))


def auc(labels: np.ndarray, scores: np.ndarray, seed: int) -> Estimate | None:
    """Estimate the AUC as the evaluator does."""
    area = area_under_roc(labels, scores)
    return area_estimate(area.value, area)


def accuracy(labels: np.ndarray, scores: np.ndarray, seed: int) -> Estimate | None:
    """Estimate the accuracy as the evaluator does."""
    return rate_estimate(float(((scores > 0.5) == labels).mean()), len(labels))


def calibration(labels: np.ndarray, scores: np.ndarray, seed: int) -> Estimate | None:
    """Estimate predicted over observed positives as the evaluator does."""
    counts = poisson_counts(0, len(labels), REPLICATES, seed)
    sums = replicate_sums(counts, np.column_stack([scores, labels]))
    found = sums[:, 0] / sums[:, 1]
    return bootstrap_estimate(float(scores.sum() / labels.sum()), found, "log")


MEASURES: dict[str, Callable[..., Estimate | None]] = {
    "auc": auc,
    "accuracy": accuracy,
    "calibration": calibration,
}


def coverage(repeats: int) -> None:
    """Print how often the interval of each metric covers the truth, at each size."""
    labels, scores = draw(np.random.default_rng(0), 4_000_000)
    truth = {
        "auc": 0.75,
        "accuracy": float(((scores > 0.5) == labels).mean()),
        "calibration": float(scores.sum() / labels.sum()),
    }
    print(f"95% intervals over {repeats} repeats\n\n| rows | metric | covers |\n|---|---|---|")
    for rows in (500, 5000):
        rng = np.random.default_rng(rows)
        covered = dict.fromkeys(MEASURES, 0)
        for repeat in range(repeats):
            labels, scores = draw(rng, rows)
            for name, measure in MEASURES.items():
                estimate = measure(labels, scores, repeat)
                low, high = estimate.interval(LEVEL) if estimate else (1.0, 0.0)
                covered[name] += low <= truth[name] <= high
        for name, times in covered.items():
            print(f"| {rows:,} | {name} | {times / repeats:.1%} |", flush=True)


def verdicts(repeats: int, rows: int = 20_000, gain: float = 0.01) -> None:
    """Print how often a challenger is blessed as better, being equal and being better."""
    print(f"AUC, {rows:,} rows, {repeats} repeats: blessed as better\n")
    print("| correlation of the models | truth | intervals | points |\n|---|---|---|---|")
    for correlation in (0.9, 0.7, 0.5):
        for better in (0.0, gain):
            rng = np.random.default_rng(int(100 * correlation))
            sure = ahead = 0
            for _ in range(repeats):
                change = compare(rng, rows, better, correlation)
                sure += change.interval(LEVEL)[0] > 0
                ahead += change.value > 0
            truth = f"+{better}" if better else "equal"
            print(
                f"| {correlation} | {truth} | {sure / repeats:.1%} | {ahead / repeats:.1%} |",
                flush=True,
            )


def compare(rng: np.random.Generator, rows: int, gain: float, correlation: float) -> Estimate:
    """Return the change of the AUC from a champion's 0.75 to a challenger's, over the same rows."""
    labels = (rng.random(rows) < POSITIVE).astype(float)
    shared, one, other = rng.normal(size=(3, rows))
    mixed = np.sqrt(correlation), np.sqrt(1 - correlation)
    better = float(stats.norm.ppf(0.75 + gain)) * np.sqrt(2)
    old = area_under_roc(labels, APART * labels + mixed[0] * shared + mixed[1] * one)
    new = area_under_roc(labels, better * labels + mixed[0] * shared + mixed[1] * other)
    found = area_difference(new.value - old.value, new, old)
    assert found is not None
    return found


if __name__ == "__main__":
    {"coverage": coverage, "verdicts": verdicts}[sys.argv[1]](
        int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    )
