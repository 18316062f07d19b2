"""The measures by name: one idea a file, each with its formula, range, source and defaults."""

from __future__ import annotations

import difflib
import math

from ...errors import PenstockError
from ..distribution import Distribution, Numeric
from .category_share import MISSING_CATEGORY_SHARE, NEW_CATEGORY_SHARE
from .cramers_v import CRAMERS_V
from .hellinger import HELLINGER
from .jensen_shannon import DISTANCE, DIVERGENCE
from .kolmogorov_smirnov import KOLMOGOROV_SMIRNOV
from .l_infinity import L_INFINITY
from .measure import Measure
from .missing_rate import MISSING_RATE_CHANGE
from .normalized_absolute_difference import NORMALIZED_ABSOLUTE_DIFFERENCE
from .psi import PSI
from .tfdv_jensen_shannon import TFDV_QUANTILES, TFDV_STANDARD
from .wasserstein import NORMALIZED_WASSERSTEIN

MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        DISTANCE,
        DIVERGENCE,
        PSI,
        HELLINGER,
        CRAMERS_V,
        KOLMOGOROV_SMIRNOV,
        NORMALIZED_WASSERSTEIN,
        L_INFINITY,
        NORMALIZED_ABSOLUTE_DIFFERENCE,
        NEW_CATEGORY_SHARE,
        MISSING_CATEGORY_SHARE,
        MISSING_RATE_CHANGE,
        TFDV_QUANTILES,
        TFDV_STANDARD,
    )
}


def measure_named(name: str) -> Measure:
    """Return a measure by its name.

    Raises:
        PenstockError: There is none of this name.
    """
    if name in MEASURES:
        return MEASURES[name]
    close = difflib.get_close_matches(name, MEASURES, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else "."
    raise PenstockError(
        f"There is no drift measure {name!r}: there are {', '.join(sorted(MEASURES))}{meant}"
    )


def check_kind(measure: Measure, kind: str, feature: str) -> None:
    """Check that a measure can measure a kind of feature, `numeric` or `categorical`.

    Raises:
        PenstockError: It cannot.
    """
    if kind not in measure.kinds:
        fitting = ", ".join(sorted(m.name for m in MEASURES.values() if kind in m.kinds))
        raise PenstockError(
            f"{measure.name} cannot measure {feature!r}, which is {kind}: it measures "
            f"{' and '.join(measure.kinds)} features only; take one of {fitting}."
        )


def is_empty(distribution: Distribution) -> bool:
    """Return whether only the missing rate can be measured: there are no values, or none finite."""
    return not distribution.n or (
        isinstance(distribution, Numeric) and not len(distribution.points)
    )


def distance(name: str, reference: Distribution, current: Distribution) -> float:
    """Return how far two distributions of a feature lie apart by a measure.

    NaN when a side is empty, or when numbers are too large to be reckoned with: then nothing can be
    said.

    Raises:
        PenstockError: There is no such measure, it cannot measure this kind of feature, or the
            sides are of different kinds.
    """
    measure = measure_named(name)
    if measure is MISSING_RATE_CHANGE:
        return measure.distance(reference, current)
    if is_empty(reference) or is_empty(current):
        return math.nan
    if reference.kind != current.kind:
        raise PenstockError(
            f"The reference is {reference.kind} and the current side {current.kind}, which no "
            "measure compares; give both the same type."
        )
    check_kind(measure, reference.kind, "the feature")
    return measure.distance(reference, current)
