"""`titans-seq explain`: what each letter of a sequence does to a classifier's answer, what surprised its memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.errors import DataError
from titans_seq.files import write_json, write_text
from titans_seq.pipelines.options import ResultOptions
from titans_seq.pipelines.output import claim_folder

if TYPE_CHECKING:
    import pandas as pd

FILES = ("explanation.json", "mutagenesis.csv", "surprise.csv", "explanation.png")


@dataclass(frozen=True, kw_only=True)
class Explain(ResultOptions):
    """In-silico mutagenesis and the surprise trace of one sequence, as tables and a picture."""

    model: Path
    """Folder of a saved classifier."""
    sequence: str | None = None
    """The sequence itself."""
    data: Path | None = None
    """A file to take it from instead: FASTA, GenBank or a table."""
    name: str | None = None
    """Its name in the file; none means the first."""
    label: str | None = None
    """Class whose log-odds count; none means the second of two, or the predicted one of several."""
    output: Path = Path("runs/explain")
    """Folder for the results."""

    def run(self) -> dict[str, Any]:
        """Explain the sequence and write the results; return the content of explanation.json."""
        from titans_seq.domains.genomics.classifier import TitansDNAClassifier
        from titans_seq.domains.genomics.labels import class_index
        from titans_seq.domains.genomics.mutagenesis import log_odds, mutagenesis
        from titans_seq.domains.genomics.plots import plot_explanation
        from titans_seq.domains.genomics.surprise import surprise

        model = TitansDNAClassifier.load(self.model)
        name, sequence = self._read_sequence()
        odds = log_odds(model.predict_logits([sequence]))[0]
        index = class_index(model.classes_, self.label, odds)
        label = model.classes_[index]
        effects = mutagenesis(model, sequence, label)
        trace = surprise(model, sequence) if model.variant == "lmm" else None
        files = [file for file in FILES if trace is not None or file != "surprise.csv"]
        claim_folder(self.output, files, self.force)
        strongest = find_strongest(effects)
        result = {
            "name": name,
            "letters": len(effects),
            "label": str(label),
            "log_odds": float(odds[index]),
            "probability": float(model.predict_proba([sequence])[0, index]),
            "strongest": strongest,
        }
        write_text(self.output / "mutagenesis.csv", effects.to_csv(index=False))
        if trace is not None:
            write_text(self.output / "surprise.csv", trace.to_csv(index=False))
        title = f"{name}, {len(effects)} letters: {label} with probability {result['probability']:.3f}"
        plot_explanation(self.output / "explanation.png", effects, trace, title)
        write_json(self.output / "explanation.json", result)
        if not self.json:
            change = "{from}{position}{to} ({change:+.3f})".format(**strongest)
            print(f"{title}; the strongest change of its log-odds is {change}; {', '.join(files)} in {self.output}")
        return result

    def _read_sequence(self) -> tuple[str, str]:
        """Return name and letters of the sequence."""
        from titans_seq.domains.genomics.records import read_sequences

        if (self.sequence is None) == (self.data is None):
            raise DataError("give either --sequence or --data")
        if self.sequence is not None:
            return "sequence", self.sequence
        assert self.data is not None
        names, sequences = read_sequences(self.data)
        if self.name is not None and self.name not in names:
            raise DataError(f"{self.data} has no sequence named {self.name!r}")
        index = 0 if self.name is None else names.index(self.name)
        return names[index], sequences[index]


def find_strongest(effects: "pd.DataFrame") -> dict[str, Any]:
    """Return the substitution with the strongest effect: its position (from 1), its letters, and the change."""
    from titans_seq.domains.genomics.alphabet import BASES

    values = effects[list(BASES)].to_numpy()
    place, letter = divmod(int(abs(values).argmax()), len(BASES))
    return {
        "position": place + 1,
        "from": effects["letter"][place],
        "to": BASES[letter],
        "change": float(values[place, letter]),
    }
