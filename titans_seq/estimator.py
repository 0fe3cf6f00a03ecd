"""The scikit-learn base of every estimator: parameters from configurations, fitting, saving and loading.

A parameter has one home, the field of a configuration. An estimator names its configurations and reads all of their
fields; no parameter is passed on by hand.
"""

import inspect
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.utils.data import DataLoader

from titans_seq.docstrings import attribute_docs, insert_arguments
from titans_seq.errors import DataError
from titans_seq.saving import build_network, load_folder, save_folder, translate_load_errors
from titans_seq.stored import Stored, read_section, section_of
from titans_seq.training import History, LossFunction, TrainingConfig, train
from titans_seq.training.history import StoredHistory

C = TypeVar("C")
LAST = ("random_state", "verbose")
"""Parameters at the end of every signature."""
NETWORK = "network."
"""Prefix of the network's tensors in a saved model."""


class TitansEstimator(BaseEstimator):  # type: ignore[misc]
    """Base class of the estimators of all domains.

    A subclass names the dataclasses whose fields become its parameters; all fields with a default do, but for those
    that are `derived` from the data or from other parameters. Annotated class attributes with a value are parameters
    too. `defaults` are defaults of this estimator that differ from those of the dataclass.

        class Counter(TitansEstimator, configs=(BackboneConfig, TrainingConfig), defaults={"dim": 32}):
            '''Count things.'''

            least: int = 1
            '''Things that count.'''

    From these come the keyword-only constructor, `get_params`, and the section Args of the docstring. `configure` makes
    a configuration of the parameters. A subclass then has `fit`, which ends in `train_network`, and the hooks
    `fitted_config`, `fitted_tensors` and `restore`, from which `save` and `load` are made.

    Attributes:
        network_: the trained network, in evaluation mode, on the processor.
        history_: losses per epoch and seconds.
    """

    parameter_docs: ClassVar[Mapping[str, str]] = {}
    """What each parameter is, by name, in the order of the signature."""

    Fitted: ClassVar[type[Stored]] = Stored
    """Names and types of what `fitted_config` returns."""

    network_: Any
    history_: History

    if TYPE_CHECKING:  # the parameters that this file and its subclasses use, whatever configuration they come from

        def __init__(self, **parameters: Any) -> None: ...

        batch_size: int
        validation_fraction: float
        random_state: int
        verbose: bool

    def __init_subclass__(
        cls,
        configs: Collection[type] | None = None,
        defaults: Mapping[str, Any] | None = None,
        derived: Collection[str] = (),
        **options: Any,
    ) -> None:
        super().__init_subclass__(**options)
        if configs is not None:
            _add_parameters(cls, configs, defaults or {}, derived)

    def configure(self, config: type[C], **values: Any) -> C:
        """Return a configuration made of the parameters that have the names of its fields.

        Args:
            values: fields that are not parameters, or that differ from them.

        Raises:
            DataError: a value is out of range.
        """
        assert is_dataclass(config)
        names = {field.name for field in fields(config)} & set(self.parameter_docs)
        chosen = {name: _plain(getattr(self, name)) for name in names - set(values)}
        try:
            return config(**chosen, **values)
        except (TypeError, ValueError) as error:
            raise DataError(str(error)) from error

    def train_network(
        self,
        network: nn.Module,
        loss: LossFunction,
        batches: DataLoader[Any],
        validation: DataLoader[Any],
        on_epoch: Callable[[Self, bool], object] | None = None,
        keep_start: bool = False,
        config: TrainingConfig | None = None,
        **fitted: Any,
    ) -> None:
        """Train a network and become fitted with the best of it, also after Ctrl-C.

        Args:
            on_epoch: called after each epoch with this estimator, fitted with the best weights so far, and whether the
                epoch was the best so far.
            keep_start: see `titans_seq.training.train`.
            config: how to train; None: as the parameters say.
            fitted: further attributes to set when the estimator becomes fitted.

        Raises:
            TrainingError: the loss was not finite before any epoch ended; later, that is a warning and the best
                epoch before is kept.
            KeyboardInterrupt: after Ctrl-C; the estimator is fitted if an epoch has ended.
        """
        history = History()
        chosen = self.configure(TrainingConfig) if config is None else config

        def become_fitted() -> None:
            self.network_, self.history_ = network, history
            for name, value in fitted.items():
                setattr(self, name, value)

        def after_epoch(history: History) -> None:
            if on_epoch is not None and history.best is not None:
                become_fitted()
                on_epoch(self, history.is_best_last)

        try:
            train(network, loss, batches, validation, chosen, after_epoch, history, keep_start)
        finally:
            if history.best is not None:
                become_fitted()

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write config.json and model.safetensors; an earlier model in the folder is replaced.

        Raises:
            ModelError: the folder holds something else, or cannot be written.
            sklearn.exceptions.NotFittedError: `fit` has not been called.
        """
        check_is_fitted(self, "network_")
        network = {NETWORK + name: tensor for name, tensor in self.network_.state_dict().items()}
        return save_folder(folder, type(self).__name__, self.to_config(), network | self.fitted_tensors())

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote; nothing in the folder is executed.

        Raises:
            ModelError: there is no such model, it is damaged, or of another version of the format.
        """
        config, tensors = load_folder(folder, cls.__name__)
        with translate_load_errors(folder):
            parameters = read_section(_parameter_section(cls), config, "parameters")
            model = cls(**{name: getattr(parameters, name) for name in parameters.model_fields_set})
            weights = {n.removeprefix(NETWORK): t for n, t in tensors.items() if n.startswith(NETWORK)}
            others = {name: tensor for name, tensor in tensors.items() if not name.startswith(NETWORK)}
            build = model.restore(read_section(cls.Fitted, config, "fitted"), others)
            model.network_ = build_network(build, weights, model.get_params(deep=False))
            model.history_ = History.from_stored(read_section(StoredHistory, config, "training"))
        return model

    def to_config(self) -> dict[str, Any]:
        """Return what config.json holds of a fitted estimator, as plain values."""
        return {
            **self.description(),
            "parameters": self.stored_parameters(),
            "fitted": self.fitted_config(),
            "training": self.history_.to_dict(),
        }

    def stored_parameters(self) -> dict[str, Any]:
        """Return the parameters as JSON can hold them."""
        return dict(self.get_params(deep=False))

    def description(self) -> dict[str, Any]:
        """Return what config.json says to other libraries; `load` does not read it."""
        return {}

    def fitted_config(self) -> dict[str, Any]:
        """Return the plain values that `fit` learned, for config.json."""
        return {}

    def fitted_tensors(self) -> dict[str, Tensor]:
        """Return the tensors that `fit` learned beside the network's."""
        return {}

    def restore(self, fitted: Any, tensors: dict[str, Tensor]) -> Callable[[], nn.Module]:
        """Set the attributes that `fit` learned; return a function that builds the network, without weights.

        Args:
            fitted: what `fitted_config` returned, as `Fitted`, from a file: types are right, trust nothing else.
            tensors: what `fitted_tensors` returned, likewise.

        Raises:
            ValueError, LookupError, TypeError: the values do not fit together.
        """
        raise NotImplementedError


def _parameter_section(cls: type[TitansEstimator]) -> type[Stored]:
    """Return the section of a saved model that holds its parameters, of the types that they are annotated with."""
    signature = inspect.signature(cls)
    return section_of(cls.__name__, {name: p.annotation for name, p in signature.parameters.items()})


def _add_parameters(
    cls: type[TitansEstimator], configs: Collection[type], defaults: Mapping[str, Any], derived: Collection[str]
) -> None:
    """Give a class its constructor, `parameter_docs`, and the section Args of its docstring."""
    found: dict[str, tuple[Any, Any, str]] = {}  # name -> default, annotation, docstring
    own = attribute_docs(cls)
    for name, annotation in inspect.get_annotations(cls).items():
        if name in vars(cls) and not name.endswith("_"):
            found[name] = vars(cls)[name], annotation, own.get(name, "")
    for config in configs:
        docs = attribute_docs(config)
        for field in fields(config):
            default = defaults.get(field.name, field.default)
            if field.name not in found and field.name not in derived and default is not MISSING:
                found[field.name] = default, field.type, docs.get(field.name, "")
    if unknown := set(defaults) - set(found):
        raise TypeError(f"{cls.__name__} has no parameters {', '.join(sorted(unknown))}")
    names = [name for name in found if name not in LAST] + [name for name in LAST if name in found]
    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=found[name][0], annotation=found[name][1])
        for name in names
    ]
    start = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    initial = {name: found[name][0] for name in names}

    def __init__(self: TitansEstimator, **chosen: Any) -> None:
        for name in chosen:
            if name not in initial:
                raise TypeError(f"{cls.__name__} has no parameter {name!r}; it has {', '.join(sorted(initial))}")
        for name, value in (initial | chosen).items():
            setattr(self, name, value)

    __init__.__signature__ = inspect.Signature([start, *parameters])  # type: ignore[attr-defined]
    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    cls.__init__ = __init__  # type: ignore[method-assign]
    cls.parameter_docs = {name: found[name][2] for name in names}
    cls.__doc__ = insert_arguments(cls.__doc__ or "", cls.parameter_docs)


def _plain(value: Any) -> Any:
    """Return NumPy's scalars as Python's."""
    return value.item() if isinstance(value, np.generic) else value
