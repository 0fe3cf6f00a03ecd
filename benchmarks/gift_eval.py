"""`python -m benchmarks gift-eval`: the 23 settings of the GIFT-Eval leaderboard that ETTm1, ETTm2 and weather make up.

The series, windows and metrics are rebuilt as https://github.com/SalesforceAIResearch/gift-eval has them: the seasonal
naive forecast has the leaderboard's MASE to four digits in every setting. Its CRPS there is that of quantiles which
statsforecast gives it; they are taken from the leaderboard. A model is fitted to what lies before the
first window; then it forecasts each window and is updated with it. Figures are relative to seasonal naive; geometric
means over settings, as the leaderboard ranks.

Axes: T steps, C channels, H horizon, W windows, Q quantile levels.
"""

import csv
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.errors import DataError
from titans_seq.pipelines.output import score_table
from titans_seq.spread import format_spread, mean_and_spread

if TYPE_CHECKING:
    import pandas as pd

LEVELS = tuple(level / 10 for level in range(1, 10))
SEASONS = {"15T": 96, "10T": 144, "H": 24, "D": 1, "W": 1}
SHORT = {"15T": 48, "10T": 48, "H": 48, "D": 30, "W": 8}
TERMS = {"short": 1, "medium": 10, "long": 15}
ROWS = {"15T": 1, "10T": 1, "H": 4, "D": 96, "W": 672}
"""Rows of ETT that are summed up to one."""
Array = NDArray[np.float64]


class Setting(NamedTuple):
    """One row of the leaderboard."""

    source: str
    frequency: str
    term: str

    @property
    def horizon(self) -> int:
        """Steps of a window."""
        return SHORT[self.frequency] * TERMS[self.term]

    @property
    def name(self) -> str:
        """Name on the leaderboard."""
        return "/".join(self)


SETTINGS = [
    Setting(source, frequency, term)
    for source, frequencies in (("ett1", "15T H D W"), ("ett2", "15T H D W"), ("jena_weather", "10T H D"))
    for frequency in frequencies.split()
    for term in (["short"] if frequency in "DW" else TERMS)
]


NAIVE_CRPS = {
    "ett1/15T/short": 0.2414,
    "ett1/15T/medium": 0.3216,
    "ett1/15T/long": 0.3402,
    "ett1/H/short": 0.2404,
    "ett1/H/medium": 0.4349,
    "ett1/H/long": 0.4711,
    "ett1/D/short": 0.4084,
    "ett1/W/short": 0.3118,
    "ett2/15T/short": 0.0964,
    "ett2/15T/medium": 0.1241,
    "ett2/15T/long": 0.1328,
    "ett2/H/short": 0.089,
    "ett2/H/medium": 0.1862,
    "ett2/H/long": 0.2079,
    "ett2/D/short": 0.1533,
    "ett2/W/short": 0.1337,
    "jena_weather/10T/short": 0.1552,
    "jena_weather/10T/medium": 0.2118,
    "jena_weather/10T/long": 0.2372,
    "jena_weather/H/short": 0.1542,
    "jena_weather/H/medium": 0.3428,
    "jena_weather/H/long": 0.4191,
    "jena_weather/D/short": 0.2106,
}
"""CRPS of seasonal naive on the leaderboard, where it has quantiles of its own, by statsforecast."""


@dataclass(frozen=True, kw_only=True)
class GiftEval(BenchmarkOptions):
    """MASE and CRPS of Titans on 23 settings of GIFT-Eval, relative to seasonal naive, over several seeds."""

    seeds: int = 3
    """Runs of each setting."""
    settings: tuple[str, ...] = ()
    """Names such as ett1/H/short; none: all 23."""
    variant: str = "lmm"
    """Backbone."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        return run_gift_eval(self)


def read_setting(setting: Setting) -> "pd.DataFrame":
    """Return the series (T, C) of a setting."""
    import pandas as pd

    from titans_seq.datasets import fetch
    from titans_seq.domains.timeseries.datasets import DATASETS
    from titans_seq.domains.timeseries.table import read_csv

    name = {"ett1": "ETTm1", "ett2": "ETTm2", "jena_weather": "weather"}[setting.source]
    table = read_csv(fetch(name, DATASETS))
    frame = table.iloc[:, 1:].set_axis(pd.DatetimeIndex(pd.to_datetime(table.iloc[:, 0]), name="ds"))
    if setting.source != "jena_weather":
        size = ROWS[setting.frequency]
        count = len(frame) // size
        sums = frame.to_numpy()[: count * size].reshape(count, size, -1).sum(1)
        return pd.DataFrame(sums, index=frame.index[: count * size : size], columns=frame.columns)
    frame = frame[~frame.index.duplicated()].asfreq("10min").ffill()
    size = {"10T": 1, "H": 6, "D": 144}[setting.frequency]
    count = len(frame) // size
    means = frame.to_numpy()[: count * size].reshape(count, size, -1).mean(1)
    return pd.DataFrame(means, index=frame.index[: count * size : size], columns=frame.columns)


def cut_windows(length: int, horizon: int) -> list[int]:
    """Return the steps before each window: up to 20 of them, that do not overlap, over the last tenth."""
    count = min(20, max(1, math.ceil(0.1 * length / horizon)))
    return [length - horizon * (count - i) for i in range(count)]


def measure_errors(values: Array, cuts: list[int], forecasts: Array, season: int) -> tuple[float, float]:
    """Return MASE of the median and CRPS of forecasts (W, H, C, Q)."""
    horizon = forecasts.shape[1]
    scaled, pinball, size = [], np.zeros(len(LEVELS)), 0.0
    for cut, forecast in zip(cuts, forecasts, strict=True):
        truth, history = values[cut : cut + horizon], values[:cut]
        scaled.append(np.abs(truth - forecast[..., 4]) / np.abs(history[season:] - history[:-season]).mean(0))
        error = truth[..., None] - forecast
        pinball += 2 * np.maximum(np.array(LEVELS) * error, (np.array(LEVELS) - 1) * error).sum((0, 1))
        size += np.abs(truth).sum()
    return float(np.mean(scaled)), float(np.mean(pinball / size))


def seasonal_naive(values: Array, cuts: list[int], horizon: int, season: int) -> Array:
    """Return the last season before each window over and over, at every level, (W, H, C, Q)."""
    found = [np.resize(values[cut - season : cut], (horizon, values.shape[1])) for cut in cuts]
    return np.repeat(np.stack(found)[..., None], len(LEVELS), -1)


def forecast_windows(frame: "pd.DataFrame", cuts: list[int], horizon: int, variant: str, seed: int) -> Any:
    """Return forecasts (W, H, C, Q) by a forecaster that is fitted once and then updated, and what it took."""
    from titans_seq.domains.timeseries.forecaster import TitansForecaster

    started = time.perf_counter()
    model = TitansForecaster(horizon=horizon, variant=variant, random_state=seed)
    model.fit(frame.iloc[: cuts[0]])
    seconds, found = time.perf_counter() - started, []
    for cut in cuts:
        quantiles = model.predict_quantiles(LEVELS).to_numpy()
        found.append(quantiles.reshape(horizon, frame.shape[1], len(LEVELS)))
        model.update(frame.iloc[cut : cut + horizon])
    chosen = model.stream_.linear.config
    record = {
        "fit_seconds": round(seconds, 1),
        "all_seconds": round(time.perf_counter() - started, 1),
        "look_back": chosen.context,
        "location": chosen.location,
        "penalty": str(chosen.penalty),
        "sharing": chosen.sharing,
        "half_life": chosen.half_life,
        "learns": chosen.learns,
        "epochs": len(model.history_.validation_loss),
    }
    return np.stack(found), record


def run_gift_eval(options: GiftEval) -> dict[str, Any]:
    """Measure every setting with every seed.

    Raises:
        DataError: an unknown setting.
    """
    check_options(options, "seeds")
    known = {setting.name: setting for setting in SETTINGS}
    unknown = [name for name in options.settings if name not in known]
    if unknown:
        raise DataError(f"settings must be some of {', '.join(known)}, not {unknown[0]!r}")
    rows: list[dict[str, Any]] = []
    for setting in [known[name] for name in options.settings] or SETTINGS:
        frame, season = read_setting(setting), SEASONS[setting.frequency]
        values = frame.to_numpy(dtype=np.float64)
        cuts = cut_windows(len(frame), setting.horizon)
        naive, _ = measure_errors(values, cuts, seasonal_naive(values, cuts, setting.horizon, season), season)
        runs: list[dict[str, Any]] = []
        for seed in range(options.seeds):
            forecasts, record = forecast_windows(frame, cuts, setting.horizon, options.variant, seed)
            mase, crps = measure_errors(values, cuts, forecasts, season)
            truth = np.stack([values[cut : cut + setting.horizon] for cut in cuts])
            inside = np.mean((truth >= forecasts[..., 0]) & (truth <= forecasts[..., -1]))
            runs.append({"seed": seed, "mase": mase, "crps": crps, "coverage_80": float(inside), **record})
            print(
                setting.name,
                f"{mase / naive:.3f} {crps / NAIVE_CRPS[setting.name]:.3f}",
                record,
                file=sys.stderr,
                flush=True,
            )
        rows.append(
            {
                "setting": setting.name,
                "windows": len(cuts),
                "channels": frame.shape[1],
                "seasonal_naive": {"mase": naive, "crps": NAIVE_CRPS[setting.name]},
                "runs": runs,
            }
        )
        result = {
            "benchmark": "gift-eval",
            "variant": options.variant,
            "seeds": options.seeds,
            "settings": rows,
            "means": {group: _means(rows, group, options.seeds) for group in ("all", "ett", "jena_weather")},
            **describe(),
        }
        write_result(options.output, "gift-eval", result)  # after each setting: an hour's work is not lost
        if options.output is not None:
            write_leaderboard(options.output / "gift-eval", rows, options.variant)
    if not options.json:
        shown: dict[str, dict[str, float]] = {}
        for row in rows:
            cells: dict[str, float] = {}
            for score in ("mase", "crps"):
                cells[score] = float(np.mean([run[score] for run in row["runs"]]) / row["seasonal_naive"][score])
            shown[row["setting"]] = cells | {"seconds": float(np.mean([run["fit_seconds"] for run in row["runs"]]))}
        for group, means in result["means"].items():
            if means:
                shown[f"mean of {group}"] = {s: means[s][0] for s in ("mase", "crps")} | {"seconds": math.nan}
        score_table("GIFT-Eval, relative to seasonal naive", shown, "geometric means over settings")
    return result


def _means(rows: list[dict[str, Any]], group: str, seeds: int) -> dict[str, tuple[float, float]]:
    """Return the geometric means over settings relative to seasonal naive, their mean and spread over seeds."""
    chosen = [row for row in rows if group == "all" or row["setting"].startswith(group)]
    found = {}
    for score in ("mase", "crps") if chosen else ():
        means = [
            math.exp(np.mean([math.log(row["runs"][seed][score] / row["seasonal_naive"][score]) for row in chosen]))
            for seed in range(seeds)
        ]
        found[score] = mean_and_spread(means)
    return found


def write_leaderboard(folder: Path, rows: list[dict[str, Any]], variant: str) -> None:
    """Write all_results.csv and config.json as the leaderboard takes them, by the mean over seeds."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "all_results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        metrics = ["eval_metrics/MASE[0.5]", "eval_metrics/mean_weighted_sum_quantile_loss"]
        writer.writerow(["dataset", "model", *metrics, "domain", "num_variates"])
        for row in rows:
            means = [float(np.mean([run[score] for run in row["runs"]])) for score in ("mase", "crps")]
            domain = "Nature" if row["setting"].startswith("jena") else "Energy"
            writer.writerow([row["setting"], f"titans-seq-{variant}", *means, domain, row["channels"]])
    config = {"model": f"titans-seq-{variant}", "model_type": "deep-learning", "model_dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    rows = []
    for group, means in result["means"].items():
        if means:
            cells = ", ".join(
                f"{score.upper()} {format_spread(means[score][0], means[score][1], 3)}" for score in ("mase", "crps")
            )
            count = len([r for r in result["settings"] if group == "all" or r["setting"].startswith(group)])
            title = f"GIFT-Eval, {group}: {count} settings, geometric means relative to seasonal naive"
            rows.append(Figure(f"{title}, {result['seeds']} seeds", cells, "seasonal naive 1"))
    return rows
