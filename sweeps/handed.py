"""`python -m titans_seq.sweeps.handed`: a worker of a Python program, which hands its objects over on standard input.

What is read comes from the program that started this process, by a file of its own that only its user can read; no
other pickle is ever opened.
"""

import os
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path

from titans_seq.program import parse_arguments, run_guarded


@dataclass(frozen=True, kw_only=True)
class Handed:
    """A worker whose search is on standard input."""

    study: str
    """Name of the study; its storage is in a variable of the environment."""
    output: Path
    """Folder for the best models."""

    def run(self) -> None:
        """Work until the study is done."""
        from titans_seq.sweeps.storage import VARIABLE
        from titans_seq.sweeps.study import open_study
        from titans_seq.sweeps.worker import Worker

        sys.path[:] = pickle.load(sys.stdin.buffer)
        search = pickle.load(sys.stdin.buffer)
        study, storage, plan = open_study(os.environ[VARIABLE], self.study)
        Worker(study, storage, plan, search, self.output, os.environ["MLFLOW_TRACKING_URI"]).run()


def main() -> None:
    """Run the program; always end by SystemExit."""
    sys.exit(run_guarded(lambda: parse_arguments(Handed, "worker", sys.argv[1:]).run()))


if __name__ == "__main__":
    main()
