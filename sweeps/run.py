"""`titans-seq sweep run`: a study from its plan to its winner, by workers that may die."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_seq.errors import SweepError, TitansSeqWarning
from titans_seq.pipelines.output import claim_folder
from titans_seq.pipelines.tracked import log_results, log_scores
from titans_seq.tracking import OFF, Run, track

if TYPE_CHECKING:
    from optuna.study import Study

    from titans_seq.sweeps.plan import Plan
    from titans_seq.sweeps.tasks import Task

FILES = ("metrics.json", "trials.csv", "history.png", "importances.png", "model")
SCRATCH = "trials"
"""Folder of the best models so far, while a sweep runs."""
PATIENCE = 60.0
"""Seconds that workers are given to end after they were told to."""


@dataclass(frozen=True, kw_only=True)
class SweepRun:
    """Search hyper-parameters with several workers; what was finished stays, and `--resume` goes on with it."""

    domain: str
    """timeseries, genomics or language."""
    data: Path | None = None
    """What the domain's own command takes; none means its embedded data."""
    horizon: int = 24
    """Time series: steps to forecast."""
    test_fraction: float = 0.2
    """Share of the data that no trial sees; the winner is scored on it."""
    vary: tuple[str, ...] = ()
    """What is searched, as NAME=1,2,4 or NAME=1:8 or NAME=1e-4:1e-2:log; none means depth, chunk size, gates, variant,
    width and learning rate."""
    set: tuple[str, ...] = ()
    """What is the same in every trial, as NAME=VALUE; any parameter of the domain's estimator."""
    trials: int = 20
    """Finished trials (complete or pruned) of the whole study."""
    workers: int = 1
    """Processes side by side; they share the processors."""
    study: str | None = None
    """Name of the study; the domain's if not given."""
    storage: str | None = None
    """sqlite:///FILE or postgresql://...; the variable TITANS_SEQ_STORAGE, or sweeps.db here, if not given."""
    resume: bool = False
    """Go on with a study of that name."""
    prune: bool = True
    """Give up trials that fall behind."""
    max_failures: int = 5
    """Failed trials in a row that end the study."""
    max_retries: int = 3
    """Times that the parameters of a killed trial are tried again."""
    heartbeat: int = 10
    """Seconds between signs of life of a trial; after three without, it counts as dead."""
    seed: int = 0
    """Of the search and of every trial."""
    output: Path = Path("runs/sweep")
    """Folder for the results."""
    force: bool = False
    """Overwrite earlier results in the output folder."""
    tracking_uri: str | None = None
    """MLflow server or database; a file mlflow.db here if not given, `off` for none."""
    json: bool = False
    """Print the result as JSON on standard output instead of tables."""

    def run(self) -> dict[str, Any]:
        """Do it; returns what metrics.json holds."""
        return run_sweep(self)


def run_sweep(options: SweepRun) -> dict[str, Any]:
    """Plan or resume, start workers, wait, and write the winner.

    Raises:
        DataError: wrong input; no study was made then.
        StorageError: the storage cannot be reached.
        SweepError: the name is in use, the study is of another plan, trials failed in a row, or workers kept dying.
        KeyboardInterrupt: Ctrl-C; trials at hand are free for the next run.
    """
    from titans_seq.sweeps.plan import planned
    from titans_seq.sweeps.report import summary, write_report
    from titans_seq.sweeps.space import Space
    from titans_seq.sweeps.storage import opened
    from titans_seq.sweeps.study import assigned, earlier, planned_study
    from titans_seq.sweeps.worker import PARENT

    if options.workers < 1:
        raise SweepError(f"workers must be at least 1, not {options.workers}")
    names = ("horizon", "test_fraction", "trials", "prune", "max_failures", "max_retries", "heartbeat", "seed")
    plan = planned(
        options.domain,
        options.data,
        Space.parse(options.vary),
        fixed=assigned(options.set),
        **{name: getattr(options, name) for name in names},
    )
    task = plan.open()
    plan.check(task)
    name = options.study or options.domain
    claim_folder(options.output, FILES, options.force)
    storage = opened(options.storage, plan.heartbeat, fresh=True)
    study = earlier(storage, name, plan, options.resume)
    parent = None if study is None else study.user_attrs.get(PARENT)
    began = time.perf_counter()
    parameters = {"domain": plan.domain, "data": task.name, "random_state": plan.seed, "trials": plan.trials}
    with track(options.tracking_uri, name, f"{name} (study)", parameters, again=parent) as run:
        study = planned_study(storage, name, plan, study)
        if run.run_id is not None:
            study.set_user_attr(PARENT, run.run_id)
            run.data(task.frame, task.name)
        uri = OFF if run.run_id is None else options.tracking_uri
        with _workers(options, name, uri) as team:
            _wait(team, study, plan, not options.json and sys.stderr.isatty())
        result = summary(study, plan) | {"seconds": round(time.perf_counter() - began, 1), "workers": options.workers}
        _finish(options, task, result, run)
        write_report(options.output, study, result)
        log_results(run, options.output, [file for file in FILES if (options.output / file).exists()])
    if not options.json:
        from titans_seq.sweeps.report import best_table

        best_table(result)
        print(f"{', '.join(FILES[:-1])} and the best model are in {options.output}")
    return result


class Team:
    """Worker processes, started again when something kills them."""

    def __init__(self, command: list[str], environment: dict[str, str], logs: Path, size: int, restarts: int) -> None:
        self.command, self.environment, self.logs, self.restarts = command, environment, logs, restarts
        self.processes = [self._start(n) for n in range(size)]

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        with self._log(number).open("ab") as log:
            return subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
                start_new_session=True,
            )  # fmt: skip

    def _log(self, number: int) -> Path:
        return self.logs / f"worker-{number}.log"

    def working(self) -> bool:
        """Whether any is still at work; what was killed is started again.

        Raises:
            SweepError: a worker gave up, with its reason; or too many were killed.
        """
        for number, process in enumerate(self.processes):
            code = process.poll()
            if code in (None, 0):
                continue
            if code > 0 or not self.restarts:
                raise SweepError(self._said(number) or f"worker {number} ended with exit code {code}")
            self.restarts -= 1
            warnings.warn(f"worker {number} was killed by signal {-code}: another one takes its place",
                          TitansSeqWarning, stacklevel=2)  # fmt: skip
            self.processes[number] = self._start(number)
        return any(p.poll() is None for p in self.processes)

    def _said(self, number: int) -> str:
        lines = self._log(number).read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        return (errors or lines or [""])[-1].removeprefix("error: ")

    def stop(self) -> None:
        """Tell all to end; kill those that do not."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        for process in self.processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _workers(options: SweepRun, name: str, uri: str | None) -> Iterator[Team]:
    """The workers; none is left behind, whatever happens."""
    from titans_seq.sweeps.storage import VARIABLE, located

    logs = options.output / "logs"
    logs.mkdir(exist_ok=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    environment = os.environ | {
        VARIABLE: located(options.storage).render_as_string(hide_password=False),
        "OMP_NUM_THREADS": str(max(1, cores // options.workers)),
    }
    if uri is not None:
        environment["MLFLOW_TRACKING_URI"] = uri
    command = [sys.executable, "-m", "titans_seq.cli", "sweep", "worker", "--study", name,
               "--output", str(options.output / SCRATCH)]  # fmt: skip
    team = Team(command, environment, logs, options.workers, restarts=10 * options.workers)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield team
    finally:
        team.stop()
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _wait(team: Team, study: Study, plan: Plan, shown: bool) -> None:
    """Until the study is done, with a bar on standard error."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn

    from titans_seq.sweeps.reconcile import Counts
    from titans_seq.sweeps.worker import best_value

    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TextColumn("{task.fields[best]}"))
    with Progress(*columns, console=Console(stderr=True), disable=not shown, transient=True) as bar:
        row = bar.add_task("trials", total=plan.trials, best="")
        while team.working():
            counts = Counts.of(study.get_trials(deepcopy=False))
            bar.update(row, completed=counts.finished, best=f"best {best_value(study):.4g}")
            time.sleep(0.5)


def _finish(options: SweepRun, task: Task, result: dict[str, Any], run: Run) -> None:
    """The winner's model to its place, and its scores on what no trial has seen."""
    if result["best"] is None:
        return
    number, parameters = result["best"]["trial"], result["best"]["parameters"]
    trained = options.output / SCRATCH / str(number)
    if trained.is_dir():
        model = task.estimator().load(trained)
    else:
        warnings.warn(f"the model of trial {number} is not here: it is trained again", TitansSeqWarning, stacklevel=2)
        model = task.model(parameters)
        task.fit(model)
    model.save(options.output / "model")
    shutil.rmtree(options.output / SCRATCH, ignore_errors=True)
    result["test"] = task.test(model)
    for name, value in parameters.items():  # tags: a study that goes on may find a better one
        run.tag(f"best_{name}", str(value))
    run.metrics({"best_val_loss": result["best"]["val_loss"], "fit_seconds": result["fit_seconds"]})
    run.metrics({name: result[name] for name in ("complete", "pruned", "failed", "lost")})
    log_scores(run, {"titans": result["test"]})
