"""`titans-seq predict`: a saved model of any kind answers to a file; what it is decides how."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_seq.errors import DataError
from titans_seq.files import write_text
from titans_seq.pipelines.options import ResultOptions
from titans_seq.pipelines.output import claim_file


@dataclass(frozen=True, kw_only=True)
class Predict(ResultOptions):
    """Write the answers of a saved model to a file, as CSV."""

    model: Path
    """Folder of a saved model."""
    data: Path
    """Forecasting: a table of history, whose next steps are forecast. DNA: FASTA, GenBank, or a table with a column of
    sequences. Language: text, one answer for each line."""
    out: Path
    """CSV file to write."""

    def run(self) -> dict[str, Any]:
        """Predict; return counts."""
        from titans_seq.domains.registry import load_predictor
        from titans_seq.saving import read_config

        predictor = load_predictor(self.model)
        if self.out.suffix.lower() != ".csv":
            raise DataError(f"{self.out}: the answers are written as .csv")
        claim_file(self.out, self.force, self.data if self.data.exists() else None)
        frame = predictor.predict(predictor.from_file(self.data))
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
