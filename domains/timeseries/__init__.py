"""Multivariate time-series forecasting."""

from titans_seq.domains.timeseries.forecaster import TitansForecaster

__all__ = ["TitansForecaster"]
