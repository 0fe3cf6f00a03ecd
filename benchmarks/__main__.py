"""`python -m benchmarks NAME [options]`: run a benchmark; `--help` lists them.

A benchmark is a module of this package with a dataclass of its own name that has a method `run`, a function
`describe_figures` for benchmarks/README.md, and a line below.
"""

import sys
from typing import Annotated

from tyro.conf import subcommand

from benchmarks.attack import Attack
from benchmarks.babilong import Babilong
from benchmarks.capacity import Capacity
from benchmarks.defaults import Defaults
from benchmarks.endurance import Endurance
from benchmarks.equal_time import EqualTime
from benchmarks.forecasters import Forecasters
from benchmarks.genomics import Genomics
from benchmarks.gift_eval import GiftEval
from benchmarks.harness import Harness
from benchmarks.keeping import Keeping
from benchmarks.language import Language
from benchmarks.long_horizon import LongHorizon
from benchmarks.needle import Needle
from benchmarks.online import Online
from benchmarks.readme import Readme
from benchmarks.recall import Recall
from benchmarks.rereading import Rereading
from benchmarks.scaling import Scaling
from benchmarks.scan import Scan
from benchmarks.score import Score
from benchmarks.serving import Serving
from benchmarks.sizes import Sizes
from benchmarks.speed import Speed
from benchmarks.stability import Stability
from benchmarks.streaming import Streaming
from benchmarks.sweeps import Sweeps
from benchmarks.tagging import Tagging
from benchmarks.training_memory import TrainingMemory
from benchmarks.training_step import TrainingStep
from titans_seq.program import run_program

Command = (
    Annotated[Attack, subcommand("attack")]
    | Annotated[Babilong, subcommand("babilong")]
    | Annotated[Capacity, subcommand("capacity")]
    | Annotated[Defaults, subcommand("defaults")]
    | Annotated[Endurance, subcommand("endurance")]
    | Annotated[Forecasters, subcommand("forecasters")]
    | Annotated[Genomics, subcommand("genomics")]
    | Annotated[GiftEval, subcommand("gift-eval")]
    | Annotated[Harness, subcommand("harness")]
    | Annotated[EqualTime, subcommand("equal-time")]
    | Annotated[Keeping, subcommand("keeping")]
    | Annotated[Language, subcommand("language")]
    | Annotated[LongHorizon, subcommand("long-horizon")]
    | Annotated[Needle, subcommand("needle")]
    | Annotated[Online, subcommand("online")]
    | Annotated[Recall, subcommand("recall")]
    | Annotated[Rereading, subcommand("rereading")]
    | Annotated[Scaling, subcommand("scaling")]
    | Annotated[Scan, subcommand("scan")]
    | Annotated[Score, subcommand("score")]
    | Annotated[Serving, subcommand("serving")]
    | Annotated[Sizes, subcommand("sizes")]
    | Annotated[Speed, subcommand("speed")]
    | Annotated[Stability, subcommand("stability")]
    | Annotated[Streaming, subcommand("streaming")]
    | Annotated[Sweeps, subcommand("sweeps")]
    | Annotated[Tagging, subcommand("tagging")]
    | Annotated[TrainingMemory, subcommand("training-memory")]
    | Annotated[TrainingStep, subcommand("training-step")]
    | Annotated[Readme, subcommand("readme")]
)


def execute(arguments: list[str]) -> int:
    """Run one benchmark and return its exit code."""
    return run_program(Command, "python -m benchmarks", arguments)


if __name__ == "__main__":
    sys.exit(execute(sys.argv[1:]))
