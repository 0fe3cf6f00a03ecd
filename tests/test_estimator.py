"""The base of all estimators: parameters, fitting, files."""

import inspect
import json
import signal
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import nn
from torch.utils.data import DataLoader

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.registry import DOMAINS
from titans_seq.errors import DataError, ModelError, TrainingError
from titans_seq.estimator import TitansEstimator
from titans_seq.memory.config import MemoryOptions
from titans_seq.stored import Stored
from titans_seq.training import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class LineConfig:
    """Sizes of a line."""

    inputs: int
    """Known from the data."""

    bias: bool = True
    """Whether it may miss the origin."""

    width: float = 1.0
    """Times the slope.

    More than one line of it.
    """

    hidden: int = 3
    """Nobody's business."""

    def __post_init__(self):
        if self.width <= 0:
            raise ValueError(f"width must be positive, not {self.width!r}")


class FittedLine(Stored):
    """What a line learned."""

    inputs: int


class Line(TitansEstimator, configs=(LineConfig, TrainingConfig), derived=("hidden",), defaults={"max_epochs": 4}):
    """A line.

    Attributes:
        slope_: what was found.
    """

    Fitted = FittedLine

    shift: float = 0.5
    """Added to the answers."""

    def fit(self, X, y=None, on_epoch=None):
        x = torch.as_tensor(X, dtype=torch.float32)
        network = nn.Linear(x.shape[1] - 1, 1)
        rows = DataLoader(x, self.batch_size)
        self.train_network(network, squared_error, rows, rows, on_epoch, inputs_=x.shape[1] - 1)
        return self

    def fitted_config(self):
        return {"inputs": self.inputs_}

    def fitted_tensors(self):
        return {"ones": torch.ones(2)}

    def restore(self, fitted, tensors):
        self.configure(TrainingConfig)
        config = self.configure(LineConfig, inputs=fitted.inputs)
        if tensors["ones"].shape != (2,):
            raise ValueError("no two ones")
        self.inputs_ = config.inputs
        return lambda: nn.Linear(config.inputs, 1)


def squared_error(network, rows):
    return (network(rows[:, :-1]) - rows[:, -1:]).square().mean()


def points(count=64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 2))
    return np.column_stack([x, x @ [2.0, -1.0] + 0.5])


def test_parameters_are_the_fields_of_the_configurations():
    names = list(inspect.signature(Line).parameters)
    assert names[:3] == ["shift", "bias", "width"]
    assert names[-2:] == ["random_state", "verbose"]
    assert {"inputs", "hidden"}.isdisjoint(names), "known from the data, and derived"
    assert Line().max_epochs == 4
    assert Line().patience == TrainingConfig().patience
    assert Line(width=2).get_params()["width"] == 2
    assert clone(Line(width=2, shift=1)).get_params() == Line(width=2, shift=1).get_params()
    assert repr(Line(width=2)) == "Line(width=2)"
    with pytest.raises(TypeError, match="Line has no parameter 'wide'; it has average, batch_size"):
        Line(wide=1)
    with pytest.raises(TypeError, match="positional"):
        Line(1.0)
    with pytest.raises(TypeError, match="Wrong has no parameters colour"):

        class Wrong(TitansEstimator, configs=(LineConfig,), defaults={"colour": 1}):
            pass


def test_docstrings_say_what_every_parameter_is():
    doc = inspect.getdoc(Line)
    assert "Args:\n    shift: Added to the answers.\n    bias: Whether it may miss the origin.\n" in doc
    assert "    width: Times the slope.\n\n        More than one line of it.\n" in doc
    assert doc.index("Args:") < doc.index("Attributes:")
    for domain in DOMAINS.values():
        kind = domain.load_estimator()
        assert set(kind.parameter_docs) == set(kind().get_params())
        assert all(kind.parameter_docs.values())


def test_every_option_of_the_memory_is_a_parameter_of_every_estimator():
    """One field in `MemoryOptions` is all that a new option takes."""
    options = set(MemoryOptions.__dataclass_fields__) - {"checkpoint_tokens"}
    shared = set(BackboneConfig.__dataclass_fields__) | set(TrainingConfig.__dataclass_fields__)
    for domain in DOMAINS.values():
        known = set(domain.load_estimator()().get_params())
        assert options <= known
        assert shared - {"checkpoint_tokens"} <= known
        assert {"window", "mlp_expansion", "persistent_tokens", "memory_activation", "gradient_clip"} <= known


def test_options_reach_the_memory(waves):
    """From the estimator to each memory, by name; also a segment that nobody could set before."""
    from titans_seq import NeuralMemory, TitansForecaster

    model = TitansForecaster(
        horizon=8, context=80, patch=4, variant="mac", chunk_size=10, window=20, dim=8, layers=1, heads=1,
        max_step=0.4, persistent_tokens=2, induction=False, memory_activation="gelu", max_epochs=1,
    )  # fmt: skip
    model.fit(waves)
    memories = [m for m in model.network_.modules() if isinstance(m, NeuralMemory)]
    assert memories
    for memory in memories:
        assert (memory.config.max_step, memory.config.chunk_size, memory.config.induction) == (0.4, 10, False)
        assert memory.config.activation == "gelu"
    assert model.predict().shape == (8, 2)


def test_numbers_of_numpy_are_numbers_and_wrong_ones_are_told():
    config = Line(max_epochs=np.int64(2), width=np.float32(0.5)).configure(LineConfig, inputs=1)
    assert type(config.width) is float
    with pytest.raises(DataError, match="width must be positive, not -1"):
        Line(width=-1).configure(LineConfig, inputs=1)
    for wrong in ({"batch_size": 0}, {"gradient_clip": -1}, {"validation_fraction": "a"}, {"random_state": -1}):
        with pytest.raises(DataError):
            Line(**wrong).configure(TrainingConfig)


def test_fit_keeps_the_best_and_tells_of_each_epoch():
    seen = []
    model = Line(learning_rate=0.1, max_epochs=3).fit(
        points(), on_epoch=lambda m, best: seen.append((len(m.history_.validation_loss), best))
    )
    assert [epoch for epoch, _ in seen] == [1, 2, 3]
    assert seen[0][1] is True
    assert model.inputs_ == 2
    with torch.no_grad():
        error = float(squared_error(model.network_, torch.as_tensor(points(), dtype=torch.float32)))
    assert error == pytest.approx(min(model.history_.validation_loss), rel=1e-4)


def test_ctrl_c_leaves_a_fitted_estimator():
    def stop(model, best):
        if len(model.history_.validation_loss) == 2:
            signal.raise_signal(signal.SIGINT)

    model = Line(max_epochs=50)
    with pytest.raises(KeyboardInterrupt):
        model.fit(points(), on_epoch=stop)
    assert len(model.history_.validation_loss) == 2
    assert model.inputs_ == 2


def test_an_error_before_the_first_epoch_leaves_it_unfitted():
    model = Line()
    with pytest.raises(TrainingError):
        model.fit(np.full((8, 3), np.nan))
    assert not hasattr(model, "network_")


def test_files(tmp_path):
    with pytest.raises(NotFittedError):
        Line().save(tmp_path / "model")
    model = Line(width=2.0).fit(points())
    folder = model.save(tmp_path / "model")
    loaded = Line.load(folder)
    assert loaded.get_params() == model.get_params()
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.network_.parameters(), model.network_.parameters(), strict=True)
    )
    assert loaded.history_.validation_loss == model.history_.validation_loss
    assert not loaded.network_.training
    config = json.loads((folder / "config.json").read_text())
    for damage, message in (
        ({"format_version": 2}, "saved in format 2 by version .* reads format 3 only: train the model again"),
        ({"kind": "Curve"}, "holds a Curve, not a Line"),
        ({"parameters": {"colour": 1}}, r"parameters\.colour in config\.json: extra inputs are not permitted"),
        ({"parameters": {"width": -1}}, "width must be positive"),
        (
            {"parameters": {"max_epochs": []}},
            r"parameters\.max_epochs in config\.json: input should be a valid integer",
        ),
        ({"fitted": {"inputs": 3}}, r"weight is \(1, 2\) float32, the configuration describes \(1, 3\) float32"),
        ({"fitted": {"inputs": 10**9}}, "the network is larger than allowed"),
        ({"fitted": {}}, r"fitted\.inputs in config\.json: field required"),
        ({"training": None}, "training in config.json: input should be an object"),
    ):
        (folder / "config.json").write_text(json.dumps(config | damage))
        with pytest.raises(ModelError, match=message):
            Line.load(folder)
