"""`titans-seq lm`: from a text to a language model, metrics.json, loss.png and sample.txt, compared and tracked."""

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from titans_seq.errors import DataError
from titans_seq.files import write_json, write_text
from titans_seq.pipelines.output import claim_folder, score_table
from titans_seq.pipelines.tracked import after_epoch, log_results, log_scores, log_training
from titans_seq.tracking import track

FILES = ("loss.png", "sample.txt", "metrics.json", "model")


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """Train a language model on a text, compare it with n-grams and compressors, and let it write."""

    data: Path | None = None
    """Text file, UTF-8; none means the reference chapters that come with Python."""
    variant: str = "mag"
    """Backbone."""
    vocabulary: Literal["bytes", "symbols"] = "bytes"
    """Bytes read any text later on; symbols, the characters of this text only."""
    dim: int = 128
    """Width."""
    layers: int = 4
    """Blocks."""
    context: int = 64
    """Tokens of a training segment."""
    window: int = 64
    """Tokens that attention sees."""
    chunk_size: int = 16
    """Tokens whose gradients the memory takes at the same weights."""
    carry: bool = False
    """Carry the memory from one training segment to the next."""
    batch_size: int = 12
    """Segments of a step."""
    epoch_steps: int = 250
    """Steps of an epoch."""
    max_epochs: int = 8
    """Epochs at the most."""
    max_minutes: float | None = None
    """Training time at the most."""
    learning_rate: float = 3e-3
    """Peak rate."""
    test_fraction: float = 0.1
    """Share of the text, at its end, that is held back to compare the models."""
    prompt: str = ""
    """What the sample begins with; nothing means the last 64 characters before the held-back part."""
    sample: int = 500
    """Tokens of the sample."""
    temperature: float = 0.8
    """Of the sample."""
    seed: int = 0
    """Of weights, batches and the sample."""
    output: Path = Path("runs/lm")
    """Folder for the results."""
    force: bool = False
    """Overwrite earlier results in the output folder."""
    tracking_uri: str | None = None
    """MLflow server or database; a file mlflow.db here if not given, `off` for none."""
    json: bool = False
    """Print the metrics as JSON on standard output instead of a table."""

    def run(self) -> dict[str, Any]:
        """Do it; returns what metrics.json holds."""
        return run_lm(self)


def run_lm(options: LanguageModel) -> dict[str, Any]:
    """Read, fit, compare, write and track.

    Raises:
        DataError: wrong input; nothing has been written then.
        KeyboardInterrupt: Ctrl-C; the best model so far stands in `OUTPUT/model`.
    """
    import pandas as pd

    from titans_seq.domains.language.baselines import baseline_bits
    from titans_seq.domains.language.evaluation import window_loss
    from titans_seq.domains.language.language_model import TitansLM
    from titans_seq.domains.language.plots import plot_history
    from titans_seq.domains.language.sampling import Sampling
    from titans_seq.domains.language.text import EMBEDDED, embedded_text, read_text, sha256
    from titans_seq.domains.language.vocabulary import Vocabulary, utf8

    if not 0 < options.test_fraction < 1:
        raise DataError(f"test-fraction must lie between 0 and 1, not {options.test_fraction}")
    if options.sample < 1:
        raise DataError(f"sample must be at least 1, not {options.sample}")
    Sampling(temperature=options.temperature)
    name = EMBEDDED if options.data is None else options.data.name
    text = embedded_text() if options.data is None else read_text(options.data)
    parameters = ("variant", "vocabulary", "dim", "layers", "context", "window", "chunk_size", "carry", "batch_size",
                  "epoch_steps", "max_epochs", "max_minutes", "learning_rate")  # fmt: skip
    model = TitansLM(
        **{p: getattr(options, p) for p in parameters}, random_state=options.seed, verbose=sys.stderr.isatty()
    )
    cut = len(text) - max(1, int(options.test_fraction * len(text)))
    train, test = text[:cut], text[cut:]
    for part in (text, train):
        model.check_text(part)
    vocabulary = Vocabulary.from_text(options.vocabulary, train)
    prompt = options.prompt or train[-64:]
    for part in (prompt, test):
        vocabulary.encode(part)
    claim_folder(options.output, FILES, options.force)
    logged = {k: v for k, v in model.get_params().items() if k != "verbose"} | {
        "data": name,
        "data_digest": sha256(text),
        "characters": len(text),
        "test_fraction": options.test_fraction,
    }
    with track(options.tracking_uri, "lm", Path(name).stem, logged) as run:
        run.data(pd.DataFrame({"text": text.splitlines()}), name)
        folder = options.output / "model"
        model.fit(train, on_epoch=after_epoch(run, folder))
        model.save(folder)
        started = time.perf_counter()
        tokens = model.vocabulary_.encode(test)
        nats = window_loss(model.network_, tokens, options.context)
        seconds = round(model.history_.seconds, 1)
        baselines = baseline_bits(train, test)
        models = {
            f"titans {options.variant}": {"bits_per_byte": model.bits_per_byte(test), "seconds": seconds},
            f"titans {options.variant}, windows of {options.context}": {
                "bits_per_byte": nats / math.log(2) * len(tokens) / len(utf8(test)),
                "seconds": seconds,
            },
        } | {b: {"bits_per_byte": bits, "seconds": 0.0} for b, bits in baselines.items()}
        written = model.generate(prompt, options.sample, options.temperature, seed=options.seed)
        metrics: dict[str, Any] = {
            "data": name,
            "data_sha256": sha256(text),
            "characters": {"train": len(train), "test": len(test)},
            "vocabulary": model.vocabulary_.size,
            "parameters": sum(p.numel() for p in model.network_.parameters()),
            "models": models,
            "training": {
                "train_loss": model.history_.train_loss,
                "validation_loss": model.history_.validation_loss,
                "kept_epoch": model.history_.best_epoch + 1,
                "unit": "nats per token",
            },
            "evaluation_seconds": round(time.perf_counter() - started, 1),
            "seed": options.seed,
        }
        write_text(options.output / "sample.txt", prompt + written + "\n")
        compared = {b: baselines[b] for b in ("bigram", "5-gram", "lzma")}
        plot_history(options.output / "loss.png", model.history_, compared, f"{name}, {options.variant}")
        write_json(options.output / "metrics.json", metrics)
        log_training(run, model.history_)
        names = ("titans", "windows", *baselines)
        scores = zip(names, models.values(), strict=True)
        log_scores(run, {name: {"bits_per_byte": of["bits_per_byte"]} for name, of in scores})
        log_results(run, options.output, FILES)
    if not options.json:
        score_table(
            f"{name}: the last {len(test):,} characters, read as one stream",
            models,
            f"loss.png, sample.txt, metrics.json and the model are in {options.output}",
        )
    return metrics
