"""Fit a forecaster to the scaled series of a panel. Axes: S series, T steps, C channels, H horizon."""

from collections.abc import Sequence
from dataclasses import dataclass

from titans_seq.domains.timeseries.covariates import check_covariates
from titans_seq.validation import check_whole


@dataclass(frozen=True, kw_only=True)
class FittingConfig:
    """How a forecaster is fitted to a history, beside `TrainingConfig`."""

    future_covariates: Sequence[str] | None = None
    """Columns of X that are known ahead, as holidays or prices; all others of X are known up to the end of the history
    only."""

    calendar: bool | str | Sequence[str] = "auto"
    """Time of the day, week and year as further features, from the time stamps: True for all that the frequency tells
    apart, "auto" for those of them that came round often enough, or some of "minute", "hour", "weekday", "monthday",
    "yearday", "month"."""

    learn: bool | None = None
    """Whether `update` goes on teaching the linear memory what followed; for a single frame. None: if it helps on the
    part of the history that validates."""

    steps_per_epoch: int = 25
    """Training batches between two validations."""

    def __post_init__(self) -> None:
        if self.learn is not None and not isinstance(self.learn, bool):
            raise ValueError(f"learn must be True, False or None, not {self.learn!r}")
        check_whole(1, steps_per_epoch=self.steps_per_epoch)
        check_covariates(self.future_covariates, self.calendar)
