"""What the commands that train have in common: options, and the way from data to a model, scores and a tracked run."""

import os
from contextlib import redirect_stdout
from dataclasses import dataclass, fields, replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from titans_seq.domains.registry import find_domain
from titans_seq.domains.task import Task, TaskOptions
from titans_seq.errors import DataError
from titans_seq.files import write_json
from titans_seq.pipelines.log import fit_and_log, log_results, log_scores, run_parameters
from titans_seq.pipelines.options import ResultOptions, TrackingOption
from titans_seq.pipelines.output import claim_folder, hold_folder, plain_table, score_table
from titans_seq.pipelines.saved import check_registered_name, register_model
from titans_seq.pipelines.settings import parse_settings
from titans_seq.tracking import OFF, track


@dataclass(frozen=True, kw_only=True)
class TrainingCommand(ResultOptions, TrackingOption, TaskOptions):
    """Options of every command that trains.

    A command adds the options of its domain's task, and parameters of its estimator under their own names; None means
    the estimator's default.
    """

    domain: ClassVar[str]
    """Name of the domain."""
    experiment: ClassVar[str]
    """Name of the command, and of the MLflow experiment of its runs."""

    variant: str | None = None
    """Backbone: lmm, mac, mag, mal or attention; none means the estimator's default, here and below."""
    max_epochs: int | None = None
    """Passes over the training data at the most."""
    max_minutes: float | None = None
    """Training time of each model at the most."""
    set: tuple[str, ...] = ()
    """Any other parameter of the estimator, as NAME=VALUE; several are separated by blanks."""
    register: str | None = None
    """Name, or NAME@ALIAS, that the model gets in MLflow's registry; none registers nothing."""

    @property
    def folder(self) -> Path:
        """The output folder; a command has an option `output` with a default of its own."""
        folder: Path = self.output  # type: ignore[attr-defined]
        return folder

    def parameters(self) -> dict[str, Any]:
        """Return the estimator's parameters that the options give.

        Raises:
            DataError: one is given twice.
        """
        domain = find_domain(self.domain)
        taken = {field.name for field in fields(domain.load_task().Options)}
        known = set(domain.load_estimator()().get_params()) - taken
        given = {f.name: (getattr(self, f.name), f.default) for f in fields(self) if f.name in known}
        chosen = {name: value for name, (value, default) in given.items() if value != default}
        settings = parse_settings(self.set)
        if twice := set(settings) & set(chosen):
            raise DataError(f"{min(twice)} is set twice: as an option of its own and by --set")
        own = {"random_state": self.seed, "verbose": not self.json}
        return own | chosen | settings

    def run(self) -> dict[str, Any] | None:
        """Train; return the content of metrics.json, or None in all but the first process of torchrun."""
        if os.environ.get("RANK", "0") == "0":
            return run_training(self)
        with TemporaryDirectory() as folder, redirect_stdout(StringIO()):
            silent: dict[str, Any] = {
                "output": Path(folder),
                "tracking_uri": OFF,
                "register": None,
                "json": True,
                "force": True,
            }
            run_training(replace(self, **silent))
        return None


def run_name(task: Task, model: Any) -> str:
    """Return what a run is called: its data, and what tells it from runs beside it at a glance."""
    parameters = model.get_params()
    return f"{Path(task.name).stem} {parameters['variant']} seed {parameters['random_state']}"


def run_training(options: TrainingCommand) -> dict[str, Any]:
    """Read, fit, compare with simple methods, write and track.

    Raises:
        DataError: wrong input; nothing has been written then.
        KeyboardInterrupt: Ctrl-C; the best model so far stands in `OUTPUT/model`.
    """
    task = find_domain(options.domain).load_task()(options)
    model = task.build(options.parameters())
    files = (*task.files, "metrics.json", "model")
    check_registered_name(options.register, options.tracking_uri)
    claim_folder(options.folder, files, options.force)
    with (
        hold_folder(options.folder),
        track(options.tracking_uri, options.experiment, run_name(task, model), run_parameters(task, model)) as run,
    ):
        if not options.json:
            for title, rows in task.overview():
                plain_table(title, rows)
        run.data(task.frame, task.name)
        fit_and_log(run, task, model, options.folder / "model")
        report = task.report(model, options.folder)
        model.save(options.folder / "model")
        metrics = {"data": task.name, "models": report.scores, **report.details, "seed": options.seed}
        write_json(options.folder / "metrics.json", metrics)
        run.metrics(task.sizes())
        log_scores(run, report.scores)
        model_uri = log_results(run, options.folder, files)
        registered = options.register and register_model(model_uri, options.register, run)
    if not options.json:
        names = ", ".join(name for name in files if name != "model")
        note = f"{names} and the model are in {options.folder}" + (f", and as {registered}" if registered else "")
        score_table(report.title, report.scores, note, report.higher_is_better)
    return metrics
