"""Attacks on saved models and states: every value of a configuration, every tensor, and bytes anywhere."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.attacks.models import use_model
from benchmarks.attacks.sandbox import Attempt

HOSTILE: tuple[Any, ...] = (
    None, True, "", "x", "\0", -1, 0, 0.5, 3, 10**5, 10**9, 2**63, 1e308, float("nan"), float("inf"), [], {}, [10**9],
)  # fmt: skip
"""What a value of a configuration becomes."""
NOTHING = "(left out)"
Path_ = tuple[str | int, ...]


def configurations(saved: Path) -> Iterator[Attempt]:
    """Yield attacks that change one value of a saved model's configuration, or leave it out."""
    for folder in sorted(saved.iterdir()):
        config = json.loads((folder / "config.json").read_text())
        for path in paths(config):
            for value in HOSTILE:
                yield changed(folder, path, value)
            yield changed(folder, path, NOTHING)


def changed(folder: Path, path: Path_, value: Any) -> Attempt:
    """Return the attack that changes a value of a saved model's configuration, or leaves it out: `NOTHING`."""

    def action(scratch: Path) -> str | None:
        model = Path(shutil.copytree(folder, scratch / "model"))
        config = json.loads((model / "config.json").read_text())
        parent = config
        for key in path[:-1]:
            parent = parent[key]
        if value is NOTHING:
            del parent[path[-1]]
        else:
            parent[path[-1]] = value
        (model / "config.json").write_text(json.dumps(config))
        return use_model(model)

    return Attempt("a value of config.json", f"{folder.name}: {'.'.join(map(str, path))} = {value!r}", action)


def paths(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Yield the path of every value, of lists the first alone."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from paths(item, (*path, key))


def tensors(saved: Path) -> Iterator[Attempt]:
    """Yield attacks on the tensors of a saved model: numbers that are none, sizes, dtypes, names."""
    from safetensors import safe_open

    for folder in sorted(saved.iterdir()):
        with safe_open(folder / "model.safetensors", framework="pt") as file:
            names = list(file.keys())
        for name in names:
            for label, change in _tensor_changes().items():
                yield _spoiled(folder, "model.safetensors", name, label, change, use_model)


def states(folder: Path) -> Iterator[Attempt]:
    """Save a state of every variant in a folder; yield attacks on its tensors."""
    import torch
    from safetensors import safe_open

    from titans_seq.backbone import BackboneConfig, TitansBackbone
    from titans_seq.state_file import load_state, save_state

    for variant in ("lmm", "mac", "mag", "mal", "attention"):
        config = BackboneConfig(variant=variant, dim=16, layers=1, heads=2, chunk_size=4, window=8)
        net, path = TitansBackbone(config), folder / f"state {variant}"
        path.mkdir()
        save_state(net(torch.randn(2, 7, 16))[1], path / "state.safetensors", config)

        def use(model: Path, net: Any = net, config: BackboneConfig = config) -> str | None:
            state = load_state(model / "state.safetensors", config)
            with torch.inference_mode():
                h = net(torch.zeros(2, 3, 16), state)[0]
            return None if bool(torch.isfinite(h).all()) else "what follows is not finite"

        with safe_open(path / "state.safetensors", framework="pt") as file:
            names = list(file.keys())
        for name in names:
            for label, change in _tensor_changes().items():
                yield _spoiled(path, "state.safetensors", name, label, change, use)


def _tensor_changes() -> dict[str, Callable[[Any], Any]]:
    import torch

    def first(tensor: Any, value: float) -> Any:
        tensor = tensor.clone()
        tensor.view(-1)[:1] = value
        return tensor

    return {
        "NaN": lambda t: first(t, float("nan")) if t.is_floating_point() else t - 2**40,
        "inf": lambda t: first(t, float("inf")) if t.is_floating_point() else t + 2**40,
        "all 0": torch.zeros_like,
        "all -1": lambda t: torch.full_like(t, -1),
        "all 1e30": lambda t: torch.full_like(t, 1e30) if t.is_floating_point() else t + 10**9,
        "half": lambda t: t[: len(t) // 2] if t.ndim else t,
        "flat": lambda t: t.reshape(-1),
        "text": lambda t: t.to(torch.uint8),
        "double": lambda t: t.double(),
    }


def _spoiled(
    folder: Path, file: str, name: str, label: str, change: Callable[[Any], Any], use: Callable[[Path], str | None]
) -> Attempt:
    def action(scratch: Path) -> str | None:
        from safetensors import safe_open
        from safetensors.torch import load_file, save_file

        model = Path(shutil.copytree(folder, scratch / "model"))
        with safe_open(model / file, framework="pt") as opened:
            header = opened.metadata()
        found = load_file(model / file)
        found[name] = change(found[name]).contiguous()
        save_file(found, model / file, metadata=header)
        return use(model)

    return Attempt(f"a tensor of {file}", f"{folder.name}: {name} is {label}", action)


def damaged(saved: Path, count: int, seed: int) -> Iterator[Attempt]:
    """Yield attacks that cut a file of a saved model or change some of its bytes, `count` for each."""
    draw = random.Random(seed)
    for folder in sorted(saved.iterdir()):
        for name in sorted(p.name for p in folder.iterdir()):
            for _ in range(count):
                yield _damaged(folder, name, draw.getrandbits(32))


def _damaged(folder: Path, name: str, seed: int) -> Attempt:
    def action(scratch: Path) -> str | None:
        draw = random.Random(seed)
        model = Path(shutil.copytree(folder, scratch / "model"))
        data = bytearray((model / name).read_bytes())
        # of a safetensors file the header: numbers among the weights may be any
        span = len(data) if name == "config.json" else 8 + int.from_bytes(data[:8], "little")
        if draw.random() < 0.3:
            data = data[: draw.randrange(len(data))]
        else:
            for _ in range(draw.choice((1, 1, 2, 8))):
                data[draw.randrange(span)] = draw.randrange(256)
        (model / name).write_bytes(data)
        return use_model(model)

    return Attempt("bytes of a saved model", f"{folder.name}: {name}, draw {seed}", action)
