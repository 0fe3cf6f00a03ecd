"""`titans-seq explain`: what each letter of a sequence does to a classifier's answer, what surprised its memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_seq.errors import DataError
from titans_seq.files import write_json, write_text
from titans_seq.pipelines.output import claim_folder

FILES = ("explanation.json", "mutagenesis.csv", "surprise.csv", "explanation.png")


@dataclass(frozen=True, kw_only=True)
class Explain:
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
    force: bool = False
    """Overwrite earlier results in the output folder."""
    json: bool = False
    """Print the summary as JSON on standard output."""

    def run(self) -> dict[str, Any]:
        """Do it; returns what explanation.json holds."""
        from titans_seq.domains.genomics.classifier import TitansDNAClassifier
        from titans_seq.domains.genomics.mutagenesis import LETTERS, chosen_class, log_odds, mutagenesis
        from titans_seq.domains.genomics.plots import plot_explanation
        from titans_seq.domains.genomics.surprise import surprise

        model = TitansDNAClassifier.load(self.model)
        name, sequence = self._chosen()
        odds = log_odds(model.predict_logits([sequence]))[0]
        index = chosen_class(model, odds, self.label)
        label = model.classes_[index]
        effects = mutagenesis(model, sequence, label)
        trace = surprise(model, sequence) if model.variant == "lmm" else None
        files = [file for file in FILES if trace is not None or file != "surprise.csv"]
        claim_folder(self.output, files, self.force)
        values = effects[list(LETTERS)].to_numpy()
        place, letter = divmod(int(abs(values).argmax()), 4)
        result = {
            "name": name,
            "letters": len(effects),
            "label": str(label),
            "log_odds": float(odds[index]),
            "probability": float(model.predict_proba([sequence])[0, index]),
            "strongest": {
                "position": place + 1,
                "from": effects["letter"][place],
                "to": LETTERS[letter],
                "change": float(values[place, letter]),
            },
        }
        write_text(self.output / "mutagenesis.csv", effects.to_csv(index=False))
        if trace is not None:
            write_text(self.output / "surprise.csv", trace.to_csv(index=False))
        title = f"{name}, {len(effects)} letters: {label} with probability {result['probability']:.3f}"
        plot_explanation(self.output / "explanation.png", effects, trace, title)
        write_json(self.output / "explanation.json", result)
        if not self.json:
            strongest = f"{effects['letter'][place]}{place + 1}{LETTERS[letter]} ({values[place, letter]:+.3f})"
            print(f"{title}; the strongest change of its log-odds is {strongest}; {', '.join(files)} in {self.output}")
        return result

    def _chosen(self) -> tuple[str, str]:
        """Name and letters of the sequence."""
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
