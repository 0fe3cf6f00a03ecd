"""Train a network with Lightning and keep its best weights.

Lightning is imported when training starts, so that importing titans_seq stays light.
"""

import logging
import math
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from titans_seq.errors import NonFiniteError, TitansSeqWarning, TrainingError
from titans_seq.progress import is_watched
from titans_seq.training.config import LossFunction, TrainingConfig
from titans_seq.training.history import History
from titans_seq.training.processes import count_processes, weight_of
from titans_seq.training.seed import temporary_seed


def train(
    network: nn.Module,
    loss: LossFunction,
    batches: DataLoader[Any],
    validation: DataLoader[Any],
    config: TrainingConfig,
    on_epoch: Callable[[History], None] | None = None,
    history: History | None = None,
    keep_start: bool = False,
) -> History:
    """Train a network in place; it ends with the weights of the best epoch, also after Ctrl-C.

    Started by torchrun, all its processes train this one network: each calls `train` with the same arguments, draws the
    same batches and takes rows of its own (see `take_share`): steps, losses and history are those of one process.

    Args:
        network: what is trained.
        loss: of a batch.
        batches: torch DataLoader of anything `loss` takes; for several processes, of what `take_share` divides.
        validation: the same, to validate.
        config: how long and how fast.
        on_epoch: called after each epoch, by the first process only; the last entry of `validation_loss` is the lowest
            if it was a better one.
        history: an empty one that is filled in on the way, for those who need it after Ctrl-C.
        keep_start: validate the network before it is trained, and keep it as it is if no epoch is better.

    Raises:
        TrainingError: the loss was not finite before any epoch ended; later, that is a warning and the best is kept.
            Or a batch cannot be divided among processes.
        KeyboardInterrupt: after Ctrl-C, once the best weights are back.
    """
    import lightning.pytorch as lightning
    from lightning.pytorch.callbacks import Callback, EarlyStopping, RichProgressBar, Timer, WeightAveraging

    from titans_seq.training.lines import ProgressLines
    from titans_seq.training.loop import Loop

    seen = History() if history is None else history
    started = time.perf_counter()

    class Keep(Callback):  # type: ignore[misc]
        def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
            if trainer.sanity_checking:
                return
            value = float(trainer.callback_metrics["val_loss"])
            if math.isfinite(value) and value < seen.lowest:
                seen.best = {name: t.detach().clone() for name, t in network.state_dict().items()}
                if trainer.world_size > 1:
                    for t in seen.best.values():
                        torch.distributed.broadcast(t, 0)
            seen.validation_loss.append(value)

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            seen.train_loss.append(float(trainer.callback_metrics["train_loss"]))
            seen.seconds = trainer.strategy.broadcast(time.perf_counter() - started)
            if on_epoch is not None and trainer.is_global_zero:
                on_epoch(seen)

    def average(mean: Tensor, new: Tensor, count: Tensor) -> Tensor:
        """Return the running average of a weight after `count` + 1 steps; at first nearly the mean of them all."""
        decay = min(config.average or 0.0, (int(count) + 1) / (int(count) + 10))
        return mean.lerp(new, 1 - decay) if mean.is_floating_point() else new

    callbacks: list[Any] = [
        EarlyStopping("val_loss", patience=config.patience, check_finite=True),
        Keep(),
    ]
    if config.average is not None:  # stands in the network while it is validated, and `Keep` finds it there
        callbacks.append(WeightAveraging(avg_fn=average))
    bar = config.verbose and is_watched()
    if config.verbose:
        callbacks.append(RichProgressBar(leave=False) if bar else ProgressLines(seen))
    if config.max_minutes is not None:
        callbacks.append(Timer(duration={"seconds": 60 * config.max_minutes}, verbose=False))
    local, machines = count_processes()
    many = local * machines > 1
    with _quiet(), temporary_seed(int(config.random_state)):
        if keep_start:
            value = _validate(network, loss, validation)
            if math.isfinite(value):
                seen.start, seen.best = value, {name: t.detach().clone() for name, t in network.state_dict().items()}
        trainer = lightning.Trainer(
            max_epochs=int(config.max_epochs),
            accelerator="cpu" if many and not torch.cuda.is_available() else "auto",
            devices=local,
            num_nodes=machines,
            strategy="ddp_find_unused_parameters_true" if many else "auto",
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=bar,
            gradient_clip_val=config.gradient_clip,
            num_sanity_val_steps=0,
            callbacks=callbacks,
        )
        handler = signal.getsignal(signal.SIGINT)
        interrupted, diverged = False, ""
        try:
            trainer.fit(Loop(network, loss, config), batches, validation)
        except SystemExit as stop:  # Lightning's answer to Ctrl-C, which also leaves SIGINT ignored
            if not isinstance(stop.__context__, KeyboardInterrupt):
                if trainer.received_sigterm:  # which Lightning ends as a success
                    raise SystemExit(128 + signal.SIGTERM) from None
                raise
            interrupted = True
            signal.signal(signal.SIGINT, handler)
        except NonFiniteError:
            diverged = f"the loss was not finite in epoch {trainer.current_epoch + 1}, step {trainer.global_step + 1}"
        finally:
            seen.steps = trainer.global_step
            network.cpu()
            network.eval()
            if not many:
                seen.seconds = time.perf_counter() - started
            if seen.best is not None:
                network.load_state_dict(seen.best)
    if interrupted:
        raise KeyboardInterrupt
    if diverged and not seen.validation_loss:
        seen.best = None
    if seen.best is None:
        raise TrainingError(f"{diverged or 'no validation loss was finite'}: try a smaller learning_rate")
    if diverged:
        warnings.warn(f"{diverged}; the best epoch before is kept", TitansSeqWarning, stacklevel=2)
    return seen


def _validate(network: nn.Module, loss: LossFunction, validation: DataLoader[Any]) -> float:
    """Return the validation loss of a network as it is."""
    network.eval()
    with torch.no_grad():
        losses = [(float(loss(network, batch)), weight_of(batch)) for batch in validation]
    network.train()
    return sum(value * size for value, size in losses) / sum(size for _, size in losses)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's banners and its advice on loader workers."""
    logs = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\..*")
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
