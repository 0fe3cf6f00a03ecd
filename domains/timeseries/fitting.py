"""Fit a forecaster to the scaled series of a panel. Axes: S series, T steps, C channels, H horizon."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from torch.utils.data import DataLoader

from titans_seq.domains.timeseries.choose import (
    candidate_contexts,
    choose_linear,
    default_patch,
    learning_margin,
    split_lengths,
)
from titans_seq.domains.timeseries.covariates import Covariates, CovariateValues, check_covariates
from titans_seq.domains.timeseries.inputs import make_table
from titans_seq.domains.timeseries.linear import LinearMemory
from titans_seq.domains.timeseries.network import ForecastConfig
from titans_seq.domains.timeseries.panel import Panel
from titans_seq.domains.timeseries.prepare import Scaling, to_tensors
from titans_seq.domains.timeseries.reading import Reader
from titans_seq.domains.timeseries.segments import RandomSegments, SegmentLoss, loader, validation_segments
from titans_seq.errors import DataError
from titans_seq.training import TrainingConfig
from titans_seq.validation import check_whole

SHORTEST = 4
"""Steps of the longest series at the least."""


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


@dataclass(frozen=True)
class FitPlan:
    """What is known before the network is trained."""

    config: ForecastConfig
    """Of the network, as the data have it."""
    scaling: Scaling
    """Of the part of each series that trains."""
    memory: LinearMemory
    """The linear memory that has read all."""
    loss: SegmentLoss
    """Of training and validation."""
    validation: list[Tensor]
    """Batches that validate."""
    cuts: Tensor
    """(S,) steps of each series that train."""

    @property
    def margin(self) -> float:
        """Return by what factor the error without learning may be higher before learning is believed."""
        return learning_margin(self.cuts, self.loss.table.lengths, self.config.horizon)

    def batches(self, training: TrainingConfig, count: int) -> DataLoader[Tensor]:
        """Return `count` batches an epoch that train."""
        sizes = self.loss.table.channels, self.loss.reader.patch
        return loader(RandomSegments(self.cuts, *sizes, training.batch_size, count, training.random_state))


def plan_fit(
    config: ForecastConfig,
    training: TrainingConfig,
    panel: Panel,
    covariates: Covariates | None,
    values: CovariateValues,
    calendar: tuple[str, ...],
    learn: bool | None,
) -> FitPlan:
    """Scale a panel, choose by it what the configuration leaves open, and cut what trains and what validates.

    Raises:
        DataError: even the longest series has too few steps.
    """
    series, horizon = to_tensors(panel), config.horizon
    lengths = [len(v) for v in series]
    longest, need = max(lengths), max(SHORTEST, horizon + (config.context or 1))
    if longest < need:
        context = "" if config.context is None else f"context {config.context} + "
        raise DataError(f"the longest series has {longest} steps: {context}horizon {horizon} need at least {need}")
    cuts = split_lengths(lengths, training.validation_fraction, horizon)
    scaling = Scaling.from_series([v[:cut] for v, cut in zip(series, cuts.tolist(), strict=True)])
    scaled = scaling.apply(series)
    contexts = [config.context] if config.context else candidate_contexts(longest, panel.season, horizon)
    learn = learn if len(series) == 1 else False
    choice = choose_linear(scaled, cuts, horizon, panel.season, contexts, learn)
    linear = choice.memory.config
    config = replace(
        config,
        context=linear.context,
        patch=min(config.patch or default_patch(longest, panel.season, linear.context), linear.context),
        channels=len(panel.channels),
        past_features=0 if covariates is None else len(covariates.past),
        future_features=0 if covariates is None else len(covariates.future),
        calendar_features=2 * len(calendar),
    )
    reader = Reader(config, linear)
    table = make_table(reader, scaled, panel, covariates, values, calendar)
    loss = SegmentLoss(reader, table, choice.weights, choice.parts, cuts)
    validation = validation_segments(cuts, table.lengths, table.channels, reader.patch, horizon)
    return FitPlan(config, scaling, choice.memory, loss, validation, cuts)
