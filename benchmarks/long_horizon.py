"""`python -m benchmarks long-horizon`: the protocol of the long-horizon forecasting papers, to the letter.

Rows are split as the papers do; values are standardised by the training rows; every window counts (stride 1, none
dropped); errors are on standardised values. Without `context`, the forecaster reads the whole history as a stream and
chooses its look-back ("tuned look-back" in the papers' tables); with it, it forecasts each window from that many rows
and nothing else.

Axes: T rows, C channels, H horizon, W windows.
"""

import math
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.errors import DataError
from titans_seq.pipelines.output import score_table
from titans_seq.spread import format_spread, mean_and_spread

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from titans_seq.domains.timeseries.forecaster import TitansForecaster

BASELINE_CONTEXT = 336
"""Look-back of DLinear beside a stream."""
DLINEAR_EPOCHS = 6
BATCH = 128
"""Windows at a time."""


@dataclass(frozen=True, kw_only=True)
class LongHorizon(BenchmarkOptions):
    """Mean test errors of Titans, DLinear and seasonal naive over several seeds, in one run."""

    dataset: str = "ETTh1"
    """As `titans-seq data list` shows it."""
    context: int | None = None
    """Rows that each window is forecast from, 96 in the common table of the papers; none: the whole history."""
    horizon: int = 96
    """96, 192, 336 or 720 in the papers."""
    seeds: int = 3
    """Runs."""
    seed: int = 0
    """Of the first run; the next one has the next."""
    variant: str = "lmm"
    """Backbone."""
    max_epochs: int | None = None
    """Passes over the training data at the most, for a trial; none: the forecaster's default, and 6 of DLinear."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        return run_long_horizon(self)


def run_long_horizon(options: LongHorizon) -> dict[str, Any]:
    """Train every model with every seed and report each run, means and spreads.

    Raises:
        DataError: unknown data set, or too short for the windows asked for.
    """
    import numpy as np
    import torch

    from titans_seq.domains.timeseries.baselines import DLinear, SeasonalNaive
    from titans_seq.domains.timeseries.forecaster import TitansForecaster
    from titans_seq.domains.timeseries.metrics import Scores, seasonal_naive_error
    from titans_seq.domains.timeseries.panel import to_panel
    from titans_seq.domains.timeseries.prepare import Scaling, TrainingWindows
    from titans_seq.domains.timeseries.windowed import fit_network, roll
    from titans_seq.domains.timeseries.windows import Windows
    from titans_seq.training import TrainingConfig, temporary_seed

    check_options(options, "horizon", "seeds")
    check_options(options, *(name for name in ("context", "max_epochs") if getattr(options, name) is not None))
    TitansForecaster(horizon=options.horizon, context=options.context, variant=options.variant).check()
    frame, rows = read_rows(options.dataset)
    train_end, validation_end, test_end = (int(end) for end in np.cumsum(rows))
    context, horizon = options.context or BASELINE_CONTEXT, options.horizon
    need = context + horizon
    if min(rows[0], rows[1] + context, rows[2] + context) < need:
        raise DataError(f"{options.dataset} has splits of {rows} rows: too few for {context} + {horizon} steps")
    season = to_panel(frame.iloc[:100]).season
    season = season if season <= context else 1
    values = torch.tensor(frame.to_numpy(dtype="float32"))
    scaling = Scaling.from_series([values[:train_end]], robust=False)
    (scaled,) = scaling.apply([values])
    data = TrainingWindows(
        Windows([scaled[:train_end]], need, horizon),
        Windows([scaled[train_end - context : validation_end]], need, horizon),
        scaling,
    )
    test = Windows([scaled[validation_end - context : test_end]], need, horizon)
    target = test.targets(horizon)
    seen = validation_end + test.starts
    unit = np.broadcast_to(seasonal_naive_error(scaled[:train_end].numpy(), season), target.shape[:2])
    results: dict[str, list[dict[str, Any]]] = {"titans": [], "dlinear": [], "seasonal naive": []}

    def record(name: str, seed: int, forecast: "NDArray[np.float32]", seconds: float, **more: Any) -> None:
        scores = Scores.from_forecasts(target, forecast, unit)
        error = np.abs(forecast - target)
        channels = frame.columns
        results[name].append(
            {
                "seed": seed,
                **asdict(scores),
                "seconds": round(seconds, 1),
                **more,
                "per_channel_mse": dict(zip(channels, (error**2).mean((0, 2)).tolist(), strict=True)),
                "per_channel_mae_in_data_units": dict(
                    zip(channels, (error.mean((0, 2)) * scaling.scale[0].numpy()).tolist(), strict=True)
                ),
            }
        )

    for seed in range(options.seed, options.seed + options.seeds):
        model, seconds = fit(frame.iloc[:validation_end], rows, options, seed)
        forecast = forecast_rows(model, frame.iloc[:test_end], seen, options.context, scaling)
        chosen = asdict(model.stream_.linear.config)
        record("titans", seed, forecast, seconds, chosen={name: str(value) for name, value in chosen.items()})
        with temporary_seed(seed):
            dlinear = DLinear(context, horizon)
        config = TrainingConfig(random_state=seed, max_epochs=options.max_epochs or DLINEAR_EPOCHS)
        history = fit_network(dlinear, data, horizon, config)
        record("dlinear", seed, roll(dlinear, test, horizon), history.seconds)
        record("seasonal naive", seed, roll(SeasonalNaive(horizon, season), test, horizon), 0.0)
        last = {name: round(runs[-1]["mse"], 4) for name, runs in results.items()}
        print(options.dataset, horizon, "seed", seed, last, f"{seconds:.0f} s", file=sys.stderr, flush=True)
    summary = {name: _summary(records) for name, records in results.items()}
    result = {
        "benchmark": "long-horizon",
        "dataset": options.dataset,
        "context": options.context,
        "horizon": horizon,
        "windows": {"train": len(data.train), "validation": len(data.validation), "test": len(test)},
        "season": season,
        "parameters": model.get_params(),
        "summary": summary,
        "runs": results,
        "command": _command(options),
        **describe(),
    }
    back = options.context or "stream"
    variant = "" if options.variant == "lmm" else f"-{options.variant}"
    write_result(options.output, f"long-horizon-{options.dataset}-{back}-{horizon}{variant}", result)
    if not options.json:
        shown = {
            m: {k: v for k, v in s.items() if k in ("mse", "mse_std", "mae", "mae_std", "seconds")}
            for m, s in summary.items()
        }
        score_table(
            f"{options.dataset}, {back} back, {horizon} ahead, {options.seeds} seeds, {len(test)} test windows",
            shown,
            "means over seeds and their standard deviations; seconds to train, per seed",
        )
    return result


def read_rows(dataset: str) -> "tuple[pd.DataFrame, tuple[int, int, int]]":
    """Return the rows (T, C) of a data set, and how many of them train, validate and test."""
    import pandas as pd

    from titans_seq.datasets import fetch
    from titans_seq.domains.timeseries.datasets import DATASETS
    from titans_seq.domains.timeseries.table import read_csv

    table = read_csv(fetch(dataset, DATASETS))
    stamps = pd.DatetimeIndex(pd.to_datetime(table.iloc[:, 0]))
    if not stamps.is_unique:  # the papers count rows, whatever their stamps
        stamps = pd.date_range(stamps[0], periods=len(table), freq=stamps[1] - stamps[0])
    frame = table.iloc[:, 1:].set_axis(stamps.rename("date"))
    train, test = int(0.7 * len(frame)), int(0.2 * len(frame))
    return frame, DATASETS[dataset].rows or (train, len(frame) - train - test, test)


def fit(
    history: "pd.DataFrame", rows: tuple[int, int, int], options: LongHorizon, seed: int
) -> "tuple[TitansForecaster, float]":
    """Return a forecaster that the training rows trained and the others validated, and the seconds it took."""
    from titans_seq.domains.timeseries.forecaster import TitansForecaster

    started = time.perf_counter()
    more = {} if options.max_epochs is None else {"max_epochs": options.max_epochs}
    model = TitansForecaster(
        horizon=options.horizon,
        context=options.context,
        variant=options.variant,
        validation_fraction=rows[1] / (rows[0] + rows[1]),
        learn=None if options.context is None else False,
        random_state=seed,
        **more,
    ).fit(history)
    return model, time.perf_counter() - started


def forecast_rows(
    model: "TitansForecaster", frame: "pd.DataFrame", seen: Any, context: int | None, scaling: Any
) -> Any:
    """Return forecasts (W, C, H), standardised, after `seen` (W,) rows: of a stream, or of windows that begin anew."""
    import torch

    from titans_seq.domains.timeseries.calendars import calendar_features
    from titans_seq.domains.timeseries.panel import to_panel
    from titans_seq.domains.timeseries.prepare import to_tensors
    from titans_seq.domains.timeseries.stream import Streamer
    from titans_seq.domains.timeseries.tokens import Table

    panel, own = to_panel(frame), model.scaling_
    if context is None:
        found = torch.from_numpy(model.streamed(panel)(0, seen))
    else:
        state = model._state()
        (values,) = own.apply(to_tensors(panel))
        stamps = torch.from_numpy(calendar_features(panel.series[0].index, state.calendar))
        windows, calendar = (v.unfold(0, context, 1)[seen - context].mT for v in (values, stamps))
        parts = []
        for part, own_stamps in zip(windows.split(BATCH), calendar.split(BATCH), strict=True):
            horizon = state.config.horizon
            table = Table(list(part), state.reader.front, horizon, calendar=list(own_stamps))
            nothing = torch.zeros(len(part), dtype=torch.long)
            streamer = Streamer(state.network, state.reader, table, nothing)
            whole = torch.full_like(nothing, context)
            fresh = state.anew(panel)
            fresh = type(fresh)(None, nothing, fresh.linear, fresh.written, fresh.weights)
            parts += streamer.run(fresh, list(whole.split(1)), whole)[1]
        found = torch.cat(parts)[..., state.config.levels.index(0.5)]
    raw = found * own.scale.unsqueeze(-1) + own.mean.unsqueeze(-1)
    return ((raw - scaling.mean.unsqueeze(-1)) / scaling.scale.unsqueeze(-1)).numpy()


def _command(options: LongHorizon) -> str:
    """Return the command of a run."""
    asked = {"dataset": options.dataset, "horizon": options.horizon, "context": options.context}
    asked["max-epochs"] = options.max_epochs
    asked |= {} if options.variant == "lmm" else {"variant": options.variant}
    words = [f"--{name} {value}" for name, value in asked.items() if value is not None]
    return f"python -m benchmarks long-horizon {' '.join(words)} --seeds {options.seeds}"


def _summary(records: list[dict[str, Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for key in ("mse", "mae", "mase", "seconds"):
        found[key], found[f"{key}_std"] = mean_and_spread(record[key] for record in records)
    return found


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    found = {name: _summary(records) for name, records in result["runs"].items()}
    back = f"{result['context']} steps back" if result["context"] else "streamed"
    variant = result["parameters"].get("variant", "lmm")
    other = "" if variant == "lmm" else f", variant {variant}"
    where = f"{result['dataset']}, {back}, {result['horizon']} ahead{other}"
    seeds = len(result["runs"]["titans"])
    rows = []
    for score in ("mse", "mae"):
        cells = {name: format_spread(of[score], of[f"{score}_std"], 4) for name, of in found.items()}
        cells["seasonal naive"] = format_spread(found["seasonal naive"][score], math.nan, 4)
        beside = f"DLinear {cells['dlinear']}, seasonal naive {cells['seasonal naive']}"
        rows.append(Figure(f"{where}, test {score.upper()}, {seeds} seeds", cells["titans"], beside))
    seconds = {name: [f"{record['seconds']:.0f}" for record in records] for name, records in result["runs"].items()}
    rows.append(
        Figure(
            f"{where}, seconds to train, each seed",
            ", ".join(seconds["titans"]),
            f"DLinear {', '.join(seconds['dlinear'])}",
        )
    )
    return rows
