"""The scikit-learn style forecaster. Axes: S series, C channels, L look-back, H horizon."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.timeseries import storage
from titans_seq.domains.timeseries.backtest import backtest_frame, squared_error
from titans_seq.domains.timeseries.calendars import calendar_names
from titans_seq.domains.timeseries.conformal import Calibration
from titans_seq.domains.timeseries.covariates import (
    Covariates,
    CovariateValues,
    read_covariates,
    read_values,
)
from titans_seq.domains.timeseries.fitting import FittingConfig, plan_fit
from titans_seq.domains.timeseries.inputs import ForecastState
from titans_seq.domains.timeseries.intervals import interval_frame, quantile_frame
from titans_seq.domains.timeseries.network import ForecastConfig, ForecastNetwork
from titans_seq.domains.timeseries.panel import Panel, to_panel
from titans_seq.domains.timeseries.prepare import Scaling
from titans_seq.domains.timeseries.samples import sample_frame
from titans_seq.domains.timeseries.segments import loader, shrink_correction
from titans_seq.domains.timeseries.stream import Stream
from titans_seq.domains.timeseries.surprise import surprise_frame
from titans_seq.errors import DataError
from titans_seq.estimator import TitansEstimator
from titans_seq.training import TrainingConfig, temporary_seed


class TitansForecaster(
    TitansEstimator,
    configs=(ForecastConfig, FittingConfig, BackboneConfig, TrainingConfig),
    derived=("channels", "past_features", "future_features", "calendar_features", "checkpoint_tokens"),
    defaults={
        "dim": 32,
        "heads": 2,
        "chunk_size": 16,
        "batch_size": 32,
        "learning_rate": 4e-3,
        "average": 0.98,
        "max_epochs": 15,
        "validation_fraction": 0.15,
    },
):
    """Forecast one or many series, of one or many channels each, with a Titans memory.

    Frames are wide (an index of times x channels) or long (`unique_id`, `ds` and value columns). Gaps and NaN are seen
    by the model as missing; nothing is filled in. The last part of the history validates training.

    Each channel is a stream of patches that the memory reads from the first row on; at every patch a forecast is made,
    in training too. A linear memory forecasts first, and the network corrects it and says how wide the errors are;
    what neither improves stays as a simple method has it. `update` moves both memories on.

    Attributes:
        history_: losses per epoch and seconds.
        network_: the trained network.
        calibration_: errors on the part of the history that validates.
        covariates_: names and scale of the covariates; None if there are none.
        stream_: what the memories know; its `linear.config` is what the data chose.

    Examples:
        >>> import numpy as np, pandas as pd
        >>> days = pd.date_range("2024-01-01", periods=200, freq="D")
        >>> wave = np.sin(np.arange(200) * 2 * np.pi / 7)
        >>> y = pd.DataFrame({"a": wave, "b": 2 * wave}, index=days)
        >>> model = TitansForecaster(horizon=7, max_epochs=1).fit(y)
        >>> model.predict().shape
        (7, 2)
    """

    Fitted = storage.FittedForecaster

    network_: ForecastNetwork
    panel_: Panel
    offsets_: Tensor
    stream_: Stream
    scaling_: Scaling
    calibration_: Calibration | None
    covariates_: Covariates | None
    covariate_values_: CovariateValues
    calendar_: tuple[str, ...]

    if TYPE_CHECKING:
        horizon: int
        context: int | None
        patch: int | None
        quantiles: Sequence[float] | None
        future_covariates: Sequence[str] | None
        calendar: bool | str | Sequence[str]
        learn: bool | None
        steps_per_epoch: int

    def fit(
        self,
        y: pd.DataFrame,
        X: pd.DataFrame | None = None,
        on_epoch: Callable[[Self, bool], object] | None = None,
        *,
        static: pd.DataFrame | None = None,
    ) -> Self:
        """Learn from the history.

        Args:
            y: wide (an index of times, periods or whole numbers x channels) or long (`unique_id`, `ds`, channels), of
                pandas, polars or pyarrow.
            X: covariates in the same layout, on the same steps; NaN, or no row, where missing. Columns of text, or of
                pandas' category, become one column for each of their values.
            on_epoch: called after each epoch with this model, fitted as far as it is, and whether the epoch was the
                best so far.
            static: what does not change within a series of a long frame, one row for each: `unique_id` as its index
                or a column, and columns of numbers or text.

        Raises:
            DataError: a frame or a parameter cannot be used; the message says why.
            KeyboardInterrupt: after Ctrl-C; the model is then fitted with the best weights so far, if there are any.
        """
        return self.fit_panel(to_panel(y), on_epoch, X=X, static=static)

    def fit_panel(
        self,
        panel: Panel,
        on_epoch: Callable[[Self, bool], object] | None = None,
        *,
        X: pd.DataFrame | None = None,
        static: pd.DataFrame | None = None,
        covariates: Covariates | None = None,
        values: CovariateValues | None = None,
    ) -> Self:
        """Fit to a panel.

        Args:
            on_epoch: see `fit`.
            X, static: see `fit`.
            covariates: the covariates that `read_covariates` read from X, and their values; None reads them
                here.
            values: values of these covariates.
        """
        config, training = self.check(), self.configure(TrainingConfig)
        if covariates is None:
            covariates, values = read_covariates(X, panel, config.horizon, self.future_covariates, static)
        values, calendar = values or [], calendar_names(self.calendar, panel)
        plan = plan_fit(config, training, panel, covariates, values, calendar, self.learn)
        with temporary_seed(training.random_state):
            network = ForecastNetwork(plan.config)
        series = len(panel.series)
        self.train_network(
            network,
            plan.loss,
            plan.batches(training, int(self.steps_per_epoch)),
            loader(plan.validation),
            on_epoch,
            keep_start=True,
            panel_=panel,
            offsets_=torch.zeros(series, dtype=torch.long),
            stream_=Stream.begin(plan.memory, int(plan.loss.table.lengths.max()), series),
            scaling_=plan.scaling,
            calibration_=None,
            covariates_=covariates,
            covariate_values_=values,
            calendar_=calendar,
        )
        errors = shrink_correction(network, plan.loss, plan.validation, plan.margin)
        self.calibration_ = Calibration.from_errors(errors, network.config.levels)
        return self._take(self._state().read())

    def predict(self, X: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the `horizon` steps behind each series, in the layout of the frame that `fit` saw.

        Args:
            X: for a model with `future_covariates`, their values at these steps, in the layout of y.

        Raises:
            DataError: a value that is to be known ahead is missing, or X was not to be given.
            sklearn.exceptions.NotFittedError: `fit` has not been called.
        """
        values, panel = self.predict_values(X), self.panel_
        stamps = [panel.future(s.index, self.network_.config.horizon) for s in panel.series]
        return panel.frame(panel.names, stamps, list(values))

    def predict_values(self, X: pd.DataFrame | None = None) -> NDArray[np.float32]:
        """Return the forecast as an array (S, H, C)."""
        values: NDArray[np.float32] = self._state().forecast(X).numpy()
        return values

    def predict_levels(self, X: pd.DataFrame | None = None) -> NDArray[np.float32]:
        """Return the forecast at each trained level, rising, as an array (S, H, C, Q)."""
        values: NDArray[np.float32] = self._state().quantiles(X).numpy()
        return values

    def predict_quantiles(
        self, alpha: float | Sequence[float] = (0.1, 0.5, 0.9), X: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """Return quantiles of each of the `horizon` steps; they never cross.

        The model's own `quantiles`, in between by linear interpolation; a model without any adds the quantiles of its
        errors on the part of the history that validates, per channel and step.

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
        show it is needed. The guarantee is for windows that are exchangeable with those;
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

    def predict_samples(self, count: int = 100, X: pd.DataFrame | None = None, seed: int = 0) -> pd.DataFrame:
        """Return paths that may come; steps and channels move together as the errors of held-back windows did.

        Values are those of the trained quantiles, with the tails of a normal distribution; a model without any adds
        the errors of held-back windows.

        Args:
            count: paths.
            seed: of what is drawn.

        Returns:
            As `predict`, with columns (channel, number from 1 on) for a wide frame, `CHANNEL-sample-1` for a long one.

        Raises:
            DataError: there are no held-back windows.
        """
        return sample_frame(self._state(), count, X, seed)

    def update(self, y: pd.DataFrame, X: pd.DataFrame | None = None) -> Self:
        """Take in the rows that follow what is known; the next forecast starts behind them. No gradient training.

        The memories go on: the neural memory reads the new rows, and the linear one, if it `learn`s, is taught what
        followed earlier ones. Time and size do not depend on how much went before, and the forecast not on the pieces
        in which the rows came. The network's weights, scaling and calibration stay those of `fit`.

        Args:
            y: a frame in the layout of `fit`, one row or more a series; long frames may leave series out. Steps without
                any value are rows of NaN.
            X: for a model that was fitted with X, its columns at the same steps.

        Raises:
            DataError: the rows are not in order, overlap with what is known, leave steps out, or are of an unknown
                series, other channels, another frequency or time zone; nothing is taken in then.
        """
        return self._take(self._state().moved_on(y, X))

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

        The norm of the gradient of the memory's loss (equation 16 of arXiv 2501.00663) at the token that reads a step,
        the mean over heads and blocks. A token spans `patch` steps, which share it: fit with a `patch` of 1 to tell
        each one apart. The gradient is taken at the start of the token's chunk: fit with a `chunk_size` of 1 for a
        memory that knows all that came before.

        Args:
            y: a history in the layout of `fit`, of any of its series; it does not change the model.
            X: for a model that was fitted with X, its columns at the same steps.

        Returns:
            A frame like y, in order of time, without unit; NaN where y is missing, and behind the last whole token.

        Raises:
            DataError: the variant has no memory, the frame does not fit the model, or is shorter than a token.
        """
        return surprise_frame(self._state(), y, X)

    def observe_rows(self, new: Panel) -> Self:
        """Take in rows that follow what is known of some series, as `update` does; they are not checked."""
        return self._take(self._state().with_rows(new, read_values(None, new, self.covariates_, 0)))

    def observe_panel(self, panel: Panel) -> Self:
        """Forecast from the end of this panel from now on; nothing is trained. Series and channels as in `fit`."""
        check_is_fitted(self, "network_")
        known = self.panel_.names, self.panel_.channels, self.panel_.freq
        if (panel.names, panel.channels, panel.freq) != known:
            raise DataError("other series, channels or frequency than the model was fitted on")
        state = self._state()
        values = read_values(None, panel, self.covariates_, 0) or []
        offsets = torch.zeros(len(panel.series), dtype=torch.long)
        fresh = replace(state, panel=panel, covariate_values=values, stream=state.anew(panel), offsets=offsets)
        return self._take(fresh.read())

    @property
    def look_back(self) -> int:
        """Steps that a forecast is normalised by and that the linear memory reads: `context`, or what was chosen."""
        return self._state().context

    def streamed(self, panel: Panel) -> Callable[[int, Tensor], NDArray[np.float32]]:
        """Return a function of the number of a series and the rows (W,) seen: forecasts (W, C, H), scaled."""
        state = self._state()

        def forecast(place: int, seen: Tensor) -> NDArray[np.float32]:
            found: NDArray[np.float32] = state.middle_at(panel.only(place), None, seen).numpy()
            return found

        return forecast

    def check(self) -> ForecastConfig:
        """Return the network that the parameters describe.

        Raises:
            DataError: a parameter cannot be used.
        """
        self.configure(FittingConfig)
        self.configure(TrainingConfig)
        try:
            quantiles = None if self.quantiles is None else tuple(float(q) for q in self.quantiles)
        except (TypeError, ValueError) as error:
            raise DataError(f"quantiles must be numbers between 0 and 1, not {self.quantiles!r}") from error
        return self.configure(ForecastConfig, quantiles=quantiles, backbone=self.configure(BackboneConfig))

    def fitted_config(self) -> dict[str, Any]:
        """Return channels, stamps and names of covariates."""
        return storage.to_config(self._state())

    def fitted_tensors(self) -> dict[str, Tensor]:
        """Return the ends of the series, their scale, and the calibration."""
        return storage.to_tensors(self._state())

    def restore(self, fitted: storage.FittedForecaster, tensors: dict[str, Tensor]) -> Callable[[], ForecastNetwork]:
        """Set the fitted attributes; see `TitansEstimator.restore`."""
        config, attributes = storage.from_saved(self.check(), fitted, tensors)
        for name, value in attributes.items():
            setattr(self, name, value)
        return lambda: ForecastNetwork(config)

    def _state(self) -> ForecastState:
        """Return the fitted network and what it forecasts from; raise NotFittedError before `fit`."""
        check_is_fitted(self, "network_")
        return ForecastState(
            self.network_,
            self.panel_,
            self.offsets_,
            self.stream_,
            self.scaling_,
            self.calibration_,
            self.covariates_,
            self.covariate_values_,
            self.calendar_,
        )

    def _refit(self, panel: Panel, covariates: Covariates | None, values: CovariateValues) -> ForecastState:
        """Fit a fresh model of the same parameters to another history."""
        fresh: Self = clone(self).set_params(verbose=False)
        return fresh.fit_panel(panel, covariates=covariates, values=values)._state()

    def _take(self, state: ForecastState) -> Self:
        """Forecast from another state from now on."""
        self.panel_, self.offsets_, self.stream_ = state.panel, state.offsets, state.stream
        self.covariate_values_ = state.covariate_values
        return self
