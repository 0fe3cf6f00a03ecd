"""The scikit-learn style forecaster. Axes: S series, C channels, L look-back, H horizon."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.timeseries import storage
from titans_seq.domains.timeseries.backtest import backtest_frame, squared_error
from titans_seq.domains.timeseries.conformal import Calibration
from titans_seq.domains.timeseries.covariates import (
    Covariates,
    CovariateValues,
    add_covariates,
    read_covariates,
    read_values,
)
from titans_seq.domains.timeseries.fitting import FittingConfig, training_loaders, window_loss
from titans_seq.domains.timeseries.inputs import ForecastState, append_new_rows, cut_ends
from titans_seq.domains.timeseries.intervals import interval_frame, quantile_frame
from titans_seq.domains.timeseries.network import ForecastConfig, ForecastNetwork
from titans_seq.domains.timeseries.panel import Panel, to_panel
from titans_seq.domains.timeseries.prepare import Scaling, TrainingWindows, prepare
from titans_seq.domains.timeseries.surprise import surprise_frame
from titans_seq.errors import DataError
from titans_seq.estimator import TitansEstimator
from titans_seq.training import TrainingConfig, temporary_seed
from titans_seq.validation import check_whole


class TitansForecaster(
    TitansEstimator,
    configs=(ForecastConfig, FittingConfig, BackboneConfig, TrainingConfig),
    derived=("channels", "past_features", "future_features", "checkpoint_tokens"),
    defaults={
        "heads": 2,
        "chunk_size": 16,
        "learning_rate": 2e-3,
        "max_epochs": 6,
        "validation_fraction": 0.15,
    },
):
    """Forecast one or many series, of one or many channels each, with a Titans memory.

    Frames are wide (DatetimeIndex x channels) or long (`unique_id`, `ds` and value columns). Gaps and NaN are seen
    by the model as missing; nothing is filled in. The last part of the history validates training.

    Attributes:
        history_: losses per epoch and seconds.
        network_: the trained network.
        calibration_: errors on held-back windows; None where the history was too short for any.
        covariates_: names and scale of the covariates; None if there are none.

    Examples:
        >>> import numpy as np, pandas as pd
        >>> days = pd.date_range("2024-01-01", periods=200, freq="D")
        >>> wave = np.sin(np.arange(200) * 2 * np.pi / 7)
        >>> y = pd.DataFrame({"a": wave, "b": 2 * wave}, index=days)
        >>> model = TitansForecaster(horizon=7, context=28, patch=7, stride=7, max_epochs=1).fit(y)
        >>> model.predict().shape
        (7, 2)
    """

    network_: ForecastNetwork
    panel_: Panel
    scaling_: Scaling
    calibration_: Calibration | None
    covariates_: Covariates | None
    covariate_values_: CovariateValues

    if TYPE_CHECKING:
        horizon: int
        context: int
        patch: int
        stride: int
        quantiles: Sequence[float] | None
        loss: str
        future_covariates: Sequence[str] | None
        calendar: bool | Sequence[str]
        calibration_fraction: float

    def fit(self, y: pd.DataFrame, X: pd.DataFrame | None = None) -> Self:
        """Learn from the history.

        Args:
            y: wide (DatetimeIndex x channels) or long (`unique_id`, `ds`, channels).
            X: covariates in the same layout, on the same steps; NaN, or no row, where missing.

        Raises:
            DataError: a frame or a parameter cannot be used; the message says why.
            KeyboardInterrupt: after Ctrl-C; the model is then fitted with the best weights so far, if there are any.
        """
        return self.fit_panel(to_panel(y), X=X)

    def fit_panel(
        self,
        panel: Panel,
        on_epoch: Callable[[Self, bool], object] | None = None,
        data: TrainingWindows | None = None,
        *,
        X: pd.DataFrame | None = None,
        covariates: Covariates | None = None,
        values: CovariateValues | None = None,
    ) -> Self:
        """Fit to a panel.

        Args:
            on_epoch: called after each epoch with this model, fitted as far as it is, and whether the epoch was the
                best so far.
            data: the windows that `prepare` cut from the panel; None cuts them here.
            X: see `fit`.
            covariates: the covariates that `read_covariates` read from X, and their values; None reads them
                here.
            values: values of these covariates.
        """
        config = self.check()
        if covariates is None:
            covariates, values = read_covariates(X, panel, self.horizon, self.future_covariates, self.calendar)
        values = values or []
        columns = None
        if covariates is not None:
            config = add_covariates(config, covariates, len(panel.channels))
            columns = covariates.window_covariates(panel, values)
        if data is None:
            shares = self.validation_fraction, self.calibration_fraction
            data = prepare(panel, self.context, self.horizon, *shares, columns)
        elif columns is not None and data.train.columns != columns.columns:
            raise DataError("the windows were prepared without the model's covariates")
        with temporary_seed(self.random_state):
            network = ForecastNetwork(config)
        ends, known = cut_ends(panel, values, self.context)
        self.train_network(
            network,
            window_loss(self.horizon, self.loss if self.quantiles is None else "pinball", data.train.columns),
            *training_loaders(data, self.batch_size, self.random_state),
            on_epoch,
            panel_=ends,
            scaling_=data.scaling,
            calibration_=None,
            covariates_=covariates,
            covariate_values_=known,
        )
        if data.calibration_set is not None:
            self.calibration_ = Calibration.from_windows(network, data.calibration_set)
        return self

    def predict(self, X: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the `horizon` steps behind each series, in the layout of the frame that `fit` saw.

        Args:
            X: for a model with `future_covariates`, their values at these steps, in the layout of y.

        Raises:
            DataError: a value that is to be known ahead is missing, or X was not to be given.
            sklearn.exceptions.NotFittedError: `fit` has not been called.
        """
        values, panel = self.predict_values(X), self.panel_
        stamps = [panel.future(s.index, self.horizon) for s in panel.series]
        return panel.frame(panel.names, stamps, list(values))

    def predict_values(self, X: pd.DataFrame | None = None) -> NDArray[np.float32]:
        """Return the forecast as an array (S, H, C)."""
        values: NDArray[np.float32] = self._state().forecast(X).numpy()
        return values

    def predict_quantiles(
        self, alpha: float | Sequence[float] = (0.1, 0.5, 0.9), X: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """Return quantiles of each of the `horizon` steps; they never cross.

        A model with `quantiles` gives its own, in between by linear interpolation; any other adds the quantiles of
        its errors on held-back windows, per channel and step.

        Args:
            alpha: levels between 0 and 1.

        Returns:
            As `predict`, with columns (channel, alpha) for a wide frame, `CHANNEL-q0.1` for a long one.

        Raises:
            DataError: a level lies outside of the model's quantiles, or further out than held-back windows can tell.
        """
        return quantile_frame(self._state(), alpha, X)

    def predict_interval(self, coverage: float | Sequence[float] = 0.9, X: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return intervals that cover each of the `horizon` steps with a given chance, by split conformal prediction.

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
        return interval_frame(self._state(), coverage, X)

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
        return self._forecast_from(*append_new_rows(self._state(), y, X))

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
        """Return what would have been forecast at earlier times, beside what came: all cutoffs in one batched pass.

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
        return backtest_frame(
            self._state(),
            y,
            X,
            cutoffs,
            stride=stride,
            n_windows=n_windows,
            refit=self._refit if refit else None,
            verbose=self.verbose,
        )

    def score(self, y: pd.DataFrame, X: pd.DataFrame | None = None) -> float:
        """Return minus the mean squared error of every window of y, standardised as in `fit`; higher is better.

        Where y goes on from what the model has seen, as the test part of a `TimeSeriesSplit` does, its first window
        begins right there; otherwise behind the first whole context. Nothing is trained, and the model stays as it is.

        Raises:
            DataError: the frame does not fit the model, or has no window with an observed target.
        """
        return -squared_error(self._state(), y, X)

    def surprise(self, y: pd.DataFrame, X: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return how much each step teaches the memory that reads up to it; where it stands out, something is unusual.

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
        return surprise_frame(self._state(), y, X, self.verbose)

    def observe_panel(self, panel: Panel) -> Self:
        """Forecast from the end of this panel from now on; nothing is trained. Series and channels as in `fit`."""
        check_is_fitted(self, "network_")
        known = self.panel_.names, self.panel_.channels, self.panel_.freq
        if (panel.names, panel.channels, panel.freq) != known:
            raise DataError("other series, channels or frequency than the model was fitted on")
        return self._forecast_from(panel, read_values(None, panel, self.covariates_, 0) or [])

    def check(self) -> ForecastConfig:
        """Return the network that the parameters describe.

        Raises:
            DataError: a parameter cannot be used.
        """
        check_whole(1, horizon=self.horizon, context=self.context, patch=self.patch, stride=self.stride)
        self.configure(FittingConfig)
        self.configure(TrainingConfig)
        patch = int(min(self.patch, self.context))
        try:
            quantiles = None if self.quantiles is None else tuple(float(q) for q in self.quantiles)
        except (TypeError, ValueError) as error:
            raise DataError(f"quantiles must be numbers between 0 and 1, not {self.quantiles!r}") from error
        return self.configure(
            ForecastConfig,
            patch=patch,
            stride=int(min(self.stride, patch)),
            quantiles=quantiles,
            backbone=self.configure(BackboneConfig),
        )

    def fitted_config(self) -> dict[str, Any]:
        """Return channels, stamps and names of covariates."""
        return storage.to_config(self._state())

    def fitted_tensors(self) -> dict[str, Tensor]:
        """Return the ends of the series, their scale, and the calibration."""
        return storage.to_tensors(self._state())

    def restore(self, fitted: dict[str, Any], tensors: dict[str, Tensor]) -> Callable[[], ForecastNetwork]:
        """Set the fitted attributes; see `TitansEstimator.restore`."""
        config, attributes = storage.from_saved(self.check(), fitted, tensors)
        for name, value in attributes.items():
            setattr(self, name, value)
        return lambda: ForecastNetwork(config)

    def _state(self) -> ForecastState:
        """Return the fitted network and what it forecasts from; raise NotFittedError before `fit`."""
        check_is_fitted(self, "network_")
        fitted = self.panel_, self.scaling_, self.calibration_, self.covariates_, self.covariate_values_
        return ForecastState(self.network_, *fitted)

    def _refit(self, panel: Panel, covariates: Covariates | None, values: CovariateValues) -> ForecastState:
        """Fit a fresh model of the same parameters to another history."""
        fresh: Self = clone(self).set_params(verbose=False)
        return fresh.fit_panel(panel, covariates=covariates, values=values)._state()

    def _forecast_from(self, panel: Panel, values: CovariateValues) -> Self:
        """Forecast from the end of this panel from now on."""
        self.panel_, self.covariate_values_ = cut_ends(panel, values, self.context)
        return self
