"""`python -m benchmarks harness`: lm-evaluation-harness on a saved language model, tasks from local files.

Texts are rolled twice: as one stream each, and in windows that begin anew, as the harness's own models do.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.pipelines.output import plain_table

SOURCES = {
    "wikitext": ("wikitext2-test", ""),
    "lambada": ("lambada-test", ""),
    "piqa": ("piqa-valid", "piqa_valid.jsonl"),
}
"""Task -> data set, and the file in it."""

PRIMARY = ("bits_per_byte", "word_perplexity", "perplexity", "acc", "acc_norm")
"""Metrics of the table, in order."""


@dataclass(frozen=True, kw_only=True)
class Harness(BenchmarkOptions):
    """Perplexities and accuracies of lm-evaluation-harness (extra `harness`)."""

    model: Path
    """Folder of a saved language model."""
    tasks: tuple[Literal["wikitext", "lambada", "piqa"], ...] = ("wikitext", "lambada", "piqa")
    """What to run."""
    limit: int | None = None
    """Documents of each task at the most."""
    window: int | None = None
    """Tokens of a window that begins anew; none means the model's context."""
    seed: int = 0
    """Of the harness."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, *(name for name in ("limit", "window") if getattr(self, name) is not None))
        from titans_seq.datasets import fetch
        from titans_seq.domains.language import TitansLM
        from titans_seq.domains.language.datasets import DATASETS
        from titans_seq.domains.language.harness import HarnessLM
        from titans_seq.domains.language.harness_tasks import evaluate

        model = TitansLM.load(self.model)
        streaming = HarnessLM(model)
        sources: dict[str, Path] = {task: fetch(SOURCES[task][0], DATASETS) / SOURCES[task][1] for task in self.tasks}
        window, started = self.window or model.context, time.perf_counter()
        found = {"stream": evaluate(streaming, sources, self.limit, self.seed)}
        if rolled := {task: path for task, path in sources.items() if task == "wikitext"}:
            windows = HarnessLM(model, windows=window)
            found[f"windows of {window}"] = evaluate(windows, rolled, self.limit, self.seed)
        result: dict[str, Any] = {
            "benchmark": "harness",
            "model": {k: v for k, v in model.get_params().items() if k != "verbose"},
            "limit": self.limit,
            "results": found,
            "seconds": time.perf_counter() - started,
            **describe(),
        }
        write_result(self.output, "harness", result)
        if not self.json:
            rows = {
                f"{task}, {how}": {m: f"{metrics[m]:,.4f}" if m in metrics else "" for m in PRIMARY}
                for how, tasks in found.items()
                for task, metrics in tasks.items()
            }
            plain_table("lm-evaluation-harness", rows)
        return result


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    stream = result["results"]["stream"]
    (windows,) = (of for how, of in result["results"].items() if how != "stream")
    return [
        Figure(
            "wikitext-2 through lm-evaluation-harness, bits per byte, each document as one stream",
            f"{stream['wikitext']['bits_per_byte']:.3f}",
            f"in windows that begin anew {windows['wikitext']['bits_per_byte']:.3f}",
        ),
        Figure("PIQA through it, accuracy", f"{stream['piqa']['acc']:.3f}", "chance 0.5"),
        Figure("LAMBADA through it, accuracy", f"{stream['lambada']['acc']:.3f}", ""),
    ]
