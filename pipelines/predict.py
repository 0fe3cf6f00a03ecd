"""`titans-seq predict`: a saved model of any kind answers for a file; what it is decides how."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_seq.errors import DataError, ModelError
from titans_seq.pipelines.output import claim_file
from titans_seq.saving import read_config, write_text


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Answers of a saved model for a file, as CSV."""

    model: Path
    """Folder of a saved model."""
    data: Path
    """DNA: FASTA, GenBank, or a table with a column of sequences. Language: text, one answer for each line."""
    out: Path
    """CSV file to write."""
    force: bool = False
    """Overwrite the file."""
    json: bool = False
    """Print counts as JSON on standard output."""

    def run(self) -> dict[str, Any]:
        """Do it; returns counts."""
        kind = str(read_config(self.model).get("kind"))
        if kind not in KINDS:
            raise ModelError(f"{self.model} holds a {kind}; predict knows {', '.join(KINDS)}")
        if self.out.suffix.lower() != ".csv":
            raise DataError(f"{self.out}: the answers are written as .csv")
        claim_file(self.out, self.force, self.data if self.data.exists() else None)
        frame = KINDS[kind](self)
        write_text(self.out, frame.to_csv(index=False))
        if not self.json:
            print(f"{self.out}: {len(frame):,} rows")
        return {
            "model": str(self.model),
            "kind": kind,
            "data": str(self.data),
            "out": str(self.out),
            "rows": len(frame),
        }


def predict_dna(options: Predict) -> Any:
    """Name, class and probabilities of each sequence of a file."""
    import pandas as pd

    from titans_seq.domains.genomics.classifier import TitansDNAClassifier
    from titans_seq.domains.genomics.records import read_sequences

    model = TitansDNAClassifier.load(options.model)
    names, sequences = read_sequences(options.data)
    probabilities = model.predict_proba(sequences)
    frame = pd.DataFrame({"name": names, "predicted": model.classes_[probabilities.argmax(1)]})
    for k, label in enumerate(model.classes_.tolist()):
        frame[f"p_{label}"] = probabilities[:, k]
    return frame


def predict_lines(options: Predict) -> Any:
    """Each line of a text with its bits per byte, line break included, given all lines before it."""
    import pandas as pd

    from titans_seq.domains.language import TitansLM

    return pd.DataFrame(TitansLM.load(options.model).score_lines(options.data))


KINDS: dict[str, Callable[[Predict], Any]] = {"TitansDNAClassifier": predict_dna, "TitansLM": predict_lines}
"""Kind of a saved model -> what makes a frame of answers."""
