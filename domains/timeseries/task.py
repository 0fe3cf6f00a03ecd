"""Training and test of forecasters on a table, for `titans-seq forecast` and for the trials of a sweep."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.domains.task import OnEpoch, Report, Task, TaskOptions
from titans_seq.errors import DataError
from titans_seq.files import digest, write_text

if TYPE_CHECKING:
    from titans_seq.domains.timeseries.evaluation import Evaluation


LONGEST = 336
"""Look-back of DLinear at the most."""


@dataclass(frozen=True, kw_only=True)
class ForecastOptions(TaskOptions):
    """Which table to read, and how far to forecast."""

    data: Path | None = None
    """CSV or Parquet file; none means the hourly weather of three New York airports."""
    horizon: int = 24
    """Steps to forecast."""
    target: tuple[str, ...] = ()
    """Columns to forecast; none means all that are not time stamps or names of series."""
    time_column: str | None = None
    """Column of time stamps; found by itself if not named."""
    id_column: str | None = None
    """Column that tells several series apart; found by itself if not named."""
    test_fraction: float = 0.2
    """Share of each series, at its end, that is held back to compare the models."""


class ForecastTask(Task):
    """A table of series whose ends are held back."""

    Options = ForecastOptions
    files = ("forecast.csv", "forecast.png", "errors.png")

    def read(self, options: ForecastOptions) -> None:
        """Read and split the data."""
        from titans_seq.domains.timeseries.panel import to_panel
        from titans_seq.domains.timeseries.table import EMBEDDED, read_table

        self.horizon = options.horizon
        source = options.data or EMBEDDED
        stamps, names = options.time_column, options.id_column
        self.frame = read_table(source, time_column=stamps, id_column=names, targets=options.target)
        self.name, self.digest = source.name, digest(source)
        self.panel = to_panel(self.frame)
        self.training = self.panel.head(1 - options.test_fraction)

    @classmethod
    def estimator(cls) -> Any:
        """Return TitansForecaster."""
        from titans_seq.domains.timeseries.forecaster import TitansForecaster

        return TitansForecaster

    def build(self, parameters: Mapping[str, Any]) -> Any:
        """Return a forecaster for the horizon of the task."""
        return super().build({"horizon": self.horizon} | dict(parameters))

    def check(self, model: Any) -> None:
        """Raise DataError if the series or their held-back ends are too short."""
        model.check()
        context, held_back = model.context or 1, self.options.test_fraction
        need = context + self.horizon
        longest = max(len(s.index) for s in self.panel.series)
        head = int(longest * (1 - held_back))
        if head < need or longest - head < self.horizon:
            least = max(-(-need / (1 - held_back)), self.horizon / held_back)
            raise DataError(
                f"the history has {longest} steps: context {context} + horizon {self.horizon}, with "
                f"{held_back:.0%} held back, need at least {int(least) + 1}: give more data or hold back another share "
                "by --test-fraction"
            )

    def fit(self, model: Any, on_epoch: OnEpoch | None = None) -> None:
        """Fit a forecaster to the series before their held-back ends."""
        model.fit_panel(self.training, on_epoch)

    def test(self, model: Any) -> dict[str, float]:
        """Return the errors over all windows of the held-back ends, standardised by the training part."""
        return asdict(self.evaluate({}, model).scores["titans"])

    def evaluate(self, networks: Mapping[str, tuple[Any, int]], model: Any) -> "Evaluation":
        """Evaluate a fitted forecaster, and networks with the steps they look back, on its scale."""
        from titans_seq.domains.timeseries.evaluation import evaluate
        from titans_seq.domains.timeseries.prepare import to_tensors

        return evaluate(
            networks,
            {"titans": model.streamed(self.panel)},
            to_tensors(self.panel),
            [len(s.index) for s in self.training.series],
            model.scaling_,
            self.horizon,
            self.season,
            self.panel.channels,
        )

    @property
    def season(self) -> int:
        """Steps of the natural season, or 1 if no series is that long."""
        shortest = min(len(s.index) for s in self.training.series)
        return self.panel.season if self.panel.season < shortest else 1

    def describe(self) -> dict[str, Any]:
        """Return name, digest and size of the table."""
        return super().describe() | {
            "target": ", ".join(self.options.target)[:250] or "all",
            "series": len(self.panel.series),
            "channels": len(self.panel.channels),
            "test_fraction": self.options.test_fraction,
        }

    def report(self, model: Any, folder: Path) -> Report:
        """Compare with DLinear, last season, last value and drift; forecast what comes next, with a picture."""
        from titans_seq.domains.timeseries.baselines import DLinear, Drift, SeasonalNaive
        from titans_seq.domains.timeseries.plots import plot_errors, plot_forecast
        from titans_seq.domains.timeseries.prepare import prepare, to_tensors
        from titans_seq.domains.timeseries.windowed import fit_network
        from titans_seq.training import TrainingConfig, temporary_seed

        series = to_tensors(self.training)
        context = min(model.look_back, LONGEST, max(len(s) for s in series) - self.horizon)
        with temporary_seed(model.random_state):
            dlinear = DLinear(context, self.horizon)
        windows = prepare(series, model.scaling_, context, self.horizon, model.validation_fraction)
        history = fit_network(
            dlinear, windows, self.horizon, TrainingConfig(random_state=model.random_state, max_epochs=6)
        )
        started = time.perf_counter()
        result = self.evaluate(
            {
                "dlinear": (dlinear, context),
                "seasonal naive": (SeasonalNaive(self.horizon, self.season), max(self.season, context)),
                "last value": (SeasonalNaive(self.horizon, 1), 1),
                "drift": (Drift(self.horizon), context),
            },
            model,
        )
        seconds = {
            "titans": model.history_.seconds,
            "dlinear": history.seconds,
        } | dict.fromkeys(("seasonal naive", "last value", "drift"), 0.0)
        forecast = model.observe_panel(self.panel).predict()
        scale, mean = model.scaling_.scale.numpy(), model.scaling_.mean.numpy()
        checks = [
            None if check is None else (check[0], check[1].T * scale[i] + mean[i])
            for i, check in enumerate(result.last["titans"])
        ]
        write_text(folder / "forecast.csv", forecast.to_csv(index=self.panel.layout == "wide"))
        plot_forecast(
            folder / "forecast.png",
            self.panel,
            list(model.predict_levels()),
            checks,
            min(model.look_back, 7 * self.horizon) + self.horizon,
            f"{self.name}: {self.horizon} steps ahead, {model.variant}",
        )
        one = self.panel.series[0].index if len(self.panel.series) == 1 else None
        plot_errors(folder / "errors.png", result, one, f"{self.name}: {result.windows:,} held-back windows")
        details = {
            "horizon": self.horizon,
            "context": model.look_back,
            "season": self.season,
            "series": len(self.panel.series),
            "channels": self.panel.channels,
            "frequency": self.panel.freq.freqstr,
            "windows": result.windows,
            "scale": "standardised by the training part",
            "mae_by_step": result.by_step,
            "per_channel": {
                name: {c: asdict(s) | {"mae_in_data_units": result.raw_mae[name][c]} for c, s in per.items()}
                for name, per in result.channels.items()
            },
            "evaluation_seconds": round(time.perf_counter() - started, 1),
        }
        scores = {name: asdict(s) | {"seconds": round(seconds[name], 1)} for name, s in result.scores.items()}
        title = f"{self.name}: {result.windows} held-back windows, {self.horizon} steps ahead"
        return Report(title=title, scores=scores, details=details)
