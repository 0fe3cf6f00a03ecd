"""Training and test of language models on a text, for `titans-seq lm` and for the trials of a sweep."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.domains.task import OnEpoch, Report, StartOptions, Task
from titans_seq.errors import DataError
from titans_seq.files import write_text

if TYPE_CHECKING:
    from titans_seq.domains.language.documents import Documents

PROMPT = 64
"""Characters before the held-back part that the sample begins with, if no prompt is given."""


@dataclass(frozen=True, kw_only=True)
class LanguageOptions(StartOptions):
    """Which text to read, and what sample to write."""

    data: Path | None = None
    """Text file, UTF-8; or documents, each read on its own: a text on each line of a JSON Lines file (*.jsonl), or a
    folder of *.txt. None means the reference chapters that come with Python."""
    field: str = "text"
    """Of the lines of a JSON Lines file, which holds the text."""
    test_fraction: float = 0.1
    """Share of the text, at its end, that is held back to compare the models; of documents some, chosen by chance."""
    prompt: str = ""
    """Begin of the sample; nothing means the last 64 characters before the held-back part, or a new document."""
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
    """A text whose end is held back, or documents some of which are."""

    Options = LanguageOptions
    files = ("loss.png", "sample.txt")

    def read(self, options: LanguageOptions) -> None:
        """Read and split the data."""
        import pandas as pd

        from titans_seq.domains.language.documents import Documents
        from titans_seq.domains.language.text import EMBEDDED, embedded_text, read_text, sha256

        self.name = EMBEDDED if options.data is None else options.data.name
        self.train: str | Documents
        self.held_back: str | Documents
        if options.data is not None and Documents.are_at(options.data):
            documents = Documents.read(options.data, options.field)
            self.digest = sha256("\0".join(documents.texts))
            self.train, self.held_back = documents.split(options.test_fraction, options.seed)
            self.frame = pd.DataFrame({"text": self.train.texts})
        else:
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

        train, held_back = plain(self.train), plain(self.held_back)
        for part in (train + held_back, train):
            model.check_text(part)
        if not isinstance(self.train, str):
            self.train.split(model.validation_fraction, model.random_state)
        if model.vocabulary == "symbols":
            known = model.vocabulary_ if self.options.start is not None else Symbols.of(train)
            for part in (self.prompt, held_back):
                known.encode(part)

    def fit(self, model: Any, on_epoch: OnEpoch | None = None) -> None:
        """Fit a model to what is not held back."""
        model.fit(self.train, on_epoch=on_epoch)

    def test(self, model: Any) -> dict[str, float]:
        """Return the bits per byte of the held-back part, read as one stream, or of its documents."""
        return {"bits_per_byte": model.bits_per_byte(self.held_back)}

    def describe(self) -> dict[str, Any]:
        """Return name, digest and size of the text."""
        size = {
            "characters": len(plain(self.train)) + len(plain(self.held_back)),
            "test_fraction": self.options.test_fraction,
        }
        return super().describe() | size

    @property
    def prompt(self) -> str:
        """Begin of the sample."""
        return self.options.prompt or (self.train[-PROMPT:] if isinstance(self.train, str) else "")

    def report(self, model: Any, folder: Path) -> Report:
        """Compare with n-grams and compressors; write loss.png and sample.txt."""
        from titans_seq.domains.language.baselines import baseline_bits
        from titans_seq.domains.language.evaluation import window_nats
        from titans_seq.domains.language.plots import plot_history
        from titans_seq.domains.language.vocabulary import utf8

        started = time.perf_counter()
        train, held_back = plain(self.train), plain(self.held_back)
        texts = [self.held_back] if isinstance(self.held_back, str) else self.held_back.texts
        nats = window_nats(model.network_, [model.vocabulary_.encode_begun(text) for text in texts], model.context)
        windows = nats / math.log(2) / len(utf8(held_back))
        seconds = round(model.history_.seconds, 1)
        baselines = baseline_bits(train, held_back)
        scores = {
            "titans": self.test(model) | {"seconds": seconds},
            "windows": {"bits_per_byte": windows, "seconds": seconds},
        } | {name: {"bits_per_byte": bits, "seconds": 0.0} for name, bits in baselines.items()}
        sample = model.generate(self.prompt, self.options.sample, self.options.temperature, seed=self.options.seed)
        details: dict[str, Any] = {
            "data_sha256": self.digest,
            "characters": {"train": len(train), "test": len(held_back)},
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
        what = (
            f"the last {len(held_back):,} characters, read as one stream"
            if isinstance(self.held_back, str)
            else f"{len(texts):,} documents held back, {len(held_back):,} characters"
        )
        title = f"{self.name}, {model.variant}: {what}"
        return Report(title=title, scores=scores, details=details)


def plain(text: "str | Documents") -> str:
    """Return all of a text, or of documents one behind the other."""
    return text if isinstance(text, str) else "".join(text.texts)
