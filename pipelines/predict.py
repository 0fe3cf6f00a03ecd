"""`titans-seq predict`: a saved model of any kind answers to a file; what it is decides how."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_seq.errors import DataError
from titans_seq.files import write_text
from titans_seq.pipelines.output import claim_file


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Answers of a saved model to a file, as CSV."""

    model: Path
    """Folder of a saved model."""
    data: Path
    """Forecasting: a table of history, whose next steps are forecast. DNA: FASTA, GenBank, or a table with a column of
    sequences. Language: text, one answer for each line."""
    out: Path
    """CSV file to write."""
    force: bool = False
    """Overwrite the file."""
    json: bool = False
    """Print counts as JSON on standard output."""

    def run(self) -> dict[str, Any]:
        """Do it; returns counts."""
        from titans_seq.pipelines.answers import opened
        from titans_seq.saving import read_config

        answers = opened(self.model)
        if self.out.suffix.lower() != ".csv":
            raise DataError(f"{self.out}: the answers are written as .csv")
        claim_file(self.out, self.force, self.data if self.data.exists() else None)
        frame = answers.answer(answers.read(self.data))
        write_text(self.out, frame.to_csv(index=False))
        if not self.json:
            print(f"{self.out}: {len(frame):,} rows")
        return {
            "model": str(self.model),
            "kind": read_config(self.model)["kind"],
            "data": str(self.data),
            "out": str(self.out),
            "rows": len(frame),
        }
