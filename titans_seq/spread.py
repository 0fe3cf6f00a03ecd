"""Mean and spread of repeated measurements."""

import math
import statistics
from collections.abc import Iterable


def mean_and_spread(values: Iterable[float]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation of finite values; the latter is NaN for a single one.

    Without any finite value both are NaN.
    """
    found = [float(value) for value in values if math.isfinite(value)]
    if not found:
        return math.nan, math.nan
    return statistics.fmean(found), statistics.stdev(found) if len(found) > 1 else math.nan


def format_spread(mean: float, spread: float, digits: int = 3) -> str:
    """Return `MEAN ± SPREAD` with so many digits behind the point; the mean alone where there is no spread."""
    return f"{mean:,.{digits}f}" + (f" ± {spread:,.{digits}f}" if math.isfinite(spread) else "")
