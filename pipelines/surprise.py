"""`titans-seq surprise`: how unexpected each part of a text is to a saved language model, as a table and a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_seq.errors import DataError
from titans_seq.files import write_json, write_text
from titans_seq.pipelines.output import claim_folder, plain_table

FILES = ("surprise.csv", "surprise.png", "metrics.json")


@dataclass(frozen=True, kw_only=True)
class Surprise:
    """Read a text as one stream and trace the surprise; a foreign passage can be planted to see it stand out."""

    model: Path
    """Folder of a saved language model."""
    data: Path
    """Text file, UTF-8."""
    plant: Path | None = None
    """Text file whose content is put into the middle of the other."""
    start: int = 0
    """First character to read."""
    characters: int = 20_000
    """Characters to read at the most."""
    span: int = 64
    """Tokens of the running mean, in the picture and in `running_auc`."""
    output: Path = Path("runs/surprise")
    """Folder for the results."""
    force: bool = False
    """Overwrite earlier results in the output folder."""
    json: bool = False
    """Print the figures as JSON on standard output instead of a table."""

    def run(self) -> dict[str, Any]:
        """Do it; returns what metrics.json holds."""
        from titans_seq.domains.language import TitansLM
        from titans_seq.domains.language.plots import plot_surprise
        from titans_seq.domains.language.surprise import contrast
        from titans_seq.domains.language.text import read_text

        for name, least in (("start", 0), ("characters", 1), ("span", 1)):
            if getattr(self, name) < least:
                raise DataError(f"{name} must be at least {least}, not {getattr(self, name)}")
        model = TitansLM.load(self.model)
        whole = read_text(self.data)
        text = whole[self.start : self.start + self.characters]
        if not text:
            raise DataError(f"{self.data} has {len(whole)} characters: nothing begins at {self.start}")
        passage = "" if self.plant is None else read_text(self.plant)
        middle = len(text) // 2
        tokens = model.vocabulary_.encode
        begin, size = len(tokens(text[:middle])), len(tokens(passage))
        tokens(text)
        claim_folder(self.output, FILES, self.force)
        trace = model.surprise(text[:middle] + passage + text[middle:])
        planted = (begin, begin + size) if passage else None
        metrics: dict[str, Any] = {"data": self.data.name, "tokens": len(trace), "mean": trace.mean().to_dict()}
        if planted is not None:
            metrics |= {"planted": planted, "contrast": contrast(trace, planted, self.span)}
        write_text(self.output / "surprise.csv", trace.to_csv(index_label="token"))
        plot_surprise(self.output / "surprise.png", trace, planted, f"{self.data.name}: surprise", self.span)
        write_json(self.output / "metrics.json", metrics)
        if not self.json:
            rows = {
                column: {"mean": f"{metrics['mean'][column]:.4f}"}
                | {k: f"{v:.4f}" for k, v in metrics.get("contrast", {}).get(column, {}).items()}
                for column in metrics["mean"]
            }
            plain_table(f"{self.data.name}: {len(trace):,} tokens; {', '.join(FILES)} are in {self.output}", rows)
        return metrics
