"""The program `titans-seq`: sub-commands, exit codes, and one line for what went wrong.

Exit codes: 0 success, 2 wrong input, 130 Ctrl-C, 1 anything else.
"""

import contextlib
import io
import itertools
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from titans_seq.errors import TitansSeqError, TitansSeqWarning
from titans_seq.files import to_json
from titans_seq.pipelines.classify import Classify
from titans_seq.pipelines.compare import Compare
from titans_seq.pipelines.data import DataPath, FetchData, ListData
from titans_seq.pipelines.explain import Explain
from titans_seq.pipelines.forecast import Forecast
from titans_seq.pipelines.generate import Generate
from titans_seq.pipelines.genomics_bench import GenomicsBench
from titans_seq.pipelines.harness import HarnessBench
from titans_seq.pipelines.kernel import Kernel
from titans_seq.pipelines.language import LanguageBench
from titans_seq.pipelines.lm import LanguageModel
from titans_seq.pipelines.long_horizon import LongHorizon
from titans_seq.pipelines.needle import NeedleBench
from titans_seq.pipelines.predict import Predict
from titans_seq.pipelines.recall import RecallBench
from titans_seq.pipelines.runs import ListRuns
from titans_seq.pipelines.scaling import Scaling
from titans_seq.pipelines.scan import Scan
from titans_seq.pipelines.scan_bench import ScanBench
from titans_seq.pipelines.scoring import Scoring
from titans_seq.pipelines.speed import Speed
from titans_seq.pipelines.stability import Stability
from titans_seq.pipelines.streaming import Streaming
from titans_seq.pipelines.surprise import Surprise
from titans_seq.pipelines.training_memory import TrainingMemory
from titans_seq.pipelines.training_step import TrainingStep
from titans_seq.pipelines.window_speed import WindowSpeed
from titans_seq.sweeps.bench import SweepBench
from titans_seq.sweeps.commands import SweepBest, SweepStatus, SweepWorker
from titans_seq.sweeps.run import SweepRun

command = tyro.conf.subcommand


@dataclass(frozen=True)
class Bench:
    """Quality and speed against peers."""

    what: tyro.conf.OmitSubcommandPrefixes[
        Annotated[LongHorizon, command("long-horizon", prefix_name=False)]
        | Annotated[WindowSpeed, command("windows", prefix_name=False)]
        | Annotated[Streaming, command("streaming", prefix_name=False)]
        | Annotated[LanguageBench, command("language", prefix_name=False)]
        | Annotated[NeedleBench, command("needle", prefix_name=False)]
        | Annotated[HarnessBench, command("harness", prefix_name=False)]
        | Annotated[Scoring, command("score", prefix_name=False)]
        | Annotated[GenomicsBench, command("genomics", prefix_name=False)]
        | Annotated[RecallBench, command("recall", prefix_name=False)]
        | Annotated[Scaling, command("scaling", prefix_name=False)]
        | Annotated[ScanBench, command("scan", prefix_name=False)]
        | Annotated[Speed, command("speed", prefix_name=False)]
        | Annotated[Stability, command("stability", prefix_name=False)]
        | Annotated[SweepBench, command("sweeps", prefix_name=False)]
        | Annotated[TrainingMemory, command("training-memory", prefix_name=False)]
        | Annotated[TrainingStep, command("training-step", prefix_name=False)]
    ]

    def run(self) -> Any:
        """Run the benchmark."""
        return self.what.run()


@dataclass(frozen=True)
class Data:
    """Public data sets by name."""

    what: tyro.conf.OmitSubcommandPrefixes[
        Annotated[ListData, command("list", prefix_name=False)]
        | Annotated[FetchData, command("fetch", prefix_name=False)]
        | Annotated[DataPath, command("path", prefix_name=False)]
    ]

    def run(self) -> Any:
        """Run the sub-command."""
        return self.what.run()


@dataclass(frozen=True)
class Runs:
    """Tracked runs, listed and compared."""

    what: tyro.conf.OmitSubcommandPrefixes[
        Annotated[ListRuns, command("list", prefix_name=False)]
        | Annotated[Compare, command("compare", prefix_name=False)]
    ]

    def run(self) -> Any:
        """Run the sub-command."""
        return self.what.run()


@dataclass(frozen=True)
class Sweep:
    """Hyper-parameter sweeps that survive crashes, on one machine or many."""

    what: tyro.conf.OmitSubcommandPrefixes[
        Annotated[SweepRun, command("run", prefix_name=False)]
        | Annotated[SweepWorker, command("worker", prefix_name=False)]
        | Annotated[SweepStatus, command("status", prefix_name=False)]
        | Annotated[SweepBest, command("best", prefix_name=False)]
    ]

    def run(self) -> Any:
        """Run the sub-command."""
        return self.what.run()


Command = (
    Annotated[Forecast, command("forecast")]
    | Annotated[Classify, command("classify")]
    | Annotated[Scan, command("scan")]
    | Annotated[Explain, command("explain")]
    | Annotated[Predict, command("predict")]
    | Annotated[LanguageModel, command("lm")]
    | Annotated[Generate, command("generate")]
    | Annotated[Surprise, command("surprise")]
    | Annotated[Sweep, command("sweep")]
    | Annotated[Runs, command("runs")]
    | Annotated[Bench, command("bench")]
    | Annotated[Data, command("data")]
    | Annotated[Kernel, command("kernel")]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the program; always ends by SystemExit."""
    sys.exit(execute(sys.argv[1:] if arguments is None else list(arguments)))


def execute(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", TitansSeqWarning)
        warnings.showwarning = _one_line_warning
        return _execute(arguments)


def _execute(arguments: list[str]) -> int:
    try:
        chosen = _parse(arguments)
        result = chosen.run()
    except (_Usage, TitansSeqError) as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    if result is not None and getattr(getattr(chosen, "what", chosen), "json", False):
        print(to_json(result))
    return 0


class _Usage(Exception):
    """A command line that cannot be parsed."""


def _parse(arguments: list[str]) -> Any:
    """The chosen command; what tyro draws as a box on wrong usage becomes one line."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(Command, prog="titans-seq", args=arguments, config=(tyro.conf.OmitArgPrefixes,))
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        lines = [line.strip("│╭╮╰╯ ") for line in box.getvalue().splitlines()][1:]  # below the title
        said = itertools.takewhile(_is_text, itertools.dropwhile(_is_rule, lines))
        message = re.sub(r"\s+", " ", " ".join(said)) or "wrong usage"
        raise _Usage(f"{message} (see titans-seq --help)") from None


def _is_rule(line: str) -> bool:
    return set(line) <= {"─", "-"}


def _is_text(line: str) -> bool:
    return not _is_rule(line)


def _one_line_warning(
    message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    print(f"warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
