"""The program `titans-seq` and its sub-commands."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from titans_seq.pipelines.classify import Classify
from titans_seq.pipelines.compare import Compare
from titans_seq.pipelines.data import DataPath, FetchData, ListData
from titans_seq.pipelines.explain import Explain
from titans_seq.pipelines.forecast import Forecast
from titans_seq.pipelines.generate import Generate
from titans_seq.pipelines.kernel import Kernel
from titans_seq.pipelines.lm import LanguageModel
from titans_seq.pipelines.predict import Predict
from titans_seq.pipelines.runs import ListRuns
from titans_seq.pipelines.scan import Scan
from titans_seq.pipelines.surprise import Surprise
from titans_seq.pipelines.tag import Tag
from titans_seq.pipelines.variants import Variants
from titans_seq.program import run_program
from titans_seq.sweeps.commands import SweepBest, SweepReport, SweepRun, SweepStatus, SweepWorker

command = tyro.conf.subcommand


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
        | Annotated[SweepReport, command("report", prefix_name=False)]
    ]

    def run(self) -> Any:
        """Run the sub-command."""
        return self.what.run()


Command = (
    Annotated[Forecast, command("forecast")]
    | Annotated[Classify, command("classify")]
    | Annotated[Tag, command("tag")]
    | Annotated[Scan, command("scan")]
    | Annotated[Variants, command("variants")]
    | Annotated[Explain, command("explain")]
    | Annotated[Predict, command("predict")]
    | Annotated[LanguageModel, command("lm")]
    | Annotated[Generate, command("generate")]
    | Annotated[Surprise, command("surprise")]
    | Annotated[Sweep, command("sweep")]
    | Annotated[Runs, command("runs")]
    | Annotated[Data, command("data")]
    | Annotated[Kernel, command("kernel")]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program; always end by SystemExit."""
    sys.exit(execute(sys.argv[1:] if arguments is None else list(arguments)))


def execute(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    return run_program(Command, "titans-seq", arguments)


if __name__ == "__main__":
    main()
