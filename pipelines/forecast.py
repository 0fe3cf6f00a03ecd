"""`titans-seq forecast`: from a file to forecast.csv, forecast.png, metrics.json and a model, compared and tracked."""

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from titans_seq.errors import DataError
from titans_seq.files import digest, write_json, write_text
from titans_seq.pipelines.output import claim_folder, score_table
from titans_seq.pipelines.tracked import after_epoch, log_results, log_scores, log_training
from titans_seq.tracking import track

FILES = ("forecast.csv", "forecast.png", "metrics.json", "model")


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Fit a forecaster on a table, compare it with seasonal naive and DLinear, and forecast what comes next."""

    data: Path | None = None
    """CSV or Parquet file; none means the hourly weather of three New York airports."""
    horizon: int = 24
    """Steps to forecast."""
    context: int = 96
    """Steps a forecast is made from."""
    variant: str = "lmm"
    """Backbone."""
    target: tuple[str, ...] = ()
    """Columns to forecast; none means all that are not time stamps or names of series."""
    time_column: str | None = None
    """Column of time stamps; found by itself if not named."""
    id_column: str | None = None
    """Column that tells several series apart; found by itself if not named."""
    test_fraction: float = 0.2
    """Share of each series, at its end, that is held back to compare the models."""
    max_epochs: int = 6
    """Passes over the training data at the most."""
    max_minutes: float | None = None
    """Training time of each model at the most."""
    seed: int = 0
    """Of weights, dropout and batch order."""
    output: Path = Path("runs/forecast")
    """Folder for the results."""
    force: bool = False
    """Overwrite earlier results in the output folder."""
    tracking_uri: str | None = None
    """MLflow server or database; a file mlflow.db here if not given, `off` for none."""
    json: bool = False
    """Print the metrics as JSON on standard output instead of a table."""

    def run(self) -> dict[str, Any]:
        """Do it; returns what metrics.json holds."""
        return run_forecast(self)


def run_forecast(options: Forecast) -> dict[str, Any]:
    """Read, fit, evaluate, forecast, write and track.

    Raises:
        DataError: wrong input; nothing has been written then.
        KeyboardInterrupt: Ctrl-C; the best model so far stands in `OUTPUT/model`.
    """
    from titans_seq.domains.timeseries.baselines import DLinear, SeasonalNaive
    from titans_seq.domains.timeseries.evaluation import evaluate
    from titans_seq.domains.timeseries.fitting import fit_network
    from titans_seq.domains.timeseries.forecaster import TitansForecaster
    from titans_seq.domains.timeseries.panel import to_panel
    from titans_seq.domains.timeseries.plots import plot_forecast
    from titans_seq.domains.timeseries.prepare import prepare, tensors
    from titans_seq.domains.timeseries.table import EMBEDDED, read_table
    from titans_seq.training import temporary_seed

    for name in ("horizon", "context"):
        if getattr(options, name) < 1:
            raise DataError(f"{name} must be at least 1, not {getattr(options, name)}")
    if not 0 < options.test_fraction < 1:
        raise DataError(f"test-fraction must lie between 0 and 1, not {options.test_fraction}")
    source = options.data or EMBEDDED
    frame = read_table(source, time_column=options.time_column, id_column=options.id_column, targets=options.target)
    panel = to_panel(frame)
    _check_length(panel, options)
    model = TitansForecaster(
        options.horizon,
        options.context,
        options.variant,
        max_epochs=options.max_epochs,
        max_minutes=options.max_minutes,
        random_state=options.seed,
        verbose=sys.stderr.isatty(),
    )
    _, fitting = model.check()
    training = panel.head(1 - options.test_fraction)
    data = prepare(training, options.context, options.horizon, model.validation_fraction)
    claim_folder(options.output, FILES, options.force)
    parameters = {k: v for k, v in model.get_params().items() if k != "verbose"} | {
        "data": source.name,
        "data_digest": digest(source),
        "target": ", ".join(options.target)[:250] or "all",
        "series": len(panel.series),
        "channels": len(panel.channels),
        "test_fraction": options.test_fraction,
    }
    with track(options.tracking_uri, "forecast", source.stem, parameters) as run:
        run.data(frame, source.name)
        folder = options.output / "model"
        model.fit_panel(training, after_epoch(run, folder), data)
        with temporary_seed(options.seed):
            dlinear = DLinear(options.context, options.horizon)
        history = fit_network(dlinear, data, options.horizon, "mse", model.batch_size, fitting)
        season = panel.season if panel.season < min(len(s.index) for s in training.series) else 1
        naive = SeasonalNaive(options.horizon, season)
        started = time.perf_counter()
        result = evaluate(
            {
                "titans": (model.network_, options.context),
                "dlinear": (dlinear, options.context),
                "seasonal naive": (naive, max(season, options.context)),
            },
            tensors(panel),
            [len(s.index) for s in training.series],
            data.scaling,
            options.horizon,
            season,
            panel.channels,
        )
        seconds = {"titans": model.history_.seconds, "dlinear": history.seconds, "seasonal naive": 0.0}

        model.observe_panel(panel).save(folder)
        forecast = model.predict()
        scale, mean = data.scaling.scale.numpy(), data.scaling.mean.numpy()
        checks = [
            None if check is None else (check[0], check[1].T * scale[i] + mean[i])
            for i, check in enumerate(result.last["titans"])
        ]
        metrics = {
            "data": source.name,
            "horizon": options.horizon,
            "context": options.context,
            "season": season,
            "series": len(panel.series),
            "channels": panel.channels,
            "frequency": panel.freq.freqstr,
            "windows": result.windows,
            "scale": "standardised by the training part",
            "models": {m: asdict(s) | {"seconds": round(seconds[m], 1)} for m, s in result.scores.items()},
            "per_channel": {
                m: {c: asdict(s) | {"mae_in_data_units": result.raw_mae[m][c]} for c, s in per.items()}
                for m, per in result.channels.items()
            },
            "evaluation_seconds": round(time.perf_counter() - started, 1),
            "seed": options.seed,
        }
        write_text(options.output / "forecast.csv", forecast.to_csv(index=panel.layout == "wide"))
        plot_forecast(
            options.output / "forecast.png",
            panel,
            list(model.predict_values()),
            checks,
            options.context + options.horizon,
            f"{source.name}: {options.horizon} steps ahead, {options.variant}",
        )
        write_json(options.output / "metrics.json", metrics)
        log_training(run, model.history_)
        log_scores(run, {name: asdict(scores) for name, scores in result.scores.items()})
        log_results(run, options.output, FILES)
    if not options.json:
        score_table(
            f"{source.name}: {result.windows} held-back windows, {options.horizon} steps ahead",
            metrics["models"],  # type: ignore[arg-type]
            f"forecast.csv, forecast.png, metrics.json and the model are in {options.output}",
        )
    return metrics


def _check_length(panel: Any, options: Forecast) -> None:
    longest = max(len(s.index) for s in panel.series)
    need = options.context + options.horizon
    head, tail = (
        int(longest * (1 - options.test_fraction)),
        longest - int(longest * (1 - options.test_fraction)),
    )
    if head >= need and tail >= options.horizon:
        return
    least = max(-(-need / (1 - options.test_fraction)), options.horizon / options.test_fraction)
    raise DataError(
        f"the history has {longest} steps: context {options.context} + horizon {options.horizon}, with "
        f"{options.test_fraction:.0%} held back, need at least {int(least) + 1}"
    )
