"""The scikit-learn style forecaster. Axes: S series, C channels, L look-back, H horizon."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from titans_seq.domains.timeseries import storage
from titans_seq.domains.timeseries.backtest import (
    backtest_frame,
    cutoff_rows,
    forecasts_at,
    refitted_at,
    rows_of,
    squared_error,
)
from titans_seq.domains.timeseries.conformal import Calibration
from titans_seq.domains.timeseries.covariates import (
    Covariates,
    Known,
    covariates_of,
    extended,
    known_of,
    with_covariates,
)
from titans_seq.domains.timeseries.fitting import fit_network
from titans_seq.domains.timeseries.inputs import inputs_of
from titans_seq.domains.timeseries.intervals import interval_frame, quantile_frame
from titans_seq.domains.timeseries.network import ForecastConfig, ForecastNetwork
from titans_seq.domains.timeseries.observe import joined, observed, placed
from titans_seq.domains.timeseries.panel import Panel, Series, to_panel
from titans_seq.domains.timeseries.prepare import Prepared, Scaling, prepare
from titans_seq.domains.timeseries.settings import settings
from titans_seq.domains.timeseries.surprise import surprise_frame
from titans_seq.errors import DataError
from titans_seq.training import History, TrainingConfig, temporary_seed
from titans_seq.validation import check_whole


class TitansForecaster(BaseEstimator):  # type: ignore[misc]
    """Forecast one or many series, of one or many channels each, with a Titans memory.

    Frames are wide (DatetimeIndex x channels) or long (`unique_id`, `ds` and value columns). Gaps and NaN are seen
    by the model as missing; nothing is filled in. The last part of the history validates training.

    Args:
        horizon: steps to forecast.
        context: steps the forecast is made from.
        variant: backbone, see `BackboneConfig.variant`.
        dim, layers, heads: width of the tokens, blocks, heads of each block.
        memory_depth, memory_expansion, chunk_size, momentum, forget, initial_step, conv_kernel: the memory, see
            `MemoryConfig`; tokens are patches, so a chunk of 16 spans many steps.
        patch, stride: steps that become one token, steps from one token to the next.
        dropout: share of features set to zero in training.
        loss: "spectral", "mse" or "mae".
        quantiles: levels between 0 and 1 that are forecast beside the middle and trained, all of them, by the pinball
            loss in place of `loss`; `predict` is then the median. None: a point forecast.
        future_covariates: columns of X that are known ahead, as holidays or prices; all others of X are known up to the
            end of the history only.
        calendar: time of the day, week and year as further covariates, from the time stamps: True for all that the
            frequency tells apart, or some of "minute", "hour", "weekday", "monthday", "yearday", "month".
        learning_rate, batch_size, max_epochs, patience: training; it stops after `patience` epochs without gain.
        max_minutes: training time at the most; None for no limit.
        validation_fraction: share of each series, at its end, that validates.
        calibration_fraction: share of each series, at its very end, that neither trains nor validates, by whose errors
            intervals are calibrated; 0: by those of the windows that validate, which chose the best epoch.
        random_state: seed; the same seed on the same machine gives the same numbers, bit for bit.
        verbose: show a progress bar.

    Attributes:
        history_: losses per epoch and seconds.
        network_: the trained network.
        calibration_: errors on held-back windows; None where the history was too short for any.
        covariates_: names and scale of the covariates; None if there are none.

    Example:
        >>> import numpy as np, pandas as pd
        >>> days = pd.date_range("2024-01-01", periods=200, freq="D")
        >>> wave = np.sin(np.arange(200) * 2 * np.pi / 7)
        >>> y = pd.DataFrame({"a": wave, "b": 2 * wave}, index=days)
        >>> model = TitansForecaster(horizon=7, context=28, patch=7, stride=7, max_epochs=1).fit(y)
        >>> model.predict().shape
        (7, 2)
    """

    network_: ForecastNetwork
    history_: History
    panel_: Panel
    scaling_: Scaling
    calibration_: Calibration | None
    covariates_: Covariates | None
    known_: Known

    def __init__(
        self,
        horizon: int = 96,
        context: int = 96,
        variant: str = "lmm",
        *,
        dim: int = 64,
        layers: int = 2,
        heads: int = 2,
        memory_depth: int = 2,
        memory_expansion: float = 2,
        chunk_size: int = 16,
        momentum: bool = True,
        forget: bool = True,
        initial_step: float | None = None,
        conv_kernel: int = 4,
        patch: int = 16,
        stride: int = 16,
        dropout: float = 0.2,
        loss: str = "spectral",
        quantiles: Sequence[float] | None = None,
        future_covariates: Sequence[str] | None = None,
        calendar: bool | Sequence[str] = False,
        learning_rate: float = 2e-3,
        batch_size: int = 64,
        max_epochs: int = 6,
        patience: int = 3,
        max_minutes: float | None = None,
        validation_fraction: float = 0.15,
        calibration_fraction: float = 0.0,
        random_state: int = 0,
        verbose: bool = False,
    ) -> None:
        self.horizon = horizon
        self.context = context
        self.variant = variant
        self.dim = dim
        self.layers = layers
        self.heads = heads
        self.memory_depth = memory_depth
        self.memory_expansion = memory_expansion
        self.chunk_size = chunk_size
        self.momentum = momentum
        self.forget = forget
        self.initial_step = initial_step
        self.conv_kernel = conv_kernel
        self.patch = patch
        self.stride = stride
        self.dropout = dropout
        self.loss = loss
        self.quantiles = quantiles
        self.future_covariates = future_covariates
        self.calendar = calendar
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.max_minutes = max_minutes
        self.validation_fraction = validation_fraction
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, y: pd.DataFrame, X: pd.DataFrame | None = None) -> Self:
        """Learn from the history.

        Args:
            y: wide (DatetimeIndex x channels) or long (`unique_id`, `ds`, channels).
            X: covariates in the same layout, on the same steps; NaN, or no row, where missing.

        Raises:
            DataError: a frame or a parameter cannot be used; the message says why.
            KeyboardInterrupt: after Ctrl-C; the model is then fitted with the best weights so far, if there are any.
        """
        panel = to_panel(y)
        self.check()
        return self.fit_panel(panel, None, None, *covariates_of(self, X, panel))

    def fit_panel(
        self,
        panel: Panel,
        on_epoch: Callable[[Self, bool], object] | None = None,
        data: Prepared | None = None,
        covariates: Covariates | None = None,
        known: Known | None = None,
    ) -> Self:
        """`fit` for a panel.

        Args:
            on_epoch: called after each epoch with this model, fitted as far as it is, and whether the epoch was the
                best so far.
            data: what `prepare` made of the panel; None makes it here.
            covariates, known: what `covariates_of` made of X; None: the calendar alone, if it is asked for.
        """
        config, training = self.check()
        if covariates is None:
            covariates, known = covariates_of(self, None, panel)
        beside = None
        if covariates is not None and known is not None:
            config = with_covariates(config, covariates, len(panel.channels))
            beside = covariates.beside(panel, known)
        if data is None:
            shares = self.validation_fraction, self.calibration_fraction
            data = prepare(panel, self.context, self.horizon, *shares, beside)
        elif beside is not None and data.train.columns != beside.columns:
            raise DataError("the windows were prepared without the model's covariates")
        with temporary_seed(self.random_state):
            network = ForecastNetwork(config)

        def remember(history: History) -> None:
            self.network_, self.history_, self.scaling_ = network, history, data.scaling
            self.calibration_, self.covariates_ = None, covariates
            self._end_at(panel, known or [])

        def after_epoch(history: History) -> None:
            if on_epoch is not None and history.best is not None:
                remember(history)
                on_epoch(self, history.best_epoch == len(history.validation_loss) - 1)

        history = History()
        loss = self.loss if self.quantiles is None else "pinball"
        try:
            fit_network(network, data, self.horizon, loss, self.batch_size, training, after_epoch, history)
        finally:
            if history.best is not None:
                remember(history)
        if data.held_back is not None:
            self.calibration_ = Calibration.of(network, data.held_back)
        return self

    def predict(self, X: pd.DataFrame | None = None) -> pd.DataFrame:
        """The `horizon` steps behind each series, in the layout of the frame that `fit` saw.

        Args:
            X: for a model with `future_covariates`, their values at these steps, in the layout of y.

        Raises:
            DataError: a value that is to be known ahead is missing, or X was not to be given.
            sklearn.exceptions.NotFittedError: `fit` has not been called.
        """
        values, panel = self.predict_values(X), self.panel_
        stamps = [panel.future(s.index, self.horizon) for s in panel.series]
        return panel.frame([s.name for s in panel.series], stamps, list(values))

    def predict_values(self, X: pd.DataFrame | None = None) -> NDArray[np.float32]:
        """`predict` as an array (S, H, C)."""
        check_is_fitted(self, "network_")
        self.network_.eval()
        with torch.inference_mode():
            mean, scale = self.scaling_.mean.unsqueeze(-1), self.scaling_.scale.unsqueeze(-1)  # (S, C, 1)
            forecast = self.network_(*inputs_of(self, X)) * scale + mean
            values: NDArray[np.float32] = forecast.mT.numpy()
        return values

    def predict_quantiles(
        self, alpha: float | Sequence[float] = (0.1, 0.5, 0.9), X: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """Quantiles of each of the `horizon` steps; they never cross.

        A model with `quantiles` gives its own, in between by linear interpolation; any other adds the quantiles of
        its errors on held-back windows, per channel and step.

        Args:
            alpha: levels between 0 and 1.

        Returns:
            As `predict`, with columns (channel, alpha) for a wide frame, `CHANNEL-q0.1` for a long one.

        Raises:
            DataError: a level lies outside of the model's quantiles, or further out than held-back windows can tell.
        """
        check_is_fitted(self, "network_")
        return quantile_frame(self, alpha, X)

    def predict_interval(self, coverage: float | Sequence[float] = 0.9, X: pd.DataFrame | None = None) -> pd.DataFrame:
        """Intervals that cover each of the `horizon` steps with the chance asked for, by split conformal prediction.

        Per channel and step, around the forecast or the quantiles nearest to the ends, as wide as held-back windows
        show it is needed (see `calibration_fraction`). The guarantee is for windows that are exchangeable with those;
        windows of one series overlap and drift, so it holds as far as the future is like the held-back part.

        Args:
            coverage: shares between 0 and 1.

        Returns:
            As `predict`, with columns (channel, coverage, "lower" or "upper") for a wide frame, `CHANNEL-lo-90` and
            `CHANNEL-hi-90` for a long one.

        Raises:
            DataError: the coverage is higher than the held-back windows can tell, or there are none.
        """
        check_is_fitted(self, "network_")
        return interval_frame(self, coverage, X)

    def scaled_forecast(self, X: pd.DataFrame | None = None) -> Tensor:
        """The forecast at each of the network's levels, (S, C, H, Q), in units of each series' scale."""
        self.network_.eval()
        with torch.inference_mode():
            return self.network_.quantiles(*inputs_of(self, X))

    def update(self, y: pd.DataFrame, X: pd.DataFrame | None = None) -> Self:
        """Take in the rows that follow what is known; the next forecast starts behind them. No gradient training.

        The forecast is a function of the last `context` steps: the network reads them from its first memory on, and
        that memory learns, by its own rule, while it reads. So new rows are in the memory at the next `predict`, and
        rows that leave the context leave it; no memory is carried from one `update` to the next, and weights, scaling
        and calibration stay those of `fit`. The result is that of `predict` on the same last steps, bit for bit.

        Args:
            y: a frame in the layout of `fit`, one row or more a series; long frames may leave series out. Steps without
                any value are rows of NaN.
            X: for a model that was fitted with X, its columns at the same steps.

        Raises:
            DataError: the rows are not in order, overlap with what is known, leave steps out, or are of an unknown
                series, other channels, another frequency or time zone; nothing is taken in then.
        """
        check_is_fitted(self, "network_")
        new = observed(self.panel_, y)
        more = known_of(X, new, self.covariates_, 0)
        known = self.known_ if more is None else extended(self.known_, self.panel_, more, new)
        return self._end_at(joined(self.panel_, new), known)

    def backtest(
        self,
        y: pd.DataFrame,
        cutoffs: Iterable[Any] | None = None,
        *,
        X: pd.DataFrame | None = None,
        stride: int | None = None,
        n_windows: int | None = None,
        refit: bool = False,
    ) -> pd.DataFrame:
        """What would have been forecast at earlier times, beside what came: all cutoffs in one batched pass.

        Args:
            y: a history in the layout of `fit`, of any of its series; it does not change the model.
            cutoffs: stamps, the last that each forecast sees; None: the last `n_windows` (None: all) that have a whole
                context before and a whole horizon behind them, `stride` steps apart (None: the horizon).
            X: for a model that was fitted with X, its columns at the same steps; NaN where missing.
            refit: fit a fresh model of the same parameters on what lies before each cutoff, which takes as long as it
                sounds; otherwise the fitted model forecasts from every cutoff, also those that it was trained on.

        Returns:
            A row per step with the columns (unique_id,) channel, cutoff, ds, y, forecast.

        Raises:
            DataError: the frame does not fit the model, is too short, or a cutoff is none of its steps.
        """
        check_is_fitted(self, "network_")
        given = {name: value for name, value in (("stride", stride), ("n_windows", n_windows)) if value is not None}
        check_whole(1, **given)
        if given and cutoffs is not None:
            raise DataError(f"{next(iter(given))} and cutoffs cannot both be given")
        panel = placed(self.panel_, y)
        if cutoffs is None:
            rows = cutoff_rows(panel, self.context, self.horizon, stride or self.horizon, n_windows)
        else:
            rows = rows_of(panel, cutoffs)
        known = known_of(X, panel, self.covariates_, self.horizon)
        forecasts = (refitted_at if refit else forecasts_at)(self, panel, rows, known)
        return backtest_frame(panel, rows, forecasts, self.horizon)

    def score(self, y: pd.DataFrame, X: pd.DataFrame | None = None) -> float:
        """Minus the mean squared error of every window of y, on values standardised as in `fit`; higher is better.

        Where y goes on from what the model has seen, as the test part of a `TimeSeriesSplit` does, its first window
        begins right there; otherwise behind the first whole context. Nothing is trained, and the model stays as it is.

        Raises:
            DataError: the frame does not fit the model, or has no window with an observed target.
        """
        check_is_fitted(self, "network_")
        panel = placed(self.panel_, y)
        return -squared_error(self, panel, known_of(X, panel, self.covariates_, self.horizon))

    def surprise(self, y: pd.DataFrame, X: pd.DataFrame | None = None) -> pd.DataFrame:
        """How much each step teaches the memory that reads up to it; where it stands out, something unusual happens.

        For each step the network reads the `context` steps that end there; its surprise is the norm of the gradient
        of the memory's loss (equation 16 of arXiv 2501.00663) at the last token, the mean over heads and blocks. That
        token spans `patch` steps, so what is unusual shows from its own step on for about that long, never before.
        The gradient is taken at the start of the token's chunk: fit with a `chunk_size` of 1 and a context of many
        patches for a memory that knows all that came before in the context. A warning says if it knows nothing.

        Args:
            y: a history in the layout of `fit`, of any of its series; it does not change the model.
            X: for a model that was fitted with X, its columns at the same steps.

        Returns:
            A frame like y, in order of time, without unit; NaN at a series' first `context` - 1 steps and where y is
            missing.

        Raises:
            DataError: the variant has no memory, the frame does not fit the model, or is shorter than the context.
        """
        check_is_fitted(self, "network_")
        return surprise_frame(self, y, X)

    def observe_panel(self, panel: Panel) -> Self:
        """Forecast from the end of this panel from now on; nothing is trained. Series and channels as in `fit`."""
        check_is_fitted(self, "network_")
        known = [s.name for s in self.panel_.series], self.panel_.channels, self.panel_.freq
        if ([s.name for s in panel.series], panel.channels, panel.freq) != known:
            raise DataError("other series, channels or frequency than the model was fitted on")
        return self._end_at(panel, known_of(None, panel, self.covariates_, 0) or [])

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write config.json and model.safetensors; an earlier model in the folder is replaced."""
        check_is_fitted(self, "network_")
        return storage.save(self, folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote; nothing in the folder is executed.

        Raises:
            ModelError: there is no such model, or it is damaged.
        """
        model = storage.restore(cls, folder)
        assert isinstance(model, cls)
        return model

    def check(self) -> tuple[ForecastConfig, TrainingConfig]:
        """The network and the training that the parameters describe.

        Raises:
            DataError: a parameter cannot be used.
        """
        return settings(self)

    def _end_at(self, panel: Panel, known: Known) -> Self:
        """Keep what the next forecast is made from."""
        lengths = [len(s.index) for s in panel.series]
        ends = [Series(s.name, s.index[-self.context :], s.values[-self.context :]) for s in panel.series]
        self.panel_ = Panel(ends, panel.channels, panel.freq, panel.layout)
        self.known_ = [v[:length][-self.context :] for v, length in zip(known, lengths, strict=bool(known))]
        return self
