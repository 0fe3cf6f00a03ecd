"""Building and loading the C++ kernels: once on request, from the user's cache from then on, never needed."""

import hashlib
import os
import platform
import shlex
import subprocess
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch
from filelock import FileLock

from titans_seq.errors import TitansSeqError, TitansSeqWarning, reason
from titans_seq.kernel.trust import distrust, exposure, make_private, seal

SOURCES = tuple(sorted(p for p in Path(__file__).parent.iterdir() if p.suffix in (".cpp", ".h")))
FLAGS = ("-std=c++20", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC")
SWITCH = "TITANS_SEQ_KERNEL"
"""Environment variable: "off" leaves the kernel alone, a path names its folder."""


def build_kernel(force: bool = False) -> float:
    """Compile the kernel for this machine with $CXX (else c++) and load it; the seconds it took, 0 if it stood ready.

    A kernel that this process has loaded stays; one that is built anew serves the next process.

    Raises:
        TitansSeqError: no compiler, or it failed; its work cannot be written or loaded; others can write to its folder;
            or the kernel is off.
    """
    started = time.perf_counter()
    try:
        path = _library()
        if path is None:
            raise TitansSeqError(f"{SWITCH} is off")
        if force or not _stands(path):
            make_private(path.parent)
            if (problem := exposure(path.parent)) is not None:
                raise TitansSeqError(f"{problem}: name another folder in {SWITCH}, or chmod go-w it")
            with FileLock(path.parent / ".lock"):
                if force or not _stands(path):  # another process may have built it meanwhile
                    _build(path)
    except OSError as error:
        raise TitansSeqError(f"cannot write the kernel: {error.strerror or error} ({error.filename})") from error
    took = time.perf_counter() - started
    kernel_ready.cache_clear()
    if (problem := _load(path)) is not None:
        raise TitansSeqError(f"{path} cannot be loaded ({problem}): titans-seq kernel --force builds it again")
    return took


@cache
def kernel_ready() -> bool:
    """Return whether the kernel is loaded; loads it if it has been built, and nobody else can have written it."""
    try:
        path = _library()
        if path is None or not path.exists():
            return False
        if (problem := _load(path)) is not None:
            warnings.warn(f"the memory runs without its kernel: {problem}", TitansSeqWarning, stacklevel=2)
        return problem is None
    except OSError:  # a cache, or sources, that this user cannot read
        return False


def _stands(path: Path) -> bool:
    """Return whether there is a kernel that nobody else can have written."""
    return path.exists() and distrust(path) is None


def _build(path: Path) -> None:
    """Compile the kernel next to its place, and move it there."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        _compile(made)
        made.chmod(0o755)
        made.replace(path)
    seal(path)


def _compile(made: Path) -> None:
    """Call the compiler, files side by side, against the headers and libraries that torch brings along."""
    compiler = shlex.split(os.environ.get("CXX") or "c++")
    home = Path(torch.__file__).parent
    include = [f"-isystem{home / p}" for p in ("include", "include/torch/csrc/api/include")]
    library = [f"-L{home / 'lib'}", f"-Wl,-rpath,{home / 'lib'}", "-ltorch_cpu", "-lc10"]
    strings = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
    parts = {source: made.with_name(f"{source.stem}.o") for source in SOURCES if source.suffix == ".cpp"}

    def call(*order: str) -> None:
        done = subprocess.run([*compiler, *FLAGS, *order], capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.splitlines() or ["no message"]
            first = next((line for line in lines if "error" in line), lines[-1])
            raise TitansSeqError(f"{shlex.join(compiler)} could not build the kernel: {first.strip()}")

    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda part: call(strings, *include, "-c", str(part[0]), "-o", str(part[1])), parts.items()))
        call("-shared", *map(str, parts.values()), *library, "-o", str(made))
    except OSError as error:
        wish = shlex.join(compiler)
        raise TitansSeqError(f"no C++ compiler: {wish} (set CXX, or go on without the kernel)") from error


def _load(path: Path) -> str | None:
    """Make the operators known, unless they are; why that failed, or None."""
    if hasattr(torch.ops.titans_seq, "scan_forward"):
        return None
    if (problem := distrust(path)) is not None:
        return problem
    try:
        torch.ops.load_library(str(path))
    except OSError as error:
        return reason(error.__cause__ or error)
    return None


def _library() -> Path | None:
    """Return where the kernel of this source, torch and processor stands; None: switched off."""
    import platformdirs

    wish = os.environ.get(SWITCH, "")
    if wish == "off":
        return None
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else [platform.processor()]
    features = next((line for line in lines if line.startswith(("flags", "Features"))), lines[0] if lines else "")
    parts = (*(s.read_text() for s in SOURCES), *FLAGS, torch.__version__, platform.machine(), features)
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    folder = Path(wish) if wish else platformdirs.user_cache_path("titans-seq") / "kernel"
    return folder / f"memory-{key}.so"
