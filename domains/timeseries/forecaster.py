"""The scikit-learn style forecaster. Axes: S series, C channels, L look-back, H horizon."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.timeseries.fitting import fit_network
from titans_seq.domains.timeseries.losses import LOSSES
from titans_seq.domains.timeseries.network import ForecastConfig, ForecastNetwork
from titans_seq.domains.timeseries.panel import Panel, Series, to_panel
from titans_seq.domains.timeseries.prepare import Prepared, Scaling, prepare, tensors
from titans_seq.errors import DataError, ModelError, reason
from titans_seq.saving import load_folder, save_folder
from titans_seq.training import History, TrainingConfig, seeded


class TitansForecaster(BaseEstimator):  # type: ignore[misc]
    """Forecast one or many series, of one or many channels each, with a Titans memory.

    Frames are wide (DatetimeIndex x channels) or long (`unique_id`, `ds` and value columns). Gaps and NaN are seen
    by the model as missing; nothing is filled in. The last part of the history validates training.

    Args:
        horizon: steps to forecast.
        context: steps the forecast is made from.
        variant: backbone, see `BackboneConfig.variant`.
        dim, layers, heads: width of the tokens, blocks, heads of each block.
        memory_depth, memory_expansion, chunk_size, momentum, forget, conv_kernel: the memory, see `MemoryConfig`;
            tokens are patches, so a chunk of 16 spans many steps.
        patch, stride: steps that become one token, steps from one token to the next.
        dropout: share of features set to zero in training.
        loss: "spectral", "mse" or "mae".
        learning_rate, batch_size, max_epochs, patience: training; it stops after `patience` epochs without gain.
        max_minutes: training time at the most; None for no limit.
        validation_fraction: share of each series, at its end, that validates.
        random_state: seed; the same seed on the same machine gives the same numbers, bit for bit.
        verbose: show a progress bar.

    Attributes:
        history_: losses per epoch and seconds.
        network_: the trained network.

    Example:
        >>> import numpy as np, pandas as pd
        >>> days = pd.date_range("2024-01-01", periods=200, freq="D")
        >>> wave = np.sin(np.arange(200) * 2 * np.pi / 7)
        >>> y = pd.DataFrame({"a": wave, "b": 2 * wave}, index=days)
        >>> model = TitansForecaster(horizon=7, context=28, patch=7, stride=7, max_epochs=1).fit(y)
        >>> model.predict().shape
        (7, 2)
    """

    network_: ForecastNetwork
    history_: History
    panel_: Panel
    scaling_: Scaling

    def __init__(
        self,
        horizon: int = 96,
        context: int = 96,
        variant: str = "lmm",
        *,
        dim: int = 64,
        layers: int = 2,
        heads: int = 2,
        memory_depth: int = 2,
        memory_expansion: float = 2,
        chunk_size: int = 16,
        momentum: bool = True,
        forget: bool = True,
        conv_kernel: int = 4,
        patch: int = 16,
        stride: int = 16,
        dropout: float = 0.2,
        loss: str = "spectral",
        learning_rate: float = 2e-3,
        batch_size: int = 64,
        max_epochs: int = 6,
        patience: int = 3,
        max_minutes: float | None = None,
        validation_fraction: float = 0.15,
        random_state: int = 0,
        verbose: bool = False,
    ) -> None:
        self.horizon = horizon
        self.context = context
        self.variant = variant
        self.dim = dim
        self.layers = layers
        self.heads = heads
        self.memory_depth = memory_depth
        self.memory_expansion = memory_expansion
        self.chunk_size = chunk_size
        self.momentum = momentum
        self.forget = forget
        self.conv_kernel = conv_kernel
        self.patch = patch
        self.stride = stride
        self.dropout = dropout
        self.loss = loss
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.max_minutes = max_minutes
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, y: pd.DataFrame, X: None = None) -> Self:
        """Learn from the history.

        Raises:
            DataError: the frame or a parameter cannot be used; the message says why.
            KeyboardInterrupt: after Ctrl-C; the model is then fitted with the best weights so far, if there are any.
        """
        if X is not None:
            raise DataError("covariates are not supported: leave X out")
        return self.fit_panel(to_panel(y))

    def fit_panel(
        self,
        panel: Panel,
        on_epoch: Callable[[Self, bool], object] | None = None,
        data: Prepared | None = None,
    ) -> Self:
        """`fit` for a panel.

        Args:
            on_epoch: called after each epoch with this model, fitted as far as it is, and whether the epoch was the
                best so far.
            data: what `prepare` made of the panel; None makes it here.
        """
        config, training = self.check()
        if data is None:
            data = prepare(panel, self.context, self.horizon, float(self.validation_fraction))
        with seeded(self.random_state):
            network = ForecastNetwork(config)

        def after_epoch(history: History) -> None:
            if on_epoch is not None and history.best is not None:
                self._remember(network, history, panel, data.scaling)
                on_epoch(self, history.best_epoch == len(history.validation_loss) - 1)

        history = History()
        try:
            fit_network(network, data, self.horizon, self.loss, self.batch_size, training, after_epoch, history)
        finally:
            if history.best is not None:
                self._remember(network, history, panel, data.scaling)
        return self

    def predict(self, X: None = None) -> pd.DataFrame:
        """The `horizon` steps behind each series, in the layout of the frame that `fit` saw.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` has not been called.
        """
        if X is not None:
            raise DataError("covariates are not supported: leave X out")
        values, panel = self.predict_values(), self.panel_
        stamps = [panel.future(s.index, self.horizon) for s in panel.series]
        return panel.frame([s.name for s in panel.series], stamps, list(values))

    def predict_values(self) -> NDArray[np.float32]:
        """`predict` as an array (S, H, C)."""
        check_is_fitted(self, "network_")
        self.network_.eval()
        with torch.inference_mode():
            mean, scale = self.scaling_.mean.unsqueeze(-1), self.scaling_.scale.unsqueeze(-1)  # (S, C, 1)
            forecast = self.network_((self._past().mT - mean) / scale) * scale + mean
            values: NDArray[np.float32] = forecast.mT.numpy()
        return values

    def observe_panel(self, panel: Panel) -> Self:
        """Forecast from the end of this panel from now on; nothing is trained. Series and channels as in `fit`."""
        check_is_fitted(self, "network_")
        known = [s.name for s in self.panel_.series], self.panel_.channels, self.panel_.freq
        if ([s.name for s in panel.series], panel.channels, panel.freq) != known:
            raise DataError("other series, channels or frequency than the model was fitted on")
        self.panel_ = self._ends(panel)
        return self

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write config.json and model.safetensors; an earlier model in the folder is replaced."""
        check_is_fitted(self, "network_")
        panel = self.panel_
        config = {
            "parameters": self.get_params(),
            "channels": panel.channels,
            "layout": panel.layout,
            "freq": panel.freq.freqstr,
            "index_name": panel.series[0].index.name,
            "timezone": str(panel.series[0].index.tz) if panel.series[0].index.tz is not None else None,
            "series": [{"name": s.name, "last": s.index[-1].isoformat()} for s in panel.series],
            "training": {
                "train_loss": self.history_.train_loss,
                "validation_loss": self.history_.validation_loss,
                "seconds": self.history_.seconds,
            },
        }
        weights = {f"network.{name}": t for name, t in self.network_.state_dict().items()}
        return save_folder(
            folder,
            type(self).__name__,
            config,
            weights | {"past": self._past(), "mean": self.scaling_.mean, "scale": self.scaling_.scale},
        )

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote; nothing in the folder is executed.

        Raises:
            ModelError: there is no such model, or it is damaged.
        """
        config, weights = load_folder(folder, cls.__name__)
        try:
            model = cls(**config["parameters"])
            network_config, _ = model.check()
            if any(t.dtype != torch.float32 for t in weights.values()):
                raise ValueError("its tensors are not all float32")
            with torch.device("meta"):
                network = ForecastNetwork(network_config)
            own = {n.removeprefix("network."): t for n, t in weights.items() if n.startswith("network.")}
            network.load_state_dict(own, assign=True)
            scaling = Scaling(weights["mean"], weights["scale"])
            panel = _stored_panel(config, weights["past"])
            expected = (len(panel.series), len(panel.channels))
            if scaling.mean.shape != expected or scaling.scale.shape != expected:
                raise ValueError(f"the scaling is {tuple(scaling.mean.shape)}, expected {expected}")
            training = config["training"]
            history = History(training["train_loss"], training["validation_loss"], training["seconds"])
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
            raise ModelError(f"{folder} is damaged or was changed: {reason(error)}") from error
        model.network_, model.history_ = network.eval(), history
        model.panel_, model.scaling_ = panel, scaling
        return model

    def check(self) -> tuple[ForecastConfig, TrainingConfig]:
        """The network and the training that the parameters describe.

        Raises:
            DataError: a parameter cannot be used.
        """
        for name in ("horizon", "context", "patch", "stride", "batch_size", "random_state"):
            value, least = getattr(self, name), 0 if name == "random_state" else 1
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value < 2**63:
                raise DataError(f"{name} must be a whole number of at least {least}, not {value!r}")
        if not isinstance(self.validation_fraction, int | float) or not 0 < self.validation_fraction < 1:
            raise DataError(f"validation_fraction must lie between 0 and 1, not {self.validation_fraction!r}")
        if self.loss not in LOSSES:
            raise DataError(f"loss must be one of {', '.join(LOSSES)}, not {self.loss!r}")
        patch = min(int(self.patch), int(self.context))
        try:
            backbone = BackboneConfig(
                variant=self.variant,  # type: ignore[arg-type]
                dim=self.dim,
                layers=self.layers,
                heads=self.heads,
                dropout=self.dropout,
                memory_depth=self.memory_depth,
                memory_expansion=self.memory_expansion,
                chunk_size=self.chunk_size,
                momentum=self.momentum,
                forget=self.forget,
                conv_kernel=self.conv_kernel,
            )
            network = ForecastConfig(
                context=int(self.context),
                horizon=int(self.horizon),
                patch=patch,
                stride=min(int(self.stride), patch),
                dropout=self.dropout,
                backbone=backbone,
            )
            training = TrainingConfig(
                max_epochs=self.max_epochs,
                patience=self.patience,
                learning_rate=self.learning_rate,
                max_minutes=self.max_minutes,
                seed=int(self.random_state),
                progress=self.verbose,
            )
        except (TypeError, ValueError) as error:
            raise DataError(str(error)) from error
        return network, training

    def _remember(self, network: ForecastNetwork, history: History, panel: Panel, scaling: Scaling) -> None:
        self.network_, self.history_, self.scaling_ = network, history, scaling
        self.panel_ = self._ends(panel)

    def _ends(self, panel: Panel) -> Panel:
        ends = [Series(s.name, s.index[-self.context :], s.values[-self.context :]) for s in panel.series]
        return Panel(ends, panel.channels, panel.freq, panel.layout)

    def _past(self) -> Tensor:
        """What the forecast is made from, (S, L, C), with NaN before a shorter history."""
        missing = [(0, 0, self.context - len(s.index), 0) for s in self.panel_.series]
        ends = zip(tensors(self.panel_), missing, strict=True)
        return torch.stack([F.pad(values, pad, value=torch.nan) for values, pad in ends])


def _stored_panel(config: dict[str, Any], past: Tensor) -> Panel:
    """The ends of the series of a saved model, past (S, L, C), with their stamps."""
    freq = to_offset(str(config["freq"]))
    names, channels = [s["name"] for s in config["series"]], list(config["channels"])
    if past.ndim != 3 or (past.shape[0], past.shape[2]) != (len(names), len(channels)) or past.dtype != torch.float32:
        raise ValueError(
            f"the history is {tuple(past.shape)}, expected {len(names)} series of {len(channels)} channels"
        )
    ends = []
    for stored, values in zip(config["series"], past.numpy(), strict=True):
        last = pd.Timestamp(stored["last"]).tz_convert(config["timezone"]) if config["timezone"] else stored["last"]
        index = pd.date_range(end=last, periods=len(values), freq=freq, name=config["index_name"])
        ends.append(Series(stored["name"], index, values))
    return Panel(ends, channels, freq, "long" if config["layout"] == "long" else "wide")
