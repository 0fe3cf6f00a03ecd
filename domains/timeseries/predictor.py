"""Forecasts of a saved model, for files and tables."""

import copy
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from titans_seq.domains.predictor import Predictor
from titans_seq.domains.timeseries.forecaster import TitansForecaster
from titans_seq.domains.timeseries.observe import align_to_grid
from titans_seq.domains.timeseries.panel import ID, TIME
from titans_seq.domains.timeseries.table import read_table, shape_table
from titans_seq.errors import TitansSeqWarning


class ForecastPredictor(Predictor):
    """Forecast the steps behind a history, of each series that it holds."""

    def __init__(self, folder: Path) -> None:
        self.model = TitansForecaster.load(folder)

    def from_file(self, path: Path) -> Any:
        """Return the history that a table file holds."""
        channels = self.model.panel_.channels
        return self._in_zone(read_table(path, time_column=self._time_column, targets=channels))

    def from_table(self, table: pd.DataFrame) -> Any:
        """Return the history that a table holds."""
        channels = self.model.panel_.channels
        return self._in_zone(shape_table(table, "the table", time_column=self._time_column, targets=channels))

    def predict(self, question: Any) -> pd.DataFrame:
        """Return the forecast behind a history, in the layout of the frame that the model was fitted on."""
        known = self.model.panel_
        given = {s.name: s for s in align_to_grid(known, question).series}
        shortest = min(len(s.index) for s in given.values())
        if shortest < self.model.context:
            warnings.warn(
                f"the history has {shortest} steps, the model looks back on {self.model.context}: the earlier ones "
                "count as missing",
                TitansSeqWarning,
                stacklevel=2,
            )
        whole = replace(known, series=[given.get(s.name, s) for s in known.series])
        forecast = copy.copy(self.model).observe_panel(whole).predict()
        if known.layout == "wide":
            return forecast.reset_index(names=self._time_column or TIME)
        return forecast[forecast[ID].isin(list(given))].reset_index(drop=True)

    def example(self) -> pd.DataFrame:
        """Return the ends of up to two series that the model was fitted on, time stamps as text."""
        panel = self.model.panel_
        series = panel.series[:2]
        frame = panel.frame([s.name for s in series], [s.index for s in series], [s.values for s in series])
        name = TIME if panel.layout == "long" else self._time_column or TIME
        if panel.layout == "wide":
            frame = frame.reset_index(names=name)
        if frame[name].dt.tz is not None:
            frame[name] = frame[name].dt.tz_convert("UTC")
        return frame.astype({name: str} | dict.fromkeys(panel.channels, "float64"))

    @property
    def _time_column(self) -> str | None:
        """Name of the column of time stamps of a wide table; None to find it."""
        panel = self.model.panel_
        name = panel.series[0].index.name
        return None if name is None or panel.layout == "long" else str(name)

    def _in_zone(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the same moments in the time zone that the model was fitted in."""
        zone = self.model.panel_.series[0].index.tz
        if ID in frame and TIME in frame:
            stamps = frame[TIME].dt
            return frame.assign(**{TIME: stamps.tz_convert(zone)}) if zone and stamps.tz else frame
        return frame.tz_convert(zone) if zone and frame.index.tz else frame  # type: ignore[attr-defined]
