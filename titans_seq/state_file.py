"""States on disk: one safetensors file whose header names the format and the configuration it belongs to."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from titans_seq.backbone import BackboneConfig, TitansBackbone
from titans_seq.errors import ModelError
from titans_seq.files import write_atomically
from titans_seq.memory import MemoryConfig, NeuralMemory
from titans_seq.saving import copy_tensors
from titans_seq.shapes import shapes_only
from titans_seq.state import State, check_state, template
from titans_seq.validation import check_stored

FORMAT, VERSION = "titans-seq-state", "2"
Config = MemoryConfig | BackboneConfig


def save_state(state: State, path: str | os.PathLike[str], config: Config) -> Path:
    """Write a state, whole or not at all.

    Raises:
        ValueError: the state is not one of this configuration.
        ModelError: the file cannot be written.
    """
    path = Path(path)
    check_state(state, template(_empty(config)), None)
    header = {"format": FORMAT, "version": VERSION, "kind": _kind(config), "config": json.dumps(asdict(config))}
    try:
        with write_atomically(path) as temporary:
            save_file(copy_tensors(state.named_tensors()), temporary, metadata=header)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot write {path}: {error}") from error
    return path


def load_state(path: str | os.PathLike[str], config: Config) -> Any:
    """Read what `save_state` wrote; nothing in the file is executed.

    Raises:
        ModelError: no such file, damaged, or of another configuration; the message names the settings that differ.
    """
    path = Path(path)
    empty = _empty(config)
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            _check_header(header, config, path)
            # copies: a mapped file that is cut short would kill the process
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ModelError(f"no such file: {path}") from error
    except (SafetensorError, OSError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path} is damaged: {error}") from error
    if {name for name, _ in empty.named_tensors()} != set(tensors):
        raise ModelError(f"{path} is damaged: it does not hold the tensors of its configuration")
    try:
        if len({t.dtype for t in tensors.values() if t.is_floating_point()}) > 1:
            raise ValueError("its tensors are of several precisions")
        check_stored(tensors)
        state = empty.replace_tensors([_same_kind(tensors[name], like) for name, like in empty.named_tensors()])
        check_state(state, template(empty), None)
        state.check_counters()
    except ValueError as error:
        raise ModelError(f"{path} is damaged: {error}") from error
    return state


def _check_header(header: dict[str, str], config: Config, path: Path) -> None:
    if header.get("format") != FORMAT:
        raise ModelError(f"{path} is not a state of titans-seq")
    if header.get("version") != VERSION:
        raise ModelError(f"{path} has version {header.get('version')!r}, this one reads {VERSION}")
    try:
        stored = json.loads(header.get("config", ""))
        items = dict(stored)
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: its configuration is not JSON") from error
    own = asdict(config)
    own["checkpoint_tokens"] = items["checkpoint_tokens"] = None  # no part of the function
    differ = [f"{k} {items.get(k)!r} instead of {v!r}" for k, v in own.items() if items.get(k) != v]
    if header.get("kind") != _kind(config) or differ or set(items) != set(own):
        raise ModelError(f"{path} belongs to another configuration: {', '.join(differ[:5]) or header.get('kind')}")


def _same_kind(tensor: Tensor, like: Tensor) -> Tensor:
    kinds = (torch.float32, torch.float64, torch.bfloat16) if like.is_floating_point() else (torch.int64,)
    if tensor.dtype not in kinds:
        raise ValueError(f"{tensor.dtype} where {like.dtype} belongs")
    return tensor


def _kind(config: Config) -> str:
    return type(config).__name__


def _empty(config: Config) -> State:
    """Return the state before the first token, of one row, without memory behind it."""
    with shapes_only():
        module = NeuralMemory(config) if isinstance(config, MemoryConfig) else TitansBackbone(config)
    if isinstance(module, NeuralMemory):
        return module.initial_state(1, module.output.weight)
    return module.initial_state(1)
