"""Forecasts of a saved model, for files and tables."""

import copy
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from titans_seq.domains.predictor import Predictor
from titans_seq.domains.timeseries.forecaster import TitansForecaster
from titans_seq.domains.timeseries.observe import align_to_grid
from titans_seq.domains.timeseries.panel import ID, TIME, Series
from titans_seq.domains.timeseries.table import read_table, shape_table
from titans_seq.errors import DataError, TitansSeqWarning


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
        """Return the forecast behind a history, in the layout of the frame that the model was fitted on.

        A history that holds the last step the model knows, and differs from none of those it keeps, is gone on from
        there, with all that the memories know; any other is read as if nothing were known.
        """
        known = self.model.panel_
        given = {s.name: s for s in align_to_grid(known, question).series}
        model = copy.copy(self.model)
        silent: dict[str, list[int]] = {}
        new = [_rows_behind(s, given[s.name]) for s in known.series if s.name in given]
        if all(series is not None for series in new):
            model.observe_rows(replace(known, series=[s for s in new if s is not None and len(s.index)]))
        else:
            silent = _silent_channels(given.values(), known.channels)
            shortest = min(len(s.index) for s in given.values())
            if shortest < self.model.look_back:
                warnings.warn(
                    f"the history has {shortest} steps, the model looks back on {self.model.look_back}: earlier ones "
                    "count as missing",
                    TitansSeqWarning,
                    stacklevel=2,
                )
            model.observe_panel(replace(known, series=[given.get(s.name, s) for s in known.series]))
        forecast = model.predict()
        for name, channels in silent.items():  # nothing is known of them
            rows = forecast[ID] == name if known.layout == "long" else slice(None)
            forecast.loc[rows, [known.channels[c] for c in channels]] = np.nan
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


def _silent_channels(given: Iterable[Series], channels: list[str]) -> dict[str, list[int]]:
    """Return the channels of each series that have no value at all, where there are any, with a warning.

    Raises:
        DataError: a series has no value in any.
    """
    found = {s.name: np.flatnonzero(np.isnan(s.values).all(0)).tolist() for s in given}
    for name, silent in found.items():
        label = f"the history of series {name!r}" if len(found) > 1 else "the history"
        if len(silent) == len(channels):
            raise DataError(f"{label} holds no value: there is nothing to forecast from")
        if silent:
            names = ", ".join(channels[c] for c in silent[:20])
            warnings.warn(f"{label} holds no value of {names}: no forecast of that", TitansSeqWarning, stacklevel=3)
    return {name: silent for name, silent in found.items() if silent}


def _rows_behind(known: Series, given: Series) -> Series | None:
    """Return the rows of a history that follow what is known of its series; None if it differs from that, or ends."""
    place = given.index.get_indexer(known.index[-1:])[0]
    shared = min(place + 1, len(known.index))
    if place < 0 or not np.array_equal(known.values[-shared:], given.values[place + 1 - shared : place + 1], True):
        return None
    return Series(given.name, given.index[place + 1 :], given.values[place + 1 :])
