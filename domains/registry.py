"""The domains there are. One row makes a domain known to sweeps, predict, serving and data.

Nothing else lists the domains. Other packages add theirs by an entry point of the group `titans_seq.domains`, which
every process then finds, or by `register`, which holds for the process at hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from titans_seq.domains.predictor import Predictor
from titans_seq.domains.task import Task
from titans_seq.errors import DataError, ModelError

GROUP = "titans_seq.domains"
"""Entry points of other packages; each loads a `Domain`."""
FIXED = ("random_state", "validation_fraction", "verbose")
"""Parameters of every estimator that change what the validation loss means."""


@dataclass(frozen=True, kw_only=True)
class Domain:
    """One domain; classes are named as MODULE:CLASS and imported when they are needed."""

    name: str
    """Its name on the command line."""
    estimator: str
    """The estimator, a `TitansEstimator`; a saved model names its class."""
    task: str
    """What commands and trials do with data, a `Task`."""
    predictor: str
    """What a saved model answers, a `Predictor`."""
    datasets: str | None = None
    """Public data sets by name, a mapping of `Dataset`."""
    space: Mapping[str, str] = field(default_factory=dict)
    """What a sweep varies by default: parameter -> range, as `titans-seq sweep run --vary` takes it."""
    fixed: tuple[str, ...] = ()
    """Parameters that change what the validation loss means, beside `FIXED`: they can be set, not varied."""

    @property
    def kind(self) -> str:
        """Name of the estimator's class, as in a saved model."""
        return self.estimator.partition(":")[2]

    def load_estimator(self) -> Any:
        """Import the estimator."""
        return load_object(self.estimator)

    def load_task(self) -> type[Task]:
        """Import the task."""
        found: type[Task] = load_object(self.task)
        return found

    def load_predictor(self) -> type[Predictor]:
        """Import the predictor."""
        found: type[Predictor] = load_object(self.predictor)
        return found

    def load_datasets(self) -> Mapping[str, Any]:
        """Import the table of data sets; empty if there is none."""
        found: Mapping[str, Any] = {} if self.datasets is None else load_object(self.datasets)
        return found


def _memory_space(chunk_sizes: str, dims: str, learning_rates: str) -> dict[str, str]:
    """Return ranges of the memory's depth, chunk size and gates, and of the network around it."""
    return {
        "variant": "lmm,mac,mag,mal",
        "memory_depth": "1:3",
        "chunk_size": chunk_sizes,
        "momentum": "true,false",
        "forget": "true,false",
        "initial_step": "0.01:0.3:log",
        "dim": dims,
        "learning_rate": learning_rates,
    }


DOMAINS: dict[str, Domain] = {
    domain.name: domain
    for domain in (
        Domain(
            name="timeseries",
            estimator="titans_seq.domains.timeseries.forecaster:TitansForecaster",
            task="titans_seq.domains.timeseries.task:ForecastTask",
            predictor="titans_seq.domains.timeseries.predictor:ForecastPredictor",
            datasets="titans_seq.domains.timeseries.datasets:DATASETS",
            space=_memory_space("4,8,16,32", "16,32,64", "5e-4:8e-3:log"),
            fixed=("calendar", "future_covariates", "horizon", "learn", "quantiles", "steps_per_epoch"),
        ),
        Domain(
            name="genomics",
            estimator="titans_seq.domains.genomics.classifier:TitansDNAClassifier",
            task="titans_seq.domains.genomics.task:ClassificationTask",
            predictor="titans_seq.domains.genomics.predictor:ClassPredictor",
            datasets="titans_seq.domains.genomics.datasets:DATASETS",
            space=_memory_space("4,8,16,32", "16,32,64", "1e-3:1e-2:log"),
            fixed=("class_weight", "label_smoothing"),
        ),
        Domain(
            name="tagging",
            estimator="titans_seq.domains.genomics.tagger:TitansDNATagger",
            task="titans_seq.domains.genomics.tag_task:TaggingTask",
            predictor="titans_seq.domains.genomics.tag_predictor:TagPredictor",
            space=_memory_space("8,16,32", "32,64", "1e-3:1e-2:log"),
        ),
        Domain(
            name="language",
            estimator="titans_seq.domains.language.language_model:TitansLM",
            task="titans_seq.domains.language.task:LanguageTask",
            predictor="titans_seq.domains.language.predictor:LineScorer",
            datasets="titans_seq.domains.language.datasets:DATASETS",
            space=_memory_space("8,16,32,64", "64,128,192", "1e-3:1e-2:log"),
            fixed=("vocabulary",),
        ),
    )
}
"""Name -> domain: those of this package, and those that `register` added."""


def register(domain: Domain) -> Domain:
    """Make a domain known in this process; one of the same name is replaced."""
    DOMAINS[domain.name] = domain
    return domain


def all_domains() -> dict[str, Domain]:
    """Return the domains by name, those of other packages among them.

    Raises:
        DataError: an entry point cannot be loaded, or is no domain.
    """
    found = dict(DOMAINS)
    for entry in entry_points(group=GROUP):
        try:
            domain = entry.load()
        except Exception as error:
            raise DataError(f"the domain {entry.name!r} of {entry.value} cannot be loaded: {error}") from error
        if not isinstance(domain, Domain):
            raise DataError(f"the entry point {entry.name!r} of {entry.value} is no Domain")
        found.setdefault(domain.name, domain)
    return found


def find_domain(name: str) -> Domain:
    """Return a domain by name.

    Raises:
        DataError: there is none.
    """
    domains = all_domains()
    if name not in domains:
        raise DataError(f"domain must be one of {', '.join(domains)}, not {name!r}")
    return domains[name]


def domain_of(kind: str) -> Domain | None:
    """Return the domain whose estimator's class has that name; None if there is none."""
    return next((domain for domain in all_domains().values() if domain.kind == kind), None)


def load_predictor(folder: Path) -> Predictor:
    """Return a saved model of any kind, ready to answer.

    Raises:
        ModelError: there is none, it is damaged, or no domain knows its kind.
    """
    from titans_seq.saving import read_config

    kind = str(read_config(folder).get("kind"))
    domain = domain_of(kind)
    if domain is None:
        raise ModelError(f"{folder} holds a {kind}; known are {', '.join(d.kind for d in all_domains().values())}")
    return domain.load_predictor()(folder)


def load_object(path: str) -> Any:
    """Import MODULE:NAME."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
