"""Whether the gate's intervals and verdicts keep what they promise, by repeated sampling.

    python benchmarks/gate.py coverage [repeats]
    python benchmarks/gate.py verdicts [repeats]
    python benchmarks/gate.py correlation

`coverage` draws rows again and again from a known distribution and counts how often the 95%
interval covers the truth; `verdicts` compares a challenger with a champion again and again and
counts how often it is blessed as better, by intervals and by point thresholds. How sure a
difference is depends on how alike the models' scores are: `correlation` trains pairs of models on
flights as the running example does, and says how alike their scores are given the label.
"""

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from penstock.evaluation.bootstrap import poisson_counts, replicate_sums
from penstock.evaluation.estimate import Estimate, bootstrap_estimate, rate_estimate
from penstock.evaluation.ranking import area_difference, area_estimate, area_under_roc
from penstock.pipelines.flights.spans import label_flights, read_flights

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
    """Print how often a challenger is blessed as better, being equal and being better.

    The lower end of a 95% interval is passed by chance in 2.5%, that of a 90% interval in 5%.
    """
    print(f"AUC, {rows:,} rows, {repeats} repeats: blessed as better\n")
    print("| correlation of the models | truth | 95% intervals | 90% intervals | points |")
    print("|---|---|---|---|---|")
    for correlation in (0.9, 0.7, 0.5):
        for better in (0.0, gain):
            rng = np.random.default_rng(int(100 * correlation))
            sure = fairly_sure = ahead = 0
            for _ in range(repeats):
                change = compare(rng, rows, better, correlation)
                sure += change.interval(LEVEL)[0] > 0
                fairly_sure += change.interval(0.9)[0] > 0
                ahead += change.value > 0
            truth = f"+{better}" if better else "equal"
            shares = [f"{times / repeats:.1%}" for times in (sure, fairly_sure, ahead)]
            print(f"| {correlation} | {truth} | {' | '.join(shares)} |", flush=True)


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


def correlation(_: int) -> None:
    """Print the correlation of two flights models' scores within a class, and the gate's power."""
    flights = label_flights(read_flights()).to_pandas()
    categories = ["carrier", "origin", "dest", "weekday", "hour", "minute"]
    numbers = ["distance", "sched_arr_time"]
    matrix = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories),
        (StandardScaler(), numbers),
    ).fit_transform(flights)
    months, labels = flights.month.to_numpy(), flights.late.to_numpy()

    def scores(model: BaseEstimator, span: range) -> np.ndarray:
        rows = np.isin(months, span)
        return model.fit(matrix[rows], labels[rows]).predict_proba(matrix[months == 6])[:, 1]

    network = partial(MLPClassifier, (64,), max_iter=15, batch_size=512)
    trees, linear = HistGradientBoostingClassifier, partial(LogisticRegression, max_iter=200)
    pairs = {
        "network, another seed": [(network(random_state=n), range(4, 6)) for n in (0, 1)],
        "network, a month later": [(network(random_state=0), range(n, n + 2)) for n in (3, 4)],
        "trees, a month later": [(trees(random_state=0), range(n, n + 2)) for n in (3, 4)],
        "linear, then trees": [(m, range(4, 6)) for m in (linear(), trees(random_state=0))],
    }
    truth = labels[months == 6]
    print("| models | correlation | power at +0.01 AUC, 20,000 rows |\n|---|---|---|")
    for name, (old, new) in pairs.items():
        found = np.column_stack([scores(*old), scores(*new)])
        # Normal scores, as `verdicts` draws them, of each class by itself.
        within = [
            stats.norm.ppf(
                (stats.rankdata(found[truth == one], axis=0) - 0.5) / (truth == one).sum()
            )
            for one in (0, 1)
        ]
        alike = float(np.mean([np.corrcoef(part.T)[0, 1] for part in within]))
        rng = np.random.default_rng(0)
        sure = [compare(rng, 20_000, 0.01, alike).interval(LEVEL)[0] > 0 for _ in range(200)]
        print(f"| {name} | {alike:.2f} | {np.mean(sure):.1%} |", flush=True)


if __name__ == "__main__":
    {"coverage": coverage, "verdicts": verdicts, "correlation": correlation}[sys.argv[1]](
        int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    )
