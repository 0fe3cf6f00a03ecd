"""The module: streaming, masks, causality."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from titans_seq import MemoryConfig, NeuralMemory
from titans_seq.memory.convolve import convolve
from titans_seq.memory.neural import gate_values
from titans_seq.memory.record import record_gates

pytestmark = pytest.mark.usefixtures("scan_path")


def build(dtype=torch.float64, **options):
    torch.manual_seed(0)
    memory = NeuralMemory(MemoryConfig(**{"dim": 8, "heads": 2, "chunk_size": 4} | options)).to(dtype)
    with torch.no_grad():  # gates that write and forget enough to show a mistake
        memory.gates.bias += torch.randn_like(memory.gates.bias)
        memory.gates.weight += 0.3 * torch.randn_like(memory.gates.weight)
    return memory


def in_pieces(memory, x, cuts, mask=None):
    state, outputs = None, []
    for start, stop in zip([0, *cuts], [*cuts, x.shape[1]], strict=True):
        if start < stop:
            part = None if mask is None else mask[:, start:stop]
            y, state = memory(x[:, start:stop], state, part)
            outputs.append(y)
    return torch.cat(outputs, 1), state


def is_bounded(y):
    """Without a clip some weights overshoot further at each token, until nothing is a number."""
    return bool((y.abs() < 1e3).all())


configs = st.one_of(
    st.fixed_dictionaries(
        {
            "depth": st.integers(1, 4),
            "heads": st.sampled_from([1, 2, 4]),
            "chunk_size": st.integers(1, 9),
            "momentum": st.booleans(),
            "forget": st.booleans(),
            "forget_to": st.sampled_from(["initial", "zero"]),
            "conv_kernel": st.sampled_from([1, 2, 4]),
            "activation": st.sampled_from(["silu", "gelu", "sparse"]),
            "clip": st.sampled_from([None, 0.5]),
            "gate_context": st.booleans(),
        }
    ),
    st.fixed_dictionaries(
        {
            "depth": st.just(1),
            "online": st.just(True),
            "clip": st.none(),
            "chunk_size": st.integers(1, 9),
            "momentum": st.booleans(),
            "forget": st.booleans(),
        }
    ),
)


@settings(max_examples=40, deadline=None)
@given(
    options=configs,
    length=st.integers(1, 24),
    batch=st.integers(1, 3),
    cuts=st.lists(st.integers(0, 24), max_size=5),
    seed=st.integers(0, 99),
)
def test_any_cut_gives_the_same(options, length, batch, cuts, seed):
    memory = build(**options)
    x = torch.randn(batch, length, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        whole, end = memory(x)
        assume(is_bounded(whole))
        cut, end_cut = in_pieces(memory, x, sorted(min(c, length) for c in cuts))
        single, end_single = in_pieces(memory, x, list(range(1, length)))
    torch.testing.assert_close(cut, whole, rtol=0, atol=1e-10)
    torch.testing.assert_close(single, whole, rtol=0, atol=1e-10)
    for other in (end_cut, end_single):
        for (name, a), (_, b) in zip(end.named_tensors(), other.named_tensors(), strict=True):
            torch.testing.assert_close(b, a, rtol=1e-8, atol=1e-10, msg=name)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_single_precision(depth):
    memory = build(torch.float32, dim=32, depth=depth, chunk_size=16)
    x = torch.randn(2, 100, 32)
    with torch.no_grad():
        whole, _ = memory(x)
        for cuts in (list(range(1, 100)), [1, 17, 18, 50]):
            torch.testing.assert_close(in_pieces(memory, x, cuts)[0], whole, rtol=0, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    options=configs,
    length=st.integers(1, 20),
    cuts=st.lists(st.integers(0, 20), max_size=3),
    padding=st.sampled_from(["left", "right", "between", "anywhere"]),
    seed=st.integers(0, 99),
)
def test_masked_tokens_change_nothing(options, length, cuts, padding, seed):
    memory = build(**options)
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(3, length, 8, dtype=torch.float64, generator=g)
    place, sizes = torch.arange(length), torch.randint(0, length + 1, (3, 1), generator=g)
    mask = {
        "left": place >= sizes,
        "right": place < sizes,
        "between": (place < sizes // 2) | (place >= sizes),
        "anywhere": torch.rand(3, length, generator=g) < 0.6,
    }[padding]
    x = torch.where(mask.unsqueeze(-1), x, torch.nan)  # what stands at a masked token must not matter at all
    more = torch.randn(3, 7, 8, dtype=torch.float64, generator=g)
    with torch.no_grad():
        y, state = in_pieces(memory, x, sorted(min(c, length) for c in cuts), mask)
        after, _ = memory(more, state)
        norms = memory.surprise(x, None, mask)
        assert (y[~mask] == 0).all()
        for row in range(3):
            alone = torch.cat([x[row, mask[row]], more[row]])[None]
            expected, _ = memory(alone)
            assume(is_bounded(expected))
            real = int(mask[row].sum())
            torch.testing.assert_close(y[row, mask[row]], expected[0, :real], rtol=0, atol=1e-10)
            torch.testing.assert_close(after[row], expected[0, real:], rtol=0, atol=1e-10)
            torch.testing.assert_close(norms[row, mask[row]], memory.surprise(alone)[0, :real], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "options", [{}, {"depth": 1}, {"depth": 1, "online": True, "clip": None}, {"gate_context": True}]
)
def test_causal_by_perturbation(options):
    memory = build(**options)
    x = torch.randn(2, 13, 8, dtype=torch.float64)
    with torch.no_grad():
        y, _ = memory(x)
        for t in range(13):
            changed = x.clone()
            changed[:, t] += 1
            other, _ = memory(changed)
            assert torch.equal(other[:, :t], y[:, :t])
            assert (other[:, t] != y[:, t]).any()


def test_batch_rows_never_mix():
    memory = build()
    x = torch.randn(3, 13, 8, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(memory(x)[0][1].sum(), x)
    assert grad[1].abs().sum() > 0
    assert grad[[0, 2]].abs().sum() == 0


def test_gradients_reach_every_parameter_and_flow_through_the_state():
    memory = build()
    x = torch.randn(2, 6, 8, dtype=torch.float64, requires_grad=True)
    _, state = memory(x)
    y, _ = memory(torch.randn(2, 6, 8, dtype=torch.float64), state)
    y.square().sum().backward()
    assert x.grad.abs().sum() > 0
    for name, parameter in memory.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_surprise_is_the_norm_of_the_gradient():
    """Against autograd, with the weights the state holds at each chunk's start."""
    memory = build(clip=None)
    x = torch.randn(2, 12, 8, dtype=torch.float64)
    seen = {}
    hook = memory.project.register_forward_hook(lambda module, args, out: seen.update(out=out))
    norms = memory.surprise(x)
    hook.remove()
    assert norms.shape == (2, 12, 2)
    with torch.no_grad():
        qkv = convolve(seen["out"][..., :24], None, memory.conv)
        _, k, v = torch.nn.functional.silu(qkv).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        k = k * torch.rsqrt(k.square().sum(-1, keepdim=True) + 1e-6)
        v = v / 2  # the root of 4 features
    for start in (0, 4, 8):
        state = memory(x[:, :start])[1] if start else None
        for t in range(start, start + 4):
            for row in range(2):
                for head in range(2):
                    first = memory.memory if state is None else [w[row] for w in state.stream.weights]
                    weights = [w[head].detach().requires_grad_() for w in first]
                    out = weights[1] @ torch.nn.functional.silu(weights[0] @ k[row, head, t])
                    loss = (out - v[row, head, t]).square().sum()
                    norm = sum(g.square().sum() for g in torch.autograd.grad(loss, weights)).sqrt()
                    torch.testing.assert_close(norms[row, t, head], norm, rtol=0, atol=1e-10)


def test_initial_gates():
    memory = NeuralMemory(MemoryConfig(dim=16, heads=2, chunk_size=32))
    theta, eta, alpha = gate_values(memory.gates.bias.detach(), memory.config)
    torch.testing.assert_close(2 * 32 * theta / (1 - eta), torch.ones(2))
    torch.testing.assert_close(alpha, torch.full((2,), 0.018), atol=1e-3, rtol=0)


def test_gates_see_the_tokens_that_end_with_their_own():
    for context, seen in ((False, 1), (True, 3)):
        memory = build(conv_kernel=3, gate_context=context)
        x = torch.randn(1, 12, 8, dtype=torch.float64)
        changed = x.index_add(1, torch.tensor([5]), torch.ones(1, 1, 8, dtype=torch.float64))
        with record_gates(memory) as calls:
            memory(x)
            memory(changed)
        one, two = (torch.stack([c.step_size, c.momentum, c.forget]) for c in calls)
        assert (one != two).any(-1).all(0)[0].nonzero().ravel().tolist() == [*range(5, 5 + seen)]
    assert not bool(NeuralMemory(MemoryConfig(dim=8, heads=2, gate_context=True)).gates.weight[:, 8:].any())


def test_no_write_leaves_the_first_memory():
    """With theta = 0, eta and alpha off, every output is a plain read of M_0."""
    memory = build(momentum=False, forget=False)
    with torch.no_grad():
        memory.gates.bias[:2] = -1e9
        x = torch.randn(2, 12, 8, dtype=torch.float64)
        _, state = memory(x)
    for learned, first in zip(state.stream.weights, memory.memory, strict=True):
        torch.testing.assert_close(learned, first.expand_as(learned))


@pytest.mark.parametrize("options", [{}, {"momentum": False}, {"forget": False}, {"forget_to": "zero"}, {"depth": 3},
                                     {"depth": 1, "clip": None, "online": True}, {"activation": "gelu"},
                                     {"activation": "sparse"}])  # fmt: skip
def test_streaming_without_gradients(options, scan_path):
    """The way a trained model decodes; outputs and the whole state, against one call."""
    memory = build(chunk_size=5, **options)
    x = torch.randn(3, 23, 8, dtype=torch.float64)
    mask = torch.rand(3, 23, generator=torch.Generator().manual_seed(0)) > 0.3
    for real in (None, mask):
        with torch.no_grad():
            whole, end = memory(x, None, real)
            pieces, state = in_pieces(memory, x, [1, 2, 3, 9, 10, 18], real)
        torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-10)
        for (name, a), (_, b) in zip(end.named_tensors(), state.named_tensors(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-10, msg=name)
        with_gradients, _ = in_pieces(memory, x, [1, 2, 3, 9, 10, 18], real)
        torch.testing.assert_close(with_gradients.detach(), whole, rtol=0, atol=1e-10)


def test_bfloat16_autocast():
    memory = build(torch.float32, dim=32)
    x = torch.randn(2, 50, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = memory(x)
    y.float().square().sum().backward()
    exact, _ = memory(x)
    assert torch.isfinite(y).all()
    assert (y.float() - exact).abs().mean() < 0.05 * exact.abs().mean()


@pytest.mark.parametrize(
    ("x", "mask", "message"),
    [
        (torch.zeros(2, 8), None, r"x must be \(B, T, 8\)"),
        (torch.zeros(2, 3, 9), None, r"x must be \(B, T, 8\)"),
        (torch.zeros(2, 0, 8), None, "at least 1"),
        (torch.zeros(2, 3, 8, dtype=torch.long), None, "floating point"),
        (torch.full((2, 3, 8), torch.nan), None, "NaN or infinite"),
        (torch.zeros(2, 3, 8), torch.ones(2, 4, dtype=torch.bool), "mask must be"),
        (torch.zeros(2, 3, 8), torch.ones(2, 3), "mask must be"),
    ],
)
def test_wrong_input(x, mask, message):
    memory = build(torch.float32)
    with pytest.raises(ValueError, match=message):
        memory(x, mask=mask)


def test_state_of_another_batch_or_configuration():
    memory = build(torch.float32)
    _, state = memory(torch.zeros(3, 5, 8))
    with pytest.raises(ValueError, match="another batch or configuration"):
        memory(torch.zeros(2, 5, 8), state)
    with pytest.raises(ValueError, match="another batch or configuration"):
        build(torch.float32, depth=3)(torch.zeros(3, 5, 8), state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 7}, "multiple of heads"),
        ({"depth": 0}, "depth must be"),
        ({"chunk_size": 2.5}, "chunk_size must be"),
        ({"activation": "relu"}, "silu, gelu or sparse"),
        ({"online": True}, "online needs depth 1"),
        ({"online": True, "depth": 1}, "clip=None"),
        ({"clip": -1.0}, "clip must be"),
    ],
)
def test_wrong_config(options, message):
    with pytest.raises(ValueError, match=message):
        MemoryConfig(**{"dim": 8, "heads": 2} | options)


def test_state_rows_can_be_selected_and_forked():
    memory = build()
    x = torch.randn(3, 9, 8, dtype=torch.float64)
    more = torch.randn(3, 5, 8, dtype=torch.float64)
    with torch.no_grad():
        _, state = memory(x)
        expected, after = memory(more, state)
        again, _ = memory(more[[2, 0, 2]], state.select([2, 0, 2]).fork())
    torch.testing.assert_close(again, expected[[2, 0, 2]])
    assert after.nbytes == state.nbytes


def test_gate_by_kernel_equals_torch(monkeypatch, kernel_problem):
    if kernel_problem:
        pytest.skip(kernel_problem)
    from titans_seq import kernel

    memory = build()
    with torch.no_grad():
        memory.output_norm.weight += torch.randn(4, dtype=torch.float64)
    y = torch.randn(3, 7, 2, 4, dtype=torch.float64).transpose(1, 2).requires_grad_()
    gate = torch.randn(3, 7, 8, dtype=torch.float64, requires_grad=True)
    found = []
    for usable in (lambda x: False, lambda x: True):
        monkeypatch.setattr(kernel, "is_usable", usable)
        out = memory._gated(y, gate)
        found.append([out, *torch.autograd.grad(out.square().sum(), [y, gate, memory.output_norm.weight])])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)


def test_long_runs_go_in_pieces(monkeypatch):
    from titans_seq.memory import neural

    memory, x = build(), torch.randn(2, 23, 8, dtype=torch.float64)
    whole, end = memory(x)
    monkeypatch.setattr(neural, "LONG", 10)
    with torch.no_grad():
        pieces, state = memory(x)
    torch.testing.assert_close(pieces, whole.detach(), rtol=0, atol=1e-10)
    for (name, a), (_, b) in zip(end.named_tensors(), state.named_tensors(), strict=True):
        torch.testing.assert_close(b, a.detach(), rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize("conv_kernel", [1, 2, 4])
def test_queries_in_pieces_and_reading_without_writing(conv_kernel):
    """What MAC recalls with: the same queries as the memory's own, and an MLP of the weights that are given."""
    torch.manual_seed(0)
    config = MemoryConfig(dim=8, heads=2, depth=3, chunk_size=4, conv_kernel=conv_kernel)
    memory = NeuralMemory(config).double()
    if conv_kernel > 1:
        torch.nn.init.normal_(memory.conv)  # a convolution that has learned nothing passes the newest token on
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    empty = x.new_zeros(2, conv_kernel - 1, 8)
    q, gate, tail = memory.query(x, empty)
    parts, end = [], empty
    for piece in (x[:, :1], x[:, 1:6], x[:, 6:]):
        *part, end = memory.query(piece, end)
        parts.append(part)
    torch.testing.assert_close(torch.cat([p[0] for p in parts], 2), q)
    torch.testing.assert_close(torch.cat([p[1] for p in parts], 1), gate)
    torch.testing.assert_close(end, tail)
    *_, ragged = memory.query(x, empty, torch.tensor([9, 6]))
    torch.testing.assert_close(ragged[0], tail[0])
    torch.testing.assert_close(ragged[1], memory.query(x[1:, :6], empty[1:])[2][0])

    # with gates that write nothing, the memory answers with its first weights
    torch.nn.init.constant_(memory.gates.bias, -1e3)
    torch.nn.init.zeros_(memory.gates.weight)
    first = [w.unsqueeze(0).expand(2, *w.shape) for w in memory.memory]
    torch.testing.assert_close(memory.recall(q, gate, first), memory(x)[0])


@pytest.mark.parametrize("forget", [True, False])
def test_where_forgetting_leads(forget, scan_path):
    """With gates that write nothing and forget all: to the first memory, or to nothing; in whole and open chunks."""
    torch.manual_seed(0)
    x = torch.randn(1, 9, 8)
    answers = {}
    for forget_to in ("initial", "zero"):
        torch.manual_seed(1)
        memory = NeuralMemory(MemoryConfig(dim=8, heads=2, chunk_size=4, forget_to=forget_to, forget=forget))
        with torch.no_grad():
            memory.gates.weight.zero_()
            memory.gates.bias[:] = torch.tensor([-1e3, -1e3, 1e3]).repeat_interleave(2)
            answers[forget_to] = memory(x)[0]
            parts, state = [], None
            for piece in x.split([3, 4, 2], 1):
                y, state = memory(piece, state)
                parts.append(y)
            torch.testing.assert_close(torch.cat(parts, 1), answers[forget_to])
    assert bool((answers["initial"].abs().amax((0, 2)) > 0).all())
    if forget:
        assert bool((answers["zero"] == 0).all())
    else:
        torch.testing.assert_close(answers["zero"], answers["initial"])
