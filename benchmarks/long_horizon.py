"""`python -m benchmarks long-horizon`: the protocol of the long-horizon forecasting papers, to the letter.

Rows are split as the papers do; validation and test begin `context` rows early; values are standardised by the
training rows; every window counts (stride 1, none dropped); errors are on standardised values.
"""

import math
import sys
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.errors import DataError
from titans_seq.pipelines.output import score_table
from titans_seq.spread import format_spread, mean_and_spread


@dataclass(frozen=True, kw_only=True)
class LongHorizon(BenchmarkOptions):
    """Mean test errors of Titans, DLinear and seasonal naive over several seeds, in one run."""

    dataset: str = "ETTh1"
    """As `titans-seq data list` shows it."""
    context: int = 96
    """Look-back; 96 is the common table of the papers."""
    horizon: int = 96
    """96, 192, 336 or 720 in the papers."""
    seeds: int = 3
    """Runs."""
    seed: int = 0
    """Of the first run; the next one has the next."""
    variant: str = "lmm"
    """Backbone."""
    max_epochs: int = 6
    """Passes over the training windows at the most."""

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

    from titans_seq.datasets import fetch
    from titans_seq.domains.timeseries.baselines import DLinear, SeasonalNaive
    from titans_seq.domains.timeseries.datasets import DATASETS
    from titans_seq.domains.timeseries.evaluation import evaluate
    from titans_seq.domains.timeseries.fitting import fit_network
    from titans_seq.domains.timeseries.forecaster import TitansForecaster
    from titans_seq.domains.timeseries.frequency import natural_season
    from titans_seq.domains.timeseries.network import ForecastNetwork
    from titans_seq.domains.timeseries.prepare import Scaling, TrainingWindows
    from titans_seq.domains.timeseries.table import read_csv
    from titans_seq.domains.timeseries.windows import Windows
    from titans_seq.training import TrainingConfig, temporary_seed

    check_options(options, "context", "horizon", "seeds")
    parameters = {name: getattr(options, name) for name in ("horizon", "context", "variant", "max_epochs")}
    TitansForecaster(**parameters).check()
    frame = read_csv(fetch(options.dataset, DATASETS))
    table = frame.iloc[:, 1:]
    values = torch.tensor(table.to_numpy(dtype="float32"))
    rows = DATASETS[options.dataset].rows or _shares(len(values))
    train_end, validation_end, test_end = np.cumsum(rows)
    context, horizon = options.context, options.horizon
    need = context + horizon
    if min(rows[0], rows[1] + context, rows[2] + context) < need:
        raise DataError(f"{options.dataset} has splits of {rows} rows: too few for {context} + {horizon} steps")
    scaling = Scaling.from_series([values[:train_end]])
    (scaled,) = scaling.apply([values])
    data = TrainingWindows(
        Windows([scaled[:train_end]], need, horizon),
        Windows([scaled[train_end - context : validation_end]], need, horizon),
        scaling,
    )
    stamps = _stamps(frame)
    season = natural_season(stamps)
    if season > context:
        season = 1
    results: dict[str, list[dict[str, Any]]] = {"titans": [], "dlinear": [], "seasonal naive": []}
    windows = 0
    for seed in range(options.seed, options.seed + options.seeds):
        model = TitansForecaster(**parameters, random_state=seed, verbose=sys.stderr.isatty())
        shape, config = model.check(), model.configure(TrainingConfig)
        with temporary_seed(seed):
            titans = ForecastNetwork(shape)
        with temporary_seed(seed):
            dlinear = DLinear(context, horizon)
        runs = {
            "titans": fit_network(titans, data, horizon, model.loss, config),
            "dlinear": fit_network(dlinear, data, horizon, "mse", config),
        }
        models = {"titans": titans, "dlinear": dlinear, "seasonal naive": SeasonalNaive(horizon, season)}
        evaluation = evaluate(
            {name: (network, context) for name, network in models.items()},
            [values[:test_end]],
            [int(validation_end)],
            scaling,
            horizon,
            season,
            [str(c) for c in table.columns],
        )
        windows = evaluation.windows
        for name in models:
            seconds = runs[name].seconds if name in runs else 0.0
            record: dict[str, Any] = {
                "seed": seed,
                **asdict(evaluation.scores[name]),
                "seconds": round(seconds, 1),
            }
            if name in runs:
                record |= {
                    "validation_mse": min(runs[name].validation_loss),
                    "best_epoch": runs[name].best_epoch,
                }
            record["per_channel_mse"] = {c: s.mse for c, s in evaluation.channels[name].items()}
            record["per_channel_mae_in_data_units"] = evaluation.raw_mae[name]
            results[name].append(record)
    summary = {name: _summary(records) for name, records in results.items()}
    result = {
        "benchmark": "long-horizon",
        "dataset": options.dataset,
        "context": context,
        "horizon": horizon,
        "windows": {"train": len(data.train), "validation": len(data.validation), "test": windows},
        "season": season,
        "parameters": model.get_params(),
        "summary": summary,
        "runs": results,
        **describe(),
    }
    write_result(options.output, f"long-horizon-{options.dataset}-{context}-{horizon}", result)
    if not options.json:
        shown = {
            m: {k: v for k, v in s.items() if k in ("mse", "mse_std", "mae", "mae_std", "seconds")}
            for m, s in summary.items()
        }
        score_table(
            f"{options.dataset}, {context} steps back, {horizon} ahead, {options.seeds} seeds, {windows} test windows",
            shown,
            "means over seeds and their standard deviations; seconds to train, per seed",
        )
    return result


def _summary(records: list[dict[str, Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for key in ("mse", "mae", "mase", "seconds"):
        found[key], found[f"{key}_std"] = mean_and_spread(record[key] for record in records)
    return found


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    found = {name: _summary(records) for name, records in result["runs"].items()}
    where = f"{result['dataset']}, {result['context']} steps back, {result['horizon']} ahead"
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


def _shares(rows: int) -> tuple[int, int, int]:
    train, test = int(0.7 * rows), int(0.2 * rows)
    return train, rows - train - test, test


def _stamps(frame: Any) -> Any:
    """Return the frequency of the file's first stamps."""
    import pandas as pd
    from pandas.tseries.frequencies import to_offset

    first = pd.to_datetime(frame.iloc[:3, 0])
    return to_offset(first.iloc[1] - first.iloc[0])
