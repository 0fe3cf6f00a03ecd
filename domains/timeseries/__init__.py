"""Multivariate time-series forecasting."""

from typing import TYPE_CHECKING

from titans_seq.lazy import export_lazily

if TYPE_CHECKING:
    from titans_seq.domains.timeseries.datasets import load_weather
    from titans_seq.domains.timeseries.forecaster import TitansForecaster

__all__ = ["TitansForecaster", "load_weather"]

__getattr__, __dir__ = export_lazily(
    __name__,
    {
        "TitansForecaster": "titans_seq.domains.timeseries.forecaster",
        "load_weather": "titans_seq.domains.timeseries.datasets",
    },
)
