"""What a saved model answers, by its kind: to a file (`titans-seq predict`) and to a table (a served model)."""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.errors import DataError, ModelError, TitansSeqWarning
from titans_seq.saving import read_config

if TYPE_CHECKING:
    import pandas as pd


class Answers(ABC):
    """A saved model that is asked: `answer(read(file))` or `answer(asked(table))`."""

    @abstractmethod
    def __init__(self, folder: Path) -> None:
        """Load the model; ModelError if it is damaged."""

    @abstractmethod
    def read(self, path: Path) -> Any:
        """The question that a file asks; DataError if it asks none."""

    @abstractmethod
    def asked(self, table: pd.DataFrame) -> Any:
        """The question that a table asks, its columns as those of `example`; DataError if it asks none."""

    @abstractmethod
    def answer(self, question: Any) -> pd.DataFrame:
        """Rows of answers; DataError if the model cannot answer."""

    @abstractmethod
    def example(self) -> pd.DataFrame:
        """A small table to ask, its columns text and float64."""


class Classes(Answers):
    """DNA: class and probabilities of each sequence."""

    def __init__(self, folder: Path) -> None:
        from titans_seq.domains.genomics.classifier import TitansDNAClassifier

        self.model = TitansDNAClassifier.load(folder)

    def read(self, path: Path) -> Any:
        import pandas as pd

        from titans_seq.domains.genomics.records import read_sequences

        names, sequences = read_sequences(path)
        return pd.DataFrame({"name": names, "sequence": sequences})

    def asked(self, table: pd.DataFrame) -> Any:
        return table[["sequence"]]

    def answer(self, question: Any) -> pd.DataFrame:
        probabilities = self.model.predict_proba(question["sequence"].tolist())
        frame: pd.DataFrame = question.drop(columns="sequence").reset_index(drop=True)
        frame["predicted"] = self.model.classes_[probabilities.argmax(1)]
        for k, label in enumerate(self.model.classes_.tolist()):
            frame[f"p_{label}"] = probabilities[:, k]
        return frame

    def example(self) -> pd.DataFrame:
        import pandas as pd

        _, median, _ = self.model.lengths_
        return pd.DataFrame({"sequence": [(letters * median)[:median] for letters in ("ACGT", "GATTACA")]})


class LineScores(Answers):
    """Language: each line of a text with its bits per byte, line break included, given all lines before it."""

    def __init__(self, folder: Path) -> None:
        from titans_seq.domains.language import TitansLM

        self.model = TitansLM.load(folder)

    def read(self, path: Path) -> Any:
        return path  # never in memory as a whole

    def asked(self, table: pd.DataFrame) -> Any:
        lines = table["text"].tolist()
        for row, line in enumerate(lines):
            if not isinstance(line, str) or "\n" in line:
                raise DataError(f"row {row + 1} must be one line of text, not {line!r:.60}")
        return [f"{line}\n" for line in lines]

    def answer(self, question: Any) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(self.model.score_lines(question))

    def example(self) -> pd.DataFrame:
        import pandas as pd

        symbols = self.model.vocabulary_.symbols
        lines = ["To be, or not to be,", "that is the question."] if symbols is None else [symbols.replace("\n", "")]
        return pd.DataFrame({"text": lines})


class Continuation(Answers):
    """Forecasting: the steps behind a history."""

    def __init__(self, folder: Path) -> None:
        from titans_seq.domains.timeseries import TitansForecaster

        self.model = TitansForecaster.load(folder)

    def read(self, path: Path) -> Any:
        from titans_seq.domains.timeseries.table import read_table

        return self._in_zone(read_table(path, time_column=self._stamps, targets=self.model.panel_.channels))

    def asked(self, table: pd.DataFrame) -> Any:
        from titans_seq.domains.timeseries.table import shaped

        channels = self.model.panel_.channels
        return self._in_zone(shaped(table, "the table", time_column=self._stamps, targets=channels))

    def answer(self, question: Any) -> pd.DataFrame:
        from titans_seq.domains.timeseries.observe import placed
        from titans_seq.domains.timeseries.panel import ID, TIME

        known = self.model.panel_
        given = {s.name: s for s in placed(known, question).series}
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
            return forecast.reset_index(names=self._stamps or TIME)
        return forecast[forecast[ID].isin(list(given))].reset_index(drop=True)

    def example(self) -> pd.DataFrame:
        from titans_seq.domains.timeseries.panel import TIME

        panel = self.model.panel_
        series = panel.series[:2]
        frame = panel.frame([s.name for s in series], [s.index for s in series], [s.values for s in series])
        name = TIME if panel.layout == "long" else self._stamps or TIME
        if panel.layout == "wide":
            frame = frame.reset_index(names=name)
        if frame[name].dt.tz is not None:
            frame[name] = frame[name].dt.tz_convert("UTC")
        return frame.astype({name: str} | dict.fromkeys(panel.channels, "float64"))

    @property
    def _stamps(self) -> str | None:
        """The column of time stamps of a wide table; None to find it."""
        panel = self.model.panel_
        name = panel.series[0].index.name
        return None if name is None or panel.layout == "long" else str(name)

    def _in_zone(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The same moments in the time zone that the model was fitted in."""
        from titans_seq.domains.timeseries.panel import ID, TIME

        zone = self.model.panel_.series[0].index.tz
        if ID in frame and TIME in frame:
            stamps = frame[TIME].dt
            return frame.assign(**{TIME: stamps.tz_convert(zone)}) if zone and stamps.tz else frame
        return frame.tz_convert(zone) if zone and frame.index.tz else frame  # type: ignore[attr-defined]


KINDS: dict[str, type[Answers]] = {
    "TitansDNAClassifier": Classes,
    "TitansLM": LineScores,
    "TitansForecaster": Continuation,
}
"""Kind of a saved model -> what asks it."""


def opened(folder: Path) -> Answers:
    """A saved model, ready to be asked.

    Raises:
        ModelError: there is none, it is damaged, or of a kind that cannot be asked.
    """
    kind = str(read_config(folder).get("kind"))
    if kind not in KINDS:
        raise ModelError(f"{folder} holds a {kind}; predict knows {', '.join(KINDS)}")
    return KINDS[kind](folder)
