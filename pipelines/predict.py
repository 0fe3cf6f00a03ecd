"""`titans-seq predict`: a saved model of any kind answers to files; what it is decides how."""

import sys
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from titans_seq.engine import open_engine
from titans_seq.errors import DataError, TitansSeqError, TitansSeqWarning
from titans_seq.files import write_text
from titans_seq.pipelines.options import EngineOptions, ResultOptions, TrackingOption
from titans_seq.pipelines.output import claim_file
from titans_seq.pipelines.saved import SavedModel, local_model
from titans_seq.progress import progress_bar


@dataclass(frozen=True, kw_only=True)
class Predict(ResultOptions, EngineOptions, TrackingOption):
    """Write the answers of a saved model to a file, as CSV; of many files to a folder."""

    model: Path
    """Folder of a saved model, or one of MLflow's registry as models:/NAME@ALIAS or models:/NAME/VERSION."""
    data: tuple[Path, ...]
    """Forecasting: a table of history, whose next steps are forecast. DNA: FASTA, GenBank, or a table with a column of
    sequences. Language: text, one answer for each line. Several files, or a folder of them, are answered each for
    itself."""
    out: Path
    """CSV file to write; of several files, a folder for a CSV file of each."""

    def run(self) -> dict[str, Any]:
        """Predict; return counts.

        Raises:
            DataError: wrong input. Of several files the others are answered nevertheless.
        """
        with local_model(self.model, self.tracking_uri) as folder:
            model = SavedModel.find(folder)
            model.predictor()
            files = self._files()
            with open_engine(self.engine, self.jobs) as apply:
                answers = zip(files, apply(partial(answer_file, model), [path for path, _ in files]), strict=True)
                rows, wrong = {}, {}
                with progress_bar(len(files) > 1 and sys.stderr.isatty() and not self.json) as bar:
                    for (path, out), found in bar.track(answers, total=len(files), description="answering"):
                        for message in found.warnings:
                            said = message if len(files) == 1 else f"{path}: {message}"
                            warnings.warn(said, TitansSeqWarning, stacklevel=2)
                        if found.error is not None:
                            wrong[path] = found.error
                            continue
                        write_text(out, found.csv)
                        rows[str(out)] = found.rows
        if wrong:
            first = next(iter(wrong))
            if len(files) == 1:
                raise wrong[first]
            raise DataError(f"{len(wrong)} of {len(files)} files were not answered, {first}: {wrong[first]}")
        if not self.json:
            written = self.out if len(files) == 1 else f"{self.out}: {len(rows)} files,"
            print(f"{written}{':' if len(files) == 1 else ''} {sum(rows.values()):,} rows")
        return {
            "model": str(self.model),
            "kind": model.kind,
            "data": str(self.data[0]) if len(self.data) == 1 else [str(path) for path in self.data],
            "out": str(self.out),
            "rows": sum(rows.values()),
        }

    def _files(self) -> list[tuple[Path, Path]]:
        """Return each file to read, and the file that its answers go to."""
        if len(self.data) == 1 and not self.data[0].is_dir():
            if self.out.suffix.lower() != ".csv":
                raise DataError(f"{self.out}: the answers are written as .csv")
            claim_file(self.out, self.force, self.data[0] if self.data[0].exists() else None)
            return [(self.data[0], self.out)]
        files: list[Path] = []
        for path in self.data:
            files += sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        if not files:
            raise DataError(f"there is no file in {', '.join(map(str, self.data))}")
        outs = [self.out / f"{path.stem}.csv" for path in files]
        if len(set(outs)) < len(outs):
            twice = next(out.name for out in outs if outs.count(out) > 1)
            raise DataError(f"two files would be answered in {twice}: answer them one after the other")
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"cannot write to {self.out}: {error.strerror}") from error
        for path, out in zip(files, outs, strict=True):
            claim_file(out, self.force, path if path.exists() else None)
        return list(zip(files, outs, strict=True))


@dataclass(frozen=True)
class Answer:
    """What came of one file, in whichever process."""

    csv: str = ""
    rows: int = 0
    warnings: tuple[str, ...] = ()
    error: TitansSeqError | None = None


def answer_file(model: SavedModel, path: Path) -> Answer:
    """Return the answers of a saved model to a file."""
    predictor = model.predictor()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", TitansSeqWarning)
        try:
            frame = predictor.predict(predictor.from_file(path))
            csv, rows, error = frame.to_csv(index=False), len(frame), None
        except TitansSeqError as problem:
            csv, rows, error = "", 0, problem
    return Answer(csv, rows, tuple(str(w.message) for w in said), error)
