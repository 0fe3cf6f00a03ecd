"""`python -m benchmarks tagging`: coding letters of bacteria, trained on one genus and told on another.

The genomes are those of Debian's package ragout-examples; pyrodigal's genes are the labels, in training and test
(silver labels: agreement with a gene finder, not with experiments). Escherichia coli trains, its last tenth decides
when to stop, Vibrio cholerae tests. All networks have the same width and depth around what mixes their tokens, and the
same training. The curve: the same trained networks read segments of several lengths, without flanks, so that nothing
beyond a segment is known. Open reading frames, their least length chosen on E. coli, are the floor.
"""

import gzip
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure
from benchmarks.ledger import Ledger
from benchmarks.options import BenchmarkOptions, check_options
from titans_seq.errors import DataError
from titans_seq.pipelines.output import plain_table
from titans_seq.spread import format_spread, mean_and_spread

NAME = "tagging"
TRAIN, TEST = "E.Coli/references/MG1655-K12.fasta.gz", "V.Cholerae/references/O395.fasta.gz"
MODELS: dict[str, dict[str, Any]] = {
    "titans (lmm)": {},
    "attention, 64 tokens": {"variant": "attention", "window": 64},
    "convolution": {"variant": "convolution"},
    "no mixer": {"variant": "none"},
}
LENGTHS = (96, 384, 1536, 6144)
"""Letters of a segment, for the curve."""


@dataclass(frozen=True, kw_only=True)
class Tagging(BenchmarkOptions):
    """MCC of coding letters on another genus, by what mixes the tokens and by the length of a segment."""

    folder: Path = Path("/usr/share/doc/ragout/examples")
    """Genomes of Debian's package ragout-examples."""
    letters: int | None = None
    """Letters of each genome at the most, for a trial; none means all."""
    test_letters: int = 1_000_000
    """Letters of the genome that tests, at the most."""
    max_epochs: int | None = None
    """Passes over the training data at the most; none means the estimator's default."""
    seeds: int = 3
    """Runs of the memory; all else runs with the first seed."""
    seed: int = 0
    """Of the first run; the next one has the next."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "seeds", "test_letters", *(n for n in ("letters", "max_epochs") if getattr(self, n)))
        train, test = (read_genome(self.folder / name) for name in (TRAIN, TEST))
        train = train[0][: self.letters], train[1][: self.letters]
        test = test[0][: self.test_letters], test[1][: self.test_letters]
        settings = {"letters": self.letters, "test_letters": self.test_letters, "max_epochs": self.max_epochs}
        ledger = Ledger(self.output, NAME, settings)
        rows = []
        for seed in range(self.seed, self.seed + self.seeds):
            for model in MODELS if seed == self.seed else [next(iter(MODELS))]:
                key = {"model": model, "seed": seed}
                row = ledger.find(**key) or ledger.add({**key, **self.once(model, seed, train, test)})
                rows.append(row)
                if not self.json:
                    print(f"{model}, seed {seed}: {row['mcc']:.4f}, by length {row['curve']}", file=sys.stderr)
        ledger.rows = rows
        result = ledger.finish(
            train_letters=len(train[0]),
            coding={"train": float(train[1].mean()), "test": float(test[1].mean())},
            open_reading_frames=floor(train, test),
            summary=summary(rows),
        )
        if not self.json:
            cells = {m: {n: f"{v:.3f}" for n, v in of["curve"].items()} for m, of in result["summary"].items()}
            plain_table("MCC on Vibrio cholerae by letters of a segment", cells)
        return result

    def once(self, model: str, seed: int, train: tuple[str, Any], test: tuple[str, Any]) -> dict[str, Any]:
        """Train one model and tell the letters of the other genome."""
        from sklearn.metrics import matthews_corrcoef

        from titans_seq import TitansDNATagger

        settings = {} if self.max_epochs is None else {"max_epochs": self.max_epochs}
        tagger = TitansDNATagger(random_state=seed, verbose=sys.stderr.isatty(), **settings, **MODELS[model])
        tagger.fit([train[0]], [train[1]])
        began = time.perf_counter()
        told = tagger.predict([test[0]])[0]
        seconds = time.perf_counter() - began
        curve = {}
        for length in LENGTHS:
            short = tagger.set_params(segment=length, flank=0).predict([test[0]])[0]
            curve[str(length)] = round(float(matthews_corrcoef(test[1], short)), 4)
        return {
            "mcc": float(matthews_corrcoef(test[1], told)),
            "accuracy": float((told == test[1]).mean()),
            "curve": curve,
            "parameters": sum(p.numel() for p in tagger.network_.parameters()),
            "fit_seconds": tagger.history_.seconds,
            "letters_a_second": len(test[0]) / seconds,
            "validation_loss": tagger.history_.validation_loss,
        }


def read_genome(path: Path) -> tuple[str, Any]:
    """Return the letters of the longest record of a FASTA file, and 1 where pyrodigal finds a gene, else 0.

    Raises:
        DataError: the file or pyrodigal is not here.
    """
    import numpy as np

    try:
        import pyrodigal
    except ImportError as error:
        raise DataError("labels need pyrodigal: pip install pyrodigal") from error
    if not path.is_file():
        raise DataError(f"no such file: {path} (Debian's package ragout-examples has it)")
    records: list[list[str]] = []
    with gzip.open(path, "rt") as file:
        for line in file:
            if line.startswith(">"):
                records.append([])
            else:
                records[-1].append(line.strip().upper())
    text = max(("".join(record) for record in records), key=len)
    finder = pyrodigal.GeneFinder()
    finder.train(text)
    labels = np.zeros(len(text), dtype=np.int64)
    for gene in finder.find_genes(text):
        labels[gene.begin - 1 : gene.end] = 1
    return text, labels


def floor(train: tuple[str, Any], test: tuple[str, Any]) -> dict[str, float]:
    """Return MCC of open reading frames, and their least length, chosen on what trains."""
    from sklearn.metrics import matthews_corrcoef

    from titans_seq.domains.genomics.encoder import encode_sequences
    from titans_seq.domains.genomics.orfs import LENGTHS as OPEN
    from titans_seq.domains.genomics.orfs import open_lengths

    seen, asked = (open_lengths(encode_sequences([text])[0]) for text, _ in (train, test))
    least = max(OPEN, key=lambda size: float(matthews_corrcoef(train[1], seen >= size)))
    return {"letters": least, "mcc": float(matthews_corrcoef(test[1], asked >= least))}


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return, by model, mean and spread over seeds of MCC, and the curve."""
    found: dict[str, dict[str, Any]] = {}
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        mcc, spread = mean_and_spread([row["mcc"] for row in own])
        curve = {n: sum(row["curve"][n] for row in own) / len(own) for n in own[0]["curve"]}
        found[model] = {"mcc": mcc, "mcc_spread": spread, "seeds": len(own), "curve": curve}
    return found


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    models = {
        name: format_spread(of["mcc"], of["mcc_spread"] if of["seeds"] > 1 else float("nan"))
        for name, of in result["summary"].items()
    }
    own, *others = models
    orfs = result["open_reading_frames"]
    beside = ", ".join([*(f"{name} {models[name]}" for name in others), f"open reading frames {orfs['mcc']:.3f}"])
    seeds = result["summary"][own]["seeds"]
    return [
        Figure(f"coding letters of another genus, MCC, {seeds} seed{'s' * (seeds > 1)}", f"{own} {models[own]}", beside)
    ]
