"""One save format for every model: a folder with config.json and model.safetensors, written whole or not at all."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

from titans_seq.errors import ModelError, reason
from titans_seq.files import mend, replace_folder, to_json
from titans_seq.shapes import shapes_only
from titans_seq.validation import check_stored
from titans_seq.version import __version__

FORMAT = "titans-seq"
FORMAT_VERSION = 3
CONFIG, WEIGHTS = "config.json", "model.safetensors"
LARGEST_CONFIG = 64 * 2**20
"""Bytes; a longer config.json is refused unread."""

LARGER, SPARE = 4, 2**18
"""While a network is described without values, its tensors may have this many times the elements of the saved ones, and
this many more: buffers, and steps on the way to a parameter."""

N = TypeVar("N", bound=nn.Module)


def save_folder(folder: str | os.PathLike[str], kind: str, config: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    """Write a model; an older model in the same folder is replaced at once, anything else in its way is an error.

    Args:
        kind: name of the class that can load it.
        config: plain values.

    Raises:
        ModelError: the folder holds something that is not a saved model, or cannot be written.
    """
    folder = Path(folder)
    if not is_replaceable(folder):
        raise ModelError(f"{folder} exists and is not a saved model: choose another folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replace_folder(folder) as fresh:
            fresh.chmod(0o755)
            (fresh / CONFIG).write_text(to_json(make_header(kind) | config, indent=2) + "\n", encoding="utf-8")
            save_file(copy_tensors(tensors.items()), fresh / WEIGHTS)
            for file in (fresh / CONFIG, fresh / WEIGHTS):
                file.chmod(0o644)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot write {folder}: {getattr(error, 'strerror', None) or error}") from error
    return folder


def make_header(kind: str) -> dict[str, Any]:
    """Return what config.json says of every model: the format, and the class that can load it."""
    return {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind, "version": __version__}


def copy_tensors(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Return named tensors as safetensors needs them: contiguous, on the processor, none sharing memory."""
    return {name: t.detach().cpu().contiguous().clone() for name, t in tensors}


def load_folder(folder: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a folder that `save_folder` wrote; nothing in it is executed.

    Raises:
        ModelError: there is no model, it is damaged, of another kind, or of another format.
    """
    folder = Path(folder)
    config = read_config(folder)
    if config.get("kind") != kind:
        raise ModelError(f"{folder} holds a {config.get('kind')}, not a {kind}")
    try:
        return config, load((folder / WEIGHTS).read_bytes())  # a mapped file that is cut short would kill the process
    except FileNotFoundError as error:
        raise ModelError(f"{folder} is incomplete: {WEIGHTS} is missing") from error
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise ModelError(f"{folder / WEIGHTS} is damaged: {error}") from error


@contextmanager
def translate_load_errors(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Turn errors that parts of a saved model cause when they do not fit together into a ModelError."""
    try:
        yield
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
        raise ModelError(f"{folder} is damaged or was changed: {reason(error)}") from error


def build_network(build: Callable[[], N], weights: dict[str, Tensor], settings: Mapping[str, Any] | None = None) -> N:
    """Return the network of `build` with these tensors, in evaluation mode; nothing is allocated before they fit.

    Args:
        settings: what the network is built from; of one that is too large the message names the largest number.

    Raises:
        ValueError: names, shapes or dtypes are not those of the network, or values are none.
    """
    try:
        with shapes_only(LARGER * sum(t.numel() for t in weights.values()) + SPARE):
            network = build()
    except ValueError as error:
        numbers = {n: v for n, v in (settings or {}).items() if isinstance(v, int | float) and n != "random_state"}
        largest = max(numbers, key=numbers.__getitem__, default=None)
        hint = "" if largest is None else f"; the largest setting is {largest} = {numbers[largest]!r}"
        raise ValueError(f"{CONFIG} and {WEIGHTS} do not fit together: {error}{hint}") from error
    expected = {name: (tuple(t.shape), t.dtype) for name, t in network.state_dict().items()}
    found = {name: (tuple(t.shape), t.dtype) for name, t in weights.items()}
    if found != expected:
        name = next(n for n in sorted(expected.keys() | found.keys()) if found.get(n) != expected.get(n))
        raise ValueError(
            f"{CONFIG} and {WEIGHTS} do not fit together: {name} is {_kind(found.get(name))}, the configuration "
            f"describes {_kind(expected.get(name))}"
        )
    check_stored(weights)
    network.load_state_dict(weights, assign=True)
    return network.eval()


def _kind(tensor: tuple[tuple[int, ...], torch.dtype] | None) -> str:
    """Return shape and dtype of a tensor in words."""
    return "not there" if tensor is None else f"{tensor[0]} {str(tensor[1]).removeprefix('torch.')}"


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a saved model of any kind, `kind` included.

    Raises:
        ModelError: there is no model, it is damaged, or of another format.
    """
    path = folder / CONFIG
    if not folder.exists():
        mend(folder)
    try:
        size = path.stat().st_size
        config = json.loads(path.read_text(encoding="utf-8")) if size <= LARGEST_CONFIG else None
    except FileNotFoundError as error:
        raise ModelError(f"{folder} holds no saved model: {CONFIG} is missing") from error
    except NotADirectoryError:
        raise ModelError(f"{path.parent} is a file, not the folder of a saved model") from None
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: it is not JSON") from error
    if size > LARGEST_CONFIG:
        raise ModelError(f"{path} is too large to be a model's configuration")
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ModelError(f"{folder} is not a model of {FORMAT}")
    if config.get("format_version") != FORMAT_VERSION:
        raise ModelError(
            f"{folder} was saved in format {config.get('format_version')!r} by version {config.get('version')} of "
            f"titans-seq; this version reads format {FORMAT_VERSION} only: train the model again"
        )
    return config


def is_replaceable(folder: Path) -> bool:
    """Return whether `save_folder` may write there: nothing, or an earlier model, stands in its way."""
    if not folder.exists():
        return True
    return folder.is_dir() and {p.name for p in folder.iterdir()} <= {CONFIG, WEIGHTS}
