"""`python -m benchmarks score`: a million bytes through `TitansLM.score`, and what that takes of time and memory."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.errors import DataError
from titans_seq.pipelines.output import plain_table

VARIANTS = ("lmm", "mac", "mag", "mal")

PIECE = 5000
"""Bytes that are handed over at a time."""


@dataclass(frozen=True, kw_only=True)
class Score(BenchmarkOptions):
    """Resident memory and speed along a long text, for every variant."""

    bytes: int = 1_000_000
    """Length of the text: the chapters that come with Python, again and again."""
    dim: int = 128
    """Width of the models."""
    layers: int = 4
    """Blocks of the models."""
    seed: int = 0
    """Of weights."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        check_options(self, "bytes", "dim", "layers")
        if self.bytes < 20 * PIECE:
            raise DataError(f"bytes must be at least {20 * PIECE}, not {self.bytes}")
        result: dict[str, Any] = {
            "benchmark": "score",
            "bytes": self.bytes,
            "dim": self.dim,
            "layers": self.layers,
            "variants": {variant: self.once(variant) for variant in VARIANTS},
            **describe(),
        }
        write_result(self.output, "score", result)
        if not self.json:
            rows = {
                variant: {
                    "bytes/s": f"{of['bytes_per_second']:,.0f}",
                    "resident at 5 %": f"{of['resident_early'] / 1e6:.1f} MB",
                    "resident at the end": f"{of['resident_late'] / 1e6:.1f} MB",
                    "growth": f"{of['memory_growth']:+.2%}",
                }
                for variant, of in result["variants"].items()
            }
            plain_table(f"{self.bytes:,} bytes through score", rows)
        return result

    def once(self, variant: str) -> dict[str, Any]:
        """Measure one model, trained for a single step: what it says does not matter here."""
        import psutil

        from titans_seq.domains.language import TitansLM
        from titans_seq.domains.language.text import embedded_text

        chapters = embedded_text().encode("ascii", "replace").decode()
        options: dict[str, Any] = {"dim": self.dim, "layers": self.layers, "random_state": self.seed}
        model = TitansLM(variant=variant, epoch_steps=1, max_epochs=1, **options).fit(chapters[:5000])
        process, resident, stamps = psutil.Process(), list[int](), list[float]()

        def text() -> Iterator[str]:
            for start in range(0, self.bytes, PIECE):
                place = start % (len(chapters) - PIECE)
                yield chapters[place : place + min(PIECE, self.bytes - start)]
                resident.append(process.memory_info().rss)
                stamps.append(time.perf_counter())

        started = time.perf_counter()
        bits = model.bits_per_byte(text())
        seconds = time.perf_counter() - started
        part = max(1, len(resident) // 20)
        early, late = median(resident[part : 2 * part]), median(resident[-part:])
        return {
            "bits_per_byte": bits,
            "bytes_per_second": self.bytes / seconds,
            "resident_early": early,
            "resident_late": late,
            "memory_growth": late / early - 1,
            "time_ratio": median(b - a for a, b in zip(stamps[-part - 1 :], stamps[-part:], strict=False))
            / median(b - a for a, b in zip(stamps[part:], stamps[part + 1 : 2 * part + 1], strict=False)),
        }


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    variants = result["variants"]
    return [
        Figure(
            f"resident memory while {result['bytes']:,} bytes are scored, growth from 5 % to the end",
            ", ".join(f"{name} {of['memory_growth']:+.2%}" for name, of in variants.items()),
            "",
        ),
        Figure(
            "bytes a second in it",
            ", ".join(f"{name} {of['bytes_per_second']:,.0f}" for name, of in variants.items()),
            "",
        ),
    ]
