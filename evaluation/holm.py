"""Many tests at once."""

from __future__ import annotations

from collections.abc import Sequence


def holm_levels(p_values: Sequence[float], alpha: float) -> list[tuple[bool, float]]:
    """Return for each test whether it rejects, and the level it was held to.

    The chance that any true hypothesis is rejected is at most `alpha`, whatever the tests have to
    do with each other. Holm, A simple sequentially rejective multiple test procedure, Scandinavian
    Journal of Statistics 6 (1979). It rejects all that Bonferroni's division by the number of
    tests does, and more.

    Args:
        p_values: One per test.
        alpha: The chance of any false rejection.

    Returns:
        In the order of `p_values`: rejected or not, and the level that decided.
    """
    answers: list[tuple[bool, float]] = [(False, alpha)] * len(p_values)
    rejecting = True
    level = alpha
    for place, test in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if rejecting:
            level = alpha / (len(p_values) - place)
            rejecting = p_values[test] <= level
        answers[test] = (rejecting, level)
    return answers
