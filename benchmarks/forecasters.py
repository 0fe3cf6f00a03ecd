"""`python -m benchmarks forecasters`: beside neuralforecast's PatchTST and gradient boosting (LightGBM by mlforecast).

Two tasks: ETTh1, 96 hours ahead from places in its test rows, fitted once on all before; and made-up monthly series of
many lengths and scales (level, slope, season and noise that is correlated), 12 months ahead of their ends. Titans has
its defaults. PatchTST has its defaults but for the time it may train; gradient boosting forecasts the difference to the
last season from lags. Errors are in units of those of seasonal naive within each series' history (MASE). The peers are
not installed with this package: `pip install neuralforecast mlforecast lightgbm`.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.errors import DataError
from titans_seq.pipelines.output import score_table
from titans_seq.spread import format_spread, mean_and_spread

if TYPE_CHECKING:
    import pandas as pd

SHORTEST, LONGEST = 36, 180
"""Months of a series."""


@dataclass(frozen=True)
class ForecastTask:
    """Series in one long frame, and where they are forecast from."""

    name: str
    frame: "pd.DataFrame"
    """unique_id, ds, y: everything."""
    freq: str
    horizon: int
    season: int
    windows: int
    """Forecasts of each series, a horizon apart, the last of which ends with it."""

    def known(self) -> "Iterator[pd.DataFrame]":
        """Yield what lies before each forecast."""
        place = self.frame.groupby("unique_id", observed=True).cumcount(ascending=False)
        for window in range(self.windows, 0, -1):
            yield self.frame[place >= window * self.horizon]

    @property
    def history(self) -> "pd.DataFrame":
        """Return what lies before the first forecast."""
        return next(self.known())

    def mase(self, forecast: "pd.DataFrame", column: str) -> float:
        """Return the mean over series of the absolute error in units of seasonal naive's within the history.

        Args:
            forecast: unique_id, ds and a column of forecasts.
        """
        both = self.frame.merge(forecast, on=["unique_id", "ds"], how="inner")
        if len(both) != self.windows * self.horizon * self.frame["unique_id"].nunique():
            raise DataError(f"{column} forecast {len(both)} rows of {self.name}")
        error = (both["y"] - both[column]).abs().groupby(both["unique_id"], observed=True).mean()
        past = self.history
        step = past.groupby("unique_id", observed=True)["y"].diff(self.season).abs()
        return float((error / step.groupby(past["unique_id"], observed=True).mean()).mean())


@dataclass(frozen=True, kw_only=True)
class Forecasters(BenchmarkOptions):
    """Seconds and MASE beside PatchTST and gradient boosting, on ETTh1 and on many monthly series."""

    series: int = 2000
    """Monthly series."""
    seconds: int = 120
    """That PatchTST may train."""
    seeds: int = 3
    """Runs of each."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "series", "seconds", "seeds")
        tasks: dict[str, dict[str, list[dict[str, float]]]] = {}
        for task in (read_hours(), make_months(self.series)):
            tasks[task.name] = {name: [] for name in MODELS}
            for seed in range(self.seeds):
                for name, forecast in MODELS.items():
                    started = time.perf_counter()
                    found, fitted = forecast(task, seed, self.seconds)
                    record = {
                        "seed": seed,
                        "mase": task.mase(found, "forecast"),
                        "fit_seconds": round(fitted - started, 1),
                        "predict_seconds": round(time.perf_counter() - fitted, 2),
                    }
                    tasks[task.name][name].append(record)
                    print(task.name, name, record, file=sys.stderr, flush=True)
        command = (
            f"python -m benchmarks forecasters --series {self.series} --seconds {self.seconds} --seeds {self.seeds}"
        )
        result = {"benchmark": "forecasters", "series": self.series, "tasks": tasks, "command": command, **describe()}
        write_result(self.output, "forecasters", result)
        if not self.json:
            for task_name, models in tasks.items():
                shown = {}
                for name, runs in models.items():
                    means = {key: mean_and_spread(run[key] for run in runs)[0] for key in runs[0]}
                    shown[name] = {"mase": means["mase"], "predict": means["predict_seconds"]}
                    shown[name]["seconds"] = means["fit_seconds"]
                score_table(task_name, shown, f"means over {self.seeds} seeds; seconds to fit, and to predict")
        return result


def read_hours() -> ForecastTask:
    """Return ETTh1: its channels as series, to the end of the test rows of the long-horizon protocol."""
    from benchmarks.long_horizon import read_rows

    frame, rows = read_rows("ETTh1")
    frame = frame.iloc[: sum(rows)]
    long = frame.rename_axis("ds").reset_index().melt("ds", var_name="unique_id", value_name="y")
    return ForecastTask("ETTh1, 96 ahead", long[["unique_id", "ds", "y"]], "h", 96, 24, rows[2] // 96)


def make_months(count: int) -> ForecastTask:
    """Return so many monthly series."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    frames = []
    for number in range(count):
        length = int(rng.integers(SHORTEST, LONGEST + 1))
        t = np.arange(length)
        season = np.resize(rng.normal(size=12) * rng.uniform(0, 1.5), length)
        noise = np.zeros(length)
        for i, shock in enumerate(rng.normal(size=length)):
            noise[i] = 0.6 * noise[i - 1] + shock if i else shock
        level = 10 ** rng.uniform(0, 4)
        y = level * (1 + 0.1 * (season + 0.5 * noise + rng.normal() * t / 60))
        stamps = pd.date_range("2005-01-01", periods=length, freq="MS")
        frames.append(pd.DataFrame({"unique_id": f"m{number}", "ds": stamps, "y": y}))
    return ForecastTask(f"{count:,} monthly series, 12 ahead", pd.concat(frames, ignore_index=True), "MS", 12, 12, 1)


def titans(task: ForecastTask, seed: int, seconds: int) -> "tuple[pd.DataFrame, float]":
    """Return forecasts by TitansForecaster with its defaults, and when it was fitted."""
    from titans_seq.domains.timeseries.forecaster import TitansForecaster

    wide = task.windows > 1  # channels of one series
    model = TitansForecaster(horizon=task.horizon, random_state=seed, verbose=False)
    if not wide:
        model.fit(task.history)
        fitted = time.perf_counter()
        return model.predict().rename(columns={"y": "forecast"}), fitted
    frame = task.frame.pivot(index="ds", columns="unique_id", values="y")
    begin = len(frame) - task.windows * task.horizon
    model.fit(frame.iloc[:begin])
    fitted = time.perf_counter()
    found = model.backtest(frame, cutoffs=frame.index[begin - 1 : -1 : task.horizon])
    return found.rename(columns={"channel": "unique_id"})[["unique_id", "ds", "forecast"]], fitted


def patchtst(task: ForecastTask, seed: int, seconds: int) -> "tuple[pd.DataFrame, float]":
    """Return forecasts by neuralforecast's PatchTST, and when it was fitted."""
    import pandas as pd
    from neuralforecast import NeuralForecast
    from neuralforecast.models import PatchTST

    network = PatchTST(
        h=task.horizon,
        input_size=4 * task.horizon if task.windows > 1 else 2 * task.horizon,
        scaler_type="standard" if task.windows == 1 else "identity",
        random_seed=seed,
        start_padding_enabled=True,
        max_time={"seconds": seconds},
        enable_progress_bar=False,
        logger=False,
        enable_checkpointing=False,
    )
    peer = NeuralForecast(models=[network], freq=task.freq, local_scaler_type=None if task.windows == 1 else "standard")
    peer.fit(task.history)
    fitted = time.perf_counter()
    found = pd.concat([peer.predict(df=known) for known in task.known()])
    return found.rename(columns={"PatchTST": "forecast"})[["unique_id", "ds", "forecast"]], fitted


def boosting(task: ForecastTask, seed: int, seconds: int) -> "tuple[pd.DataFrame, float]":
    """Return forecasts by gradient boosting over lags, one step after the other, and when it was fitted."""
    import pandas as pd
    from lightgbm import LGBMRegressor
    from mlforecast import MLForecast
    from mlforecast.target_transforms import Differences, LocalStandardScaler

    lags = [*range(1, task.season + 1), *((48, 168) if task.season == 24 else ())]
    peer = MLForecast(
        models={"forecast": LGBMRegressor(random_state=seed, verbosity=-1)},
        freq=task.freq,
        lags=lags,
        date_features=["hour", "dayofweek"] if task.season == 24 else ["month"],
        target_transforms=[LocalStandardScaler(), Differences([task.season])],
    )
    peer.fit(task.history)
    fitted = time.perf_counter()
    return pd.concat([peer.predict(task.horizon, new_df=known) for known in task.known()]), fitted


def naive(task: ForecastTask, seed: int, seconds: int) -> "tuple[pd.DataFrame, float]":
    """Return the last season before each forecast over and over."""
    import numpy as np
    import pandas as pd

    fitted, groups = time.perf_counter(), []
    for _, own in task.frame.groupby("unique_id", sort=False, observed=True):
        values, first = own["y"].to_numpy(), len(own) - task.windows * task.horizon
        cuts = range(first, len(own), task.horizon)
        forecast = np.concatenate([np.resize(values[cut - task.season : cut], task.horizon) for cut in cuts])
        groups.append(own.iloc[first:].assign(forecast=forecast))
    return pd.concat(groups)[["unique_id", "ds", "forecast"]], fitted


MODELS: dict[str, Callable[[ForecastTask, int, int], "tuple[pd.DataFrame, float]"]] = {
    "titans": titans,
    "LightGBM": boosting,
    "PatchTST": patchtst,
    "seasonal naive": naive,
}


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    rows = []
    for task, models in result["tasks"].items():
        cells = {}
        for name, runs in models.items():
            mase = format_spread(*mean_and_spread(run["mase"] for run in runs), 3)
            fit, predict = (mean_and_spread(run[key] for run in runs)[0] for key in ("fit_seconds", "predict_seconds"))
            cells[name] = f"{mase} ({fit:.0f} s, {predict:.1f} s)"
        own = cells.pop("titans")
        beside = ", ".join(f"{name} {cell}" for name, cell in cells.items())
        rows.append(Figure(f"{task}: MASE (seconds to fit, to predict)", own, beside))
    return rows
