"""The kernel: the same with any number of threads and in float32, and clear errors where it cannot be built."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.memory.reference import random_inputs
from titans_seq import MemoryConfig, NeuralMemory, kernel
from titans_seq.cli import execute
from titans_seq.errors import TitansSeqError, TitansSeqWarning
from titans_seq.kernel import build, trust
from titans_seq.memory.functional import scan_chunks


@pytest.fixture
def needs_kernel(kernel_problem):
    if kernel_problem:
        pytest.skip(kernel_problem)


@pytest.fixture
def unloaded(monkeypatch, tmp_path):
    """As in a process that has not loaded the kernel, with an empty cache."""
    monkeypatch.setattr(build, "_load", lambda path: None)
    monkeypatch.setenv(build.SWITCH, str(tmp_path / "cache"))
    build.kernel_ready.cache_clear()
    yield tmp_path / "cache"
    build.kernel_ready.cache_clear()


def run(memory, x):
    x = x.clone().requires_grad_()
    y, state = memory(x)
    parameters = list(memory.parameters())
    gradients = torch.autograd.grad(y.square().sum(), [x, *parameters])
    return [y.detach(), *(t.detach() for _, t in state.named_tensors()), *gradients]


def test_threads_change_nothing(needs_kernel):
    """300 tokens are several blocks of the convolution; 6 rows are not a multiple of 4 threads."""
    torch.manual_seed(0)
    memory = NeuralMemory(MemoryConfig(dim=18, heads=3, chunk_size=16)).double()
    x = torch.randn(2, 300, 18, dtype=torch.float64)
    alone = run(memory, x)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        for a, b in zip(alone, run(memory, x), strict=True):
            torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-10)
        again = run(memory, x)
        assert all(torch.equal(a, b) for a, b in zip(run(memory, x), again, strict=True))
    finally:
        torch.set_num_threads(threads)


def test_tiny_numbers_count_again_behind_the_kernel(needs_kernel):
    """The kernel takes them for zero; what runs after it on the same thread must not."""
    with torch.no_grad():
        NeuralMemory(MemoryConfig(dim=8, heads=1, chunk_size=4))(torch.randn(1, 9, 8))
    assert float(torch.tensor(1e-30) * torch.tensor(1e-10)) > 0


def test_single_precision(needs_kernel, monkeypatch):
    inputs, weights, surprise = random_inputs(2, 2, 50, 8, 2, dtype=torch.float32)
    fast = scan_chunks(*inputs, weights, surprise, chunk_size=16, clip=2.0)
    monkeypatch.setattr(kernel, "is_usable", lambda x: False)
    plain = scan_chunks(*inputs, weights, surprise, chunk_size=16, clip=2.0)
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("behind", [False, True], ids=["outputs", "and state"])
@pytest.mark.parametrize("options", [{}, {"momentum": False}, {"forget": False}, {"forget_to": "zero"}, {"depth": 1}])
@pytest.mark.parametrize("begin", [None, [0, 0, 0], [1, 4, 3]], ids=["new", "same place", "different places"])
def test_rows_of_different_lengths(options, begin, behind, needs_kernel, monkeypatch):
    """As in torch: outputs, the state, and gradients of what they led to; also of a row without any token."""
    torch.manual_seed(0)
    memory = NeuralMemory(MemoryConfig(dim=12, heads=2, chunk_size=5, **options)).double()
    before, x = torch.randn(3, 4, 12, dtype=torch.float64), torch.randn(3, 13, 12, dtype=torch.float64)

    def everything(lengths):
        leaf = x.clone().requires_grad_()
        state = None if begin is None else memory.step(before, None, torch.tensor(begin))[1]
        y, state = memory.step(leaf, state, lengths)
        real = torch.ones(3, 13) if lengths is None else torch.arange(13) < lengths.unsqueeze(1)
        of = [y * real.unsqueeze(-1)]
        if behind:
            of += [t for t in state.tensors() if t.is_floating_point()]
        gradients = torch.autograd.grad(sum(t.square().sum() for t in of), [leaf, *memory.parameters()])
        with torch.no_grad():
            again = memory.step(leaf, None if begin is None else state, lengths)[0]
        return [*of, *gradients, again * real.unsqueeze(-1), *state.tensors()]

    for lengths in (None, torch.tensor([13, 0, 7])):
        fast = everything(lengths)
        with monkeypatch.context() as patch:
            patch.setattr(kernel, "is_usable", lambda x: False)
            plain = everything(lengths)
        for a, b in zip(fast, plain, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_mixed_precisions(needs_kernel):
    """A prefill under autocast, then single precision."""
    memory = NeuralMemory(MemoryConfig(dim=8, heads=2, chunk_size=4))
    x = torch.randn(1, 6, 8)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        _, state = memory(x)
    with torch.no_grad():
        y, _ = memory(x, state)
    assert torch.isfinite(y).all()


def test_no_compiler(unloaded, monkeypatch, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler -x")
    assert execute(["kernel"]) == 2
    assert capsys.readouterr().err.startswith("error: no C++ compiler: no-such-compiler -x")
    assert not build.kernel_ready()
    assert [path.name for path in unloaded.iterdir()] == [".lock"]


def test_failing_compiler(unloaded, monkeypatch):
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(TitansSeqError, match="could not build the kernel: no message"):
        build.build_kernel()


def test_processes_that_build_at_once_build_once(unloaded, monkeypatch):
    built = []

    def compile_slowly(path):
        time.sleep(0.3)
        path.write_bytes(b"a library")
        built.append(path)

    monkeypatch.setattr(build, "_compile", compile_slowly)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: build.build_kernel(), range(3)))
    assert len(built) == 1


def test_switched_off(monkeypatch):
    monkeypatch.setenv(build.SWITCH, "off")
    with pytest.raises(TitansSeqError, match="is off"):
        build.build_kernel()


def test_folder_that_cannot_be_written(monkeypatch):
    monkeypatch.setenv(build.SWITCH, "/proc/kernel")
    with pytest.raises(TitansSeqError, match="cannot write the kernel"):
        build.build_kernel()


def test_what_cannot_be_loaded_leaves_the_memory_running(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "_load", lambda path: "damaged")
    monkeypatch.setenv(build.SWITCH, str(tmp_path))
    build._library().write_bytes(b"not a library")
    trust.seal(build._library())
    build.kernel_ready.cache_clear()
    try:
        with pytest.warns(TitansSeqWarning, match="runs without its kernel: damaged"):
            assert not build.kernel_ready()
        y, _ = NeuralMemory(MemoryConfig(dim=8, heads=2, chunk_size=4))(torch.randn(1, 5, 8))
        assert torch.isfinite(y).all()
        with pytest.raises(TitansSeqError, match=r"cannot be loaded \(damaged\)"):
            build.build_kernel()
    finally:
        build.kernel_ready.cache_clear()


def test_unreadable_cache(monkeypatch):
    def refuse():
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(build, "_library", refuse)
    build.kernel_ready.cache_clear()
    try:
        assert not build.kernel_ready()
    finally:
        build.kernel_ready.cache_clear()


def test_a_library_that_others_could_have_written_is_not_loaded(needs_kernel, monkeypatch, tmp_path):
    """Nor one that is not what was built; a real one, copied."""
    source = build._library()
    folder = tmp_path / "kernel"
    trust.make_private(folder)
    for path in (source, trust.seal_path(source)):
        shutil.copy2(path, folder / path.name)
    library = folder / source.name
    assert trust.distrust(library) is None
    for path in (folder, library):
        mode = path.stat().st_mode
        path.chmod(mode | 0o020)
        assert trust.distrust(library) == f"others can write to {path}"
        path.chmod(mode)
    with library.open("r+b") as file:
        file.seek(library.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    assert trust.distrust(library) == f"{library} is not what was built"
    trust.seal_path(library).unlink()
    assert trust.distrust(library) == f"{library} is not what was built"
    if os.getuid() == 0:
        os.chown(library, 65534, 65534)
        assert trust.distrust(library) == f"{library} belongs to another user"


def test_nothing_is_built_where_others_can_write(unloaded, monkeypatch):
    unloaded.mkdir()
    unloaded.chmod(0o777)
    with pytest.raises(TitansSeqError, match=r"others can write to .*: name another folder in TITANS_SEQ_KERNEL"):
        build.build_kernel()
    assert list(unloaded.iterdir()) == []
