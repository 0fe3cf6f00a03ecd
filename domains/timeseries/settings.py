"""A forecaster's parameters, checked, as the configurations of its network and its training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.timeseries.covariates import CALENDAR
from titans_seq.domains.timeseries.losses import LOSSES
from titans_seq.domains.timeseries.network import ForecastConfig
from titans_seq.errors import DataError
from titans_seq.training import TrainingConfig
from titans_seq.validation import check_whole

if TYPE_CHECKING:
    from titans_seq.domains.timeseries.forecaster import TitansForecaster


def settings(model: TitansForecaster) -> tuple[ForecastConfig, TrainingConfig]:
    """The network and the training that the parameters describe.

    Raises:
        DataError: a parameter cannot be used.
    """
    check_whole(1, horizon=model.horizon, context=model.context, patch=model.patch, stride=model.stride)
    check_whole(1, batch_size=model.batch_size)
    check_whole(0, random_state=model.random_state)
    if not isinstance(model.validation_fraction, int | float) or not 0 < model.validation_fraction < 1:
        raise DataError(f"validation_fraction must lie between 0 and 1, not {model.validation_fraction!r}")
    if not isinstance(model.calibration_fraction, int | float) or not 0 <= model.calibration_fraction < 1:
        raise DataError(f"calibration_fraction must be at least 0 and below 1, not {model.calibration_fraction!r}")
    _check_covariates(model)
    if model.loss not in LOSSES:
        raise DataError(f"loss must be one of {', '.join(LOSSES)}, not {model.loss!r}")
    patch = min(int(model.patch), int(model.context))
    try:
        backbone = BackboneConfig(
            variant=model.variant,  # type: ignore[arg-type]
            dim=model.dim,
            layers=model.layers,
            heads=model.heads,
            dropout=model.dropout,
            memory_depth=model.memory_depth,
            memory_expansion=model.memory_expansion,
            chunk_size=model.chunk_size,
            momentum=model.momentum,
            forget=model.forget,
            initial_step=model.initial_step,
            conv_kernel=model.conv_kernel,
        )
        network = ForecastConfig(
            context=int(model.context),
            horizon=int(model.horizon),
            patch=patch,
            stride=min(int(model.stride), patch),
            dropout=model.dropout,
            quantiles=None if model.quantiles is None else tuple(float(q) for q in model.quantiles),
            backbone=backbone,
        )
        training = TrainingConfig(
            max_epochs=model.max_epochs,
            patience=model.patience,
            learning_rate=model.learning_rate,
            max_minutes=model.max_minutes,
            random_state=int(model.random_state),
            verbose=model.verbose,
        )
    except (TypeError, ValueError) as error:
        raise DataError(str(error)) from error
    return network, training


def _check_covariates(model: TitansForecaster) -> None:
    names = () if model.future_covariates is None else model.future_covariates
    if isinstance(names, str) or not np.iterable(names) or len(set(names)) < len(names):
        raise DataError(f"future_covariates must be different names of columns, not {names!r}")
    if not isinstance(model.calendar, bool):
        chosen = (
            [model.calendar] if isinstance(model.calendar, str) or not np.iterable(model.calendar) else model.calendar
        )
        unknown = [name for name in chosen if name not in CALENDAR]
        if unknown:
            raise DataError(f"calendar must be True, False or some of {', '.join(CALENDAR)}, not {unknown[0]!r}")
