"""The memory in C++ for processors: built once on request, used from then on, never needed.

`build_kernel()` compiles `scan.cpp` and `convolve.cpp` with the system's C++ compiler (some 20 seconds) into the user's
cache; later processes load what stands there. Without it, on other devices, and for what it does not cover, `scan.py`
and `convolve.py` do the same work in torch.

Axes: B batch, H heads, T tokens, D features of a head, O / I outputs / inputs of a memory layer.
"""

import hashlib
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from titans_seq.errors import TitansSeqError
from titans_seq.memory.tokens import Tokens

SOURCES = tuple(Path(__file__).with_name(name) for name in ("scan.cpp", "convolve.cpp", "gate.cpp", "vector.h"))
FLAGS = ("-std=c++20", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC", "-shared")
SWITCH = "TITANS_SEQ_KERNEL"
"""Environment variable: "off" leaves the kernel alone, a path names its folder."""


def build_kernel(force: bool = False) -> float:
    """Compile the kernel for this machine and load it; returns the seconds it took, 0 if it stood ready.

    Raises:
        TitansSeqError: no compiler ($CXX, else c++), or it failed, or what it made cannot be loaded.
    """
    from torch.utils import cpp_extension

    path = _library()
    if path is None:
        raise TitansSeqError(f"{SWITCH} is off")
    started = time.perf_counter()
    if force or not path.exists():
        compiler = os.environ.get("CXX", "c++")
        include = [f"-isystem{p}" for p in cpp_extension.include_paths()]
        library = [part for p in cpp_extension.library_paths() for part in (f"-L{p}", f"-Wl,-rpath,{p}")]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                made = Path(folder) / path.name
                sources = [str(s) for s in SOURCES if s.suffix == ".cpp"]
                order = [compiler, *FLAGS, *include, *sources, *library, "-ltorch_cpu", "-lc10", "-o", str(made)]
                subprocess.run(order, check=True, capture_output=True, text=True)
                made.replace(path)
        except FileNotFoundError as error:
            raise TitansSeqError(f"no C++ compiler: {compiler} (set CXX, or go on without the kernel)") from error
        except subprocess.CalledProcessError as error:
            first = next((line for line in error.stderr.splitlines() if "error" in line), "no message")
            raise TitansSeqError(f"{compiler} could not build the kernel: {first.strip()}") from error
        except OSError as error:
            raise TitansSeqError(f"cannot write the kernel to {path.parent}: {error.strerror}") from error
    took = time.perf_counter() - started
    kernel_ready.cache_clear()
    if not kernel_ready():
        raise TitansSeqError(f"{path} cannot be loaded")
    return took


@cache
def kernel_ready() -> bool:
    """Whether the kernel is loaded; loads it if it has been built."""
    path = _library()
    if path is None or not path.exists():
        return False
    try:
        torch.ops.load_library(str(path))
    except OSError:
        return False
    return True


def _library() -> Path | None:
    """Where the kernel of this source, torch and processor stands; None: switched off."""
    import platformdirs

    wish = os.environ.get(SWITCH, "")
    if wish == "off":
        return None
    info = Path("/proc/cpuinfo")
    flags = next((line for line in info.read_text().splitlines() if line.startswith(("flags", "Features"))), "") if (
        info.exists()
    ) else platform.processor()  # fmt: skip
    parts = (*(s.read_text() for s in SOURCES), *FLAGS, torch.__version__, platform.machine(), flags)
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    folder = Path(wish) if wish else platformdirs.user_cache_path("titans-seq") / "kernel"
    return folder / f"memory-{key}.so"


def usable(x: Tensor) -> bool:
    """Whether the kernel is ready and covers this device and dtype."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
        and not torch.compiler.is_exporting()
        and kernel_ready()
    )


def scan_rows(
    tokens: Tokens,
    weights: Sequence[Tensor],
    surprise: Sequence[Tensor] | None,
    chunk_size: int,
    clip: float | None,
    anchor: Sequence[Tensor] | None,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """As `functional.scan_chunks`; without momentum the surprise list is empty."""
    q, k, v, step_size, momentum, forget = tokens
    batch, depth = q.shape[0], len(weights)
    first = [w.expand(batch, -1, -1, -1).to(q.dtype) for w in weights]
    past = [] if momentum is None else [torch.zeros_like(w) for w in first] if surprise is None else list(surprise)
    home = [] if anchor is None else [a.expand(batch, -1, -1, -1).to(q.dtype) for a in anchor]
    given = [_rows(t) for t in (q, k, v)]
    gates = [None if g is None else g.to(q.dtype) for g in (step_size, momentum, forget)]
    size, limit = min(chunk_size, q.shape[2]), clip or 0.0
    y, *after = KernelScan.apply(size, limit, depth, *given, *gates, *map(_matrices, (*first, *past, *home)))  # type: ignore[no-untyped-call]
    return y, after[:depth], after[depth:]


def extend(
    tokens: Tokens,
    weights: Sequence[Tensor],
    surprise: Sequence[Tensor],
    anchor: Sequence[Tensor] | None,
    inputs: Sequence[Tensor],
    errors: Sequence[Tensor],
    rows: tuple[Tensor, Tensor, Tensor],
    fill: int,
    clip: float | None,
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Tokens into the open chunk of a stream; see `stream._extend`, whose arguments these are. No gradients.

    Returns:
        y (B, H, T, D), and inputs, errors and rows (read, write, scales) behind the tokens.
    """
    batch = tokens.q.shape[0]
    matrices = [
        [_matrices(t.expand(batch, -1, -1, -1)) for t in kind]
        for kind in (weights, () if tokens.momentum is None else surprise, anchor or (), inputs, errors)
    ]
    given = [_rows(t) for t in tokens[:3]]
    found: tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]] = torch.ops.titans_seq.scan_extend(
        *given, *tokens[3:], *matrices, *rows, fill, clip or 0.0
    )
    return found


class KernelScan(torch.autograd.Function):
    """`scan.cpp` behind autograd; first derivatives only."""

    @staticmethod
    def forward(
        ctx: Any, chunk: int, clip: float, depth: int, q: Tensor, k: Tensor, v: Tensor, theta: Tensor,
        eta: Tensor | None, alpha: Tensor | None, *matrices: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """matrices: weights, surprise (if eta), anchor (if any), `depth` of each."""
        middle = depth if eta is None else 2 * depth
        weights, surprise, anchor = matrices[:depth], matrices[depth:middle], matrices[middle:]
        keep = any(ctx.needs_input_grad)
        y, weights_after, surprise_after, starts = torch.ops.titans_seq.scan_forward(
            q, k, v, theta, eta, alpha, weights, surprise, anchor, chunk, clip, keep
        )
        ctx.chunk, ctx.clip, ctx.depth, ctx.starts = chunk, clip, depth, starts
        ctx.save_for_backward(q, k, v, theta, eta, alpha, *anchor)
        return (y, *weights_after, *surprise_after)

    @staticmethod
    def backward(ctx: Any, d_y: Tensor, *d_after: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of all tensors."""
        q, k, v, theta, eta, alpha, *anchor = ctx.saved_tensors
        depth = ctx.depth
        d_after = tuple(d.contiguous() for d in d_after)
        found = torch.ops.titans_seq.scan_backward(
            _rows(d_y), d_after[:depth], d_after[depth:], q, k, v, theta, eta, alpha, ctx.starts, anchor,
            ctx.chunk, ctx.clip,
        )  # fmt: skip
        tokens, matrices = found[:6], found[6:]
        if eta is None:
            tokens[4] = None
        if alpha is None:
            tokens[5] = None
        kinds = len(matrices) // depth
        return (None, None, None, *tokens, *(m for kind in range(kinds) for m in matrices[kind::kinds]))


def convolve(x: Tensor, tail: Tensor, weight: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k, v (B, H, T, D) and the gate (B, T, H D), as `convolve.memory_inputs`.

    Args:
        x: (B, T, 4 H D).
        tail: (B, K - 1, 3 H D), what stands before x.
        weight: (3 H D, K).
    """
    q, k, v, gate = KernelConvolve.apply(_rows(x), _rows(tail), weight.contiguous(), heads)  # type: ignore[no-untyped-call]
    return q, k, v, gate


class KernelConvolve(torch.autograd.Function):
    """`convolve.cpp` behind autograd; first derivatives only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tail: Tensor, weight: Tensor, heads: int) -> tuple[Tensor, ...]:
        """See `convolve`."""
        ctx.heads = heads
        ctx.save_for_backward(x, tail, weight)
        return tuple(torch.ops.titans_seq.convolve_forward(x, tail, weight, heads))

    @staticmethod
    def backward(ctx: Any, *d_out: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, tail and weight."""
        d_x, d_tail, d_weight = torch.ops.titans_seq.convolve_backward(
            [_rows(d) for d in d_out], *ctx.saved_tensors, ctx.heads
        )
        return d_x, d_tail, d_weight, None


def gated(y: Tensor, gate: Tensor, weight: Tensor) -> Tensor:
    """(B, T, H D): root mean square norm of each head of y (B, H, T, D), times weight (D) and gate (B, T, H D)."""
    out: Tensor = KernelGate.apply(_rows(y), gate.contiguous(), weight.contiguous())  # type: ignore[no-untyped-call]
    return out


class KernelGate(torch.autograd.Function):
    """`gate.cpp` behind autograd; first derivatives only."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, gate: Tensor, weight: Tensor) -> Tensor:
        """See `gated`."""
        ctx.save_for_backward(y, gate, weight)
        out: Tensor = torch.ops.titans_seq.gate_forward(y, gate, weight)
        return out

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of y, gate and weight."""
        found: tuple[Tensor, Tensor, Tensor] = torch.ops.titans_seq.gate_backward(
            d_out.contiguous(), *ctx.saved_tensors
        )
        return found


def _rows(t: Tensor) -> Tensor:
    """Tokens (B, H, T, D) with each token's features side by side."""
    return t if t.stride(-1) == 1 and t.stride(-2) >= t.shape[-1] else t.contiguous()


def _matrices(t: Tensor) -> Tensor:
    """(B, H, O, I) with each matrix in one piece; rows of the batch may share it."""
    return t if t.stride(-1) == 1 and t.stride(-2) == t.shape[-1] else t.contiguous()
