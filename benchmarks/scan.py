"""`python -m benchmarks scan`: a genome through `titans-seq scan`, timed from start to exit, with peak memory.

The genome is random; the model is the classifier at its defaults, trained for a moment on random windows, which its
speed does not notice.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.errors import TitansSeqError
from titans_seq.pipelines.output import plain_table

LINE = 80
"""Letters of a line of the genome."""
PROGRAM = "import sys; from titans_seq.cli import main; main(sys.argv[1:])"


@dataclass(frozen=True, kw_only=True)
class Scan(BenchmarkOptions):
    """Minutes and peak memory of a scan, and of a tenth of it."""

    letters: int = 5_000_000
    """Of the genome."""
    window: int = 300
    """Letters of a window."""
    stride: int = 50
    """Letters from one window to the next."""
    threads: int = 2
    """Of the scanning process."""
    seed: int = 0
    """Of genome and model."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        import numpy as np

        from titans_seq.domains.genomics.classifier import TitansDNAClassifier

        check_options(self, "letters", "window", "stride", "threads")
        rng = np.random.default_rng(self.seed)
        letters = np.frombuffer(b"ACGT", dtype=np.uint8)
        runs = {}
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            examples = rng.integers(0, 4, (256, self.window), dtype=np.uint8)
            model = TitansDNAClassifier(max_epochs=1, random_state=self.seed)
            model.fit(examples, np.arange(256) % 2).save(folder / "model")
            for size in dict.fromkeys((self.letters, max(self.window, self.letters // 10))):
                with (folder / "genome.fa").open("wb") as file:
                    file.write(b">genome\n")
                    for start in range(0, size, LINE):
                        file.write(letters[rng.integers(0, 4, min(LINE, size - start))].tobytes() + b"\n")
                runs[size] = self.once(folder)
        result: dict[str, Any] = {
            "benchmark": "scan",
            "settings": {k: v for k, v in asdict(self).items() if k not in ("output", "json")},
            "runs": {str(size): run for size, run in runs.items()},
            **describe(),
        }
        write_result(self.output, "scan", result)
        if not self.json:
            rows = {
                f"{size:,} letters": {
                    "windows": f"{run['windows']:,}",
                    "minutes": f"{run['seconds'] / 60:.2f}",
                    "letters/s": f"{size / run['seconds']:,.0f}",
                    "peak memory": f"{run['peak_mb']:,.0f} MB",
                }
                for size, run in runs.items()
            }
            plain_table(f"windows of {self.window} at stride {self.stride}, {self.threads} threads", rows)
        return result

    def once(self, folder: Path) -> dict[str, Any]:
        """Scan the folder's genome in a process of its own."""
        options = ["--model", "model", "--genome", "genome.fa", "--out", "out.bedgraph", "--label", "1", "--force"]
        command = [sys.executable, "-c", PROGRAM, "scan", *options, "--stride", str(self.stride)]
        environment = os.environ | {"OMP_NUM_THREADS": str(self.threads)}
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise TitansSeqError(f"the scan ended with exit code {process.returncode}")
        windows = sum(1 for _ in (folder / "out.bedgraph").open()) - 1
        return {
            "windows": windows,
            "seconds": seconds,
            "processor_seconds": usage.ru_utime + usage.ru_stime,
            "peak_mb": usage.ru_maxrss * 1024 / 1e6,
        }


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    (whole, most), (part, least) = result["runs"].items()
    what = f"scan of {int(whole):,} letters at stride {result['settings']['stride']}, default model"
    beside = f"of {int(part):,} letters {least['seconds'] / 60:.1f} minutes, {least['peak_mb']:.0f} MB"
    return [Figure(what, f"{most['seconds'] / 60:.1f} minutes, {most['peak_mb']:.0f} MB", beside)]
