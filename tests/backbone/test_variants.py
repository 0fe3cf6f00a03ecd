"""Every variant: whole = in any pieces = around masked tokens = through a state saved to disk; causal; exportable."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from titans_seq import BackboneConfig, TitansBackbone, save_state

VARIANTS = ["lmm", "mac", "mag", "mal", "attention", "gru", "none"]
LENGTH = 40


def build(variant, dtype=torch.float64, **options):
    torch.manual_seed(0)
    base = {"variant": variant, "dim": 8, "layers": 2, "heads": 2, "chunk_size": 4, "window": 8, "persistent_tokens": 2}
    return TitansBackbone(BackboneConfig(**base | options)).to(dtype).eval()


def in_pieces(net, x, cuts, mask=None):
    state, outputs = None, []
    for start, stop in zip([0, *cuts], [*cuts, x.shape[1]], strict=True):
        if start < stop:
            h, state = net(x[:, start:stop], state, None if mask is None else mask[:, start:stop])
            outputs.append(h)
    return torch.cat(outputs, 1), state


options = st.fixed_dictionaries(
    {
        "window": st.sampled_from([4, 8, 12]),
        "persistent_tokens": st.integers(0, 3),
        "memory_depth": st.integers(1, 3),
        "momentum": st.booleans(),
        "forget": st.booleans(),
        "conv_kernel": st.sampled_from([1, 4]),
    }
)
cut_lists = st.lists(st.integers(0, LENGTH), max_size=5).map(sorted)


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=12, deadline=None)
@given(options=options, cuts=cut_lists, seed=st.integers(0, 99))
def test_any_cut_gives_the_same(variant, options, cuts, seed):
    net = build(variant, **options)
    x = torch.randn(2, LENGTH, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        whole, _ = net(x)
        torch.testing.assert_close(in_pieces(net, x, cuts)[0], whole, rtol=0, atol=1e-9)
        torch.testing.assert_close(in_pieces(net, x, list(range(1, LENGTH)))[0], whole, rtol=0, atol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=12, deadline=None)
@given(options=options, cuts=cut_lists, seed=st.integers(0, 99))
def test_masked_tokens_change_nothing(variant, options, cuts, seed):
    net = build(variant, **options)
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(3, LENGTH, generator=g) < torch.rand(3, 1, generator=g)
    x = torch.randn(3, LENGTH, 8, dtype=torch.float64, generator=g).masked_fill(~mask.unsqueeze(-1), torch.nan)
    more = torch.randn(3, 11, 8, dtype=torch.float64, generator=g)
    with torch.no_grad():
        h, state = in_pieces(net, x, cuts, mask)
        after, _ = net(more, state)
        assert (h[~mask] == 0).all()
        for row in range(3):
            alone, _ = net(torch.cat([x[row, mask[row]], more[row]])[None])
            count = int(mask[row].sum())
            torch.testing.assert_close(h[row, mask[row]], alone[0, :count], rtol=0, atol=1e-9)
            torch.testing.assert_close(after[row], alone[0, count:], rtol=0, atol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_single_precision(variant):
    net = build(variant, torch.float32, dim=32, window=16)
    x = torch.randn(2, 200, 32)
    with torch.no_grad():
        whole, _ = net(x)
        for cuts in (list(range(1, 200)), [1, 17, 18, 150]):
            torch.testing.assert_close(in_pieces(net, x, cuts)[0], whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_causal_in_values_and_gradients(variant):
    net = build(variant)
    x = torch.randn(1, LENGTH, 8, dtype=torch.float64, requires_grad=True)
    h, _ = net(x)
    for t in range(LENGTH):
        (g,) = torch.autograd.grad(h[:, t].sum(), x, retain_graph=True)
        assert g[:, t + 1 :].abs().sum() == 0
        assert g[:, t].abs().sum() > 0
        changed = x.detach().clone()
        changed[:, t] += 1
        with torch.no_grad():
            torch.testing.assert_close(net(changed)[0][:, :t], h[:, :t].detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_batch_rows_never_mix(variant):
    net = build(variant)
    x = torch.randn(3, LENGTH, 8, dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(net(x)[0][1].sum(), x)
    assert g[1].abs().sum() > 0
    assert g[[0, 2]].abs().sum() == 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_gets_a_gradient(variant):
    net = build(variant)
    net(torch.randn(2, LENGTH, 8, dtype=torch.float64))[0].square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_came_before_is_remembered(variant):
    """With a memory, a token far outside the window still matters; without one it is forgotten, but by a GRU."""
    net = build(variant, window=4, layers=1, persistent_tokens=0)
    x = torch.randn(1, LENGTH, 8, dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad(net(x)[0][:, -1].sum(), x)
    reach = float(g[:, 0].abs().sum())
    assert (reach == 0) if variant in ("attention", "none") else (reach > (0 if variant == "gru" else 1e-6))


def test_window_attention_is_attention_with_a_band_mask():
    net = build("attention", layers=1, window=6, persistent_tokens=0)
    full = build("attention", layers=1, window=None, persistent_tokens=0)
    full.load_state_dict(net.state_dict())
    x = torch.randn(2, LENGTH, 8, dtype=torch.float64)
    with torch.no_grad():
        windowed, everything = net(x)[0], full(x)[0]
        torch.testing.assert_close(windowed[:, :6], everything[:, :6], rtol=0, atol=1e-12)
        for t in range(6, LENGTH):
            torch.testing.assert_close(full(x[:, t - 5 : t + 1])[0][:, -1], windowed[:, t], rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_state_through_a_file_and_another_process(variant, tmp_path):
    net = build(variant)
    x = torch.randn(2, LENGTH, 8, dtype=torch.float64)
    with torch.no_grad():
        whole, _ = net(x)
        _, state = net(x[:, :23])
    save_state(state, tmp_path / "state", net.config)
    save_file(net.state_dict(), tmp_path / "weights")
    save_file({"x": x[:, 23:].contiguous()}, tmp_path / "input")
    code = (
        "import sys, json, torch, titans_seq as ts\n"
        "from safetensors.torch import load_file, save_file\n"
        "from pathlib import Path\n"
        "folder, config = Path(sys.argv[1]), ts.BackboneConfig.from_dict(json.loads(sys.argv[2]))\n"
        "net = ts.TitansBackbone(config).double().eval()\n"
        "net.load_state_dict(load_file(folder / 'weights'))\n"
        "with torch.no_grad():\n"
        "    h, _ = net(load_file(folder / 'input')['x'], ts.load_state(folder / 'state', config))\n"
        "save_file({'h': h.contiguous()}, folder / 'output')\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), json.dumps(asdict(net.config))], check=True)
    torch.testing.assert_close(load_file(tmp_path / "output")["h"], whole[:, 23:], rtol=0, atol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_size_of_the_state_does_not_grow(variant):
    net = build(variant, torch.float32)
    with torch.no_grad():
        _, short = net(torch.randn(1, 5, 8))
        _, long = net(torch.randn(1, 500, 8))
    assert short.nbytes == long.nbytes == net.initial_state(1).nbytes


@pytest.mark.parametrize("variant", VARIANTS)
def test_rows_of_a_state(variant):
    net = build(variant)
    x, more = torch.randn(3, 13, 8, dtype=torch.float64), torch.randn(3, 5, 8, dtype=torch.float64)
    with torch.no_grad():
        _, state = net(x)
        expected, _ = net(more, state)
        picked, _ = net(more[[2, 0, 2]], state.select([2, 0, 2]))
        forked = state.fork().detach()
        net(more, forked)
        again, _ = net(more, forked)
    torch.testing.assert_close(picked, expected[[2, 0, 2]])
    torch.testing.assert_close(again, expected)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_export_at_a_fixed_length_equals_eager(variant):
    net = build(variant, torch.float32)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(3):
        x = torch.randn(2, 21, 8)
        (net(x)[0] - x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    class Outputs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x)[0]

    x = torch.randn(2, 21, 8)
    exported = torch.export.export(Outputs().eval(), (x,)).module()
    other = torch.randn(2, 21, 8)
    with torch.no_grad():
        torch.testing.assert_close(exported(other), net(other)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16_autocast_is_finite(variant):
    net = build(variant, torch.float32, dim=32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h, _ = net(torch.randn(2, 60, 32))
    h.float().square().sum().backward()
    assert torch.isfinite(h).all()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variant": "mac", "window": None}, "mac needs a window"),
        ({"variant": "mac", "window": 6}, "multiple of chunk_size 4, not 6"),
        ({"variant": "mag", "window": 0}, "window must be"),
        ({"variant": "mal", "persistent_tokens": -1}, "persistent_tokens must be"),
    ],
)
def test_wrong_config(changes, message):
    with pytest.raises(ValueError, match=message):
        BackboneConfig(**{"dim": 8, "heads": 2, "chunk_size": 4} | changes)


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "none"])  # its state holds nothing
def test_states_of_others_are_refused(variant):
    net = build(variant)
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    _, state = net(x)
    with pytest.raises(ValueError, match="another batch or configuration"):
        net(x[:1], state)
    for other in VARIANTS:
        if other != variant and {other, variant} != {"mag", "mal"}:
            with pytest.raises(ValueError, match="configuration"):
                build(other)(x, state)
    with pytest.raises(ValueError, match="must be what an earlier call returned, not dict"):
        net(x, {})


@pytest.mark.parametrize("variant", VARIANTS)
def test_recomputation_changes_neither_outputs_nor_gradients(variant):
    plain, frugal = build(variant, dropout=0.2), build(variant, dropout=0.2, checkpoint_tokens=8)
    frugal.load_state_dict(plain.state_dict())
    x = torch.randn(2, LENGTH, 8, dtype=torch.float64, requires_grad=True)
    results = []
    for net in (plain.eval(), frugal.eval()):
        h, state = net(x)
        h.square().sum().backward()
        results.append([h, x.grad, *(p.grad for p in net.parameters()), *(t for _, t in state.named_tensors())])
        x.grad = None
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-9)
