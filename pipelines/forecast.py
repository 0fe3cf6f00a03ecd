"""`titans-seq forecast`: from a table to a forecast, a picture, metrics and a model, compared and tracked."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from titans_seq.domains.timeseries.task import ForecastOptions
from titans_seq.pipelines.train import TrainingCommand


@dataclass(frozen=True, kw_only=True)
class Forecast(ForecastOptions, TrainingCommand):
    """Fit a forecaster on a table, compare it with simple methods, and forecast what comes next."""

    domain: ClassVar[str] = "timeseries"
    experiment: ClassVar[str] = "forecast"

    context: int | None = None
    """Steps a forecast is made from."""
    output: Path = Path("runs/forecast")
    """Folder for the results."""
