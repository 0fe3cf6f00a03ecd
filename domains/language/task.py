"""Training and test of language models on a text, for `titans-seq lm` and for the trials of a sweep."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from titans_seq.domains.task import OnEpoch, Report, StartOptions, Task
from titans_seq.errors import DataError
from titans_seq.files import write_text

PROMPT = 64
"""Characters before the held-back part that the sample begins with, if no prompt is given."""


@dataclass(frozen=True, kw_only=True)
class LanguageOptions(StartOptions):
    """Which text to read, and what sample to write."""

    data: Path | None = None
    """Text file, UTF-8; none means the reference chapters that come with Python."""
    test_fraction: float = 0.1
    """Share of the text, at its end, that is held back to compare the models."""
    prompt: str = ""
    """Begin of the sample; nothing means the last 64 characters before the held-back part."""
    sample: int = 500
    """Tokens of the sample."""
    temperature: float = 0.8
    """Temperature of the sample."""

    def check(self) -> None:
        """Raise DataError if an option cannot be used."""
        super().check()
        if self.sample < 1:
            raise DataError(f"sample must be at least 1, not {self.sample}")
        if not 0 <= self.temperature < math.inf:
            raise DataError(f"temperature must be at least 0, not {self.temperature}")


class LanguageTask(Task):
    """A text whose end is held back."""

    Options = LanguageOptions
    files = ("loss.png", "sample.txt")

    def read(self, options: LanguageOptions) -> None:
        """Read and split the data."""
        import pandas as pd

        from titans_seq.domains.language.text import EMBEDDED, embedded_text, read_text, sha256

        self.name = EMBEDDED if options.data is None else options.data.name
        text = embedded_text() if options.data is None else read_text(options.data)
        self.digest = sha256(text)
        cut = len(text) - max(1, int(options.test_fraction * len(text)))
        self.train, self.held_back = text[:cut], text[cut:]
        self.frame = pd.DataFrame({"text": self.train.splitlines()})

    @classmethod
    def estimator(cls) -> Any:
        """Return TitansLM."""
        from titans_seq.domains.language.language_model import TitansLM

        return TitansLM

    def check(self, model: Any) -> None:
        """Raise DataError if the text is too short, or lacks symbols of the prompt or of the held-back part."""
        from titans_seq.domains.language.vocabulary import Symbols

        for part in (self.train + self.held_back, self.train):
            model.check_text(part)
        if model.vocabulary == "symbols":
            known = model.vocabulary_ if self.options.start is not None else Symbols.of(self.train)
            for part in (self.prompt, self.held_back):
                known.encode(part)

    def fit(self, model: Any, on_epoch: OnEpoch | None = None) -> None:
        """Fit a model to the text before the held-back part."""
        model.fit(self.train, on_epoch=on_epoch)

    def test(self, model: Any) -> dict[str, float]:
        """Return the bits per byte of the held-back part, read as one stream."""
        return {"bits_per_byte": model.bits_per_byte(self.held_back)}

    def describe(self) -> dict[str, Any]:
        """Return name, digest and size of the text."""
        size = {"characters": len(self.train) + len(self.held_back), "test_fraction": self.options.test_fraction}
        return super().describe() | size

    @property
    def prompt(self) -> str:
        """Begin of the sample."""
        return self.options.prompt or self.train[-PROMPT:]

    def report(self, model: Any, folder: Path) -> Report:
        """Compare with n-grams and compressors; write loss.png and sample.txt."""
        from titans_seq.domains.language.baselines import baseline_bits
        from titans_seq.domains.language.evaluation import window_loss
        from titans_seq.domains.language.plots import plot_history
        from titans_seq.domains.language.vocabulary import utf8

        started = time.perf_counter()
        tokens = model.vocabulary_.encode(self.held_back)
        nats = window_loss(model.network_, tokens, model.context)
        windows = nats / math.log(2) * len(tokens) / len(utf8(self.held_back))
        seconds = round(model.history_.seconds, 1)
        baselines = baseline_bits(self.train, self.held_back)
        scores = {
            "titans": self.test(model) | {"seconds": seconds},
            "windows": {"bits_per_byte": windows, "seconds": seconds},
        } | {name: {"bits_per_byte": bits, "seconds": 0.0} for name, bits in baselines.items()}
        sample = model.generate(self.prompt, self.options.sample, self.options.temperature, seed=self.options.seed)
        details: dict[str, Any] = {
            "data_sha256": self.digest,
            "characters": {"train": len(self.train), "test": len(self.held_back)},
            "variant": model.variant,
            "windows": f"the same model in windows of {model.context} tokens that know nothing of each other",
            "vocabulary": model.vocabulary_.size,
            "parameters": sum(p.numel() for p in model.network_.parameters()),
            "training": {
                "train_loss": model.history_.train_loss,
                "validation_loss": model.history_.validation_loss,
                "kept_epoch": model.history_.best_epoch + 1,
                "unit": "nats per token",
            },
            "evaluation_seconds": round(time.perf_counter() - started, 1),
        }
        write_text(folder / "sample.txt", self.prompt + sample + "\n")
        compared = {name: baselines[name] for name in ("bigram", "5-gram", "lzma")}
        plot_history(folder / "loss.png", model.history_, compared, f"{self.name}, {model.variant}")
        title = f"{self.name}, {model.variant}: the last {len(self.held_back):,} characters, read as one stream"
        return Report(title=title, scores=scores, details=details)
