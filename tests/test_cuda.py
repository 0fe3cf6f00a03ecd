"""The same numbers on a CUDA device as on the processor; skipped where there is none.

Axes: B batch, T tokens.
"""

from copy import deepcopy

import numpy as np
import pytest
import torch

from titans_seq import (
    BackboneConfig,
    MemoryConfig,
    NeuralMemory,
    TitansBackbone,
    TitansDNAClassifier,
    TitansForecaster,
    TitansLM,
    load_state,
    save_state,
)

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

VARIANTS = ("lmm", "mac", "mag", "mal", "attention", "gru")


def backbone(variant):
    config = BackboneConfig(
        variant=variant, dim=32, heads=2, layers=2, window=16, chunk_size=8, persistent_tokens=2, initial_step=0.02
    )
    torch.manual_seed(0)
    return TitansBackbone(config)


def both(module):
    """The module on the processor, and a copy of it on the device."""
    return module, deepcopy(module).cuda()


def values_and_gradients(module, x, mask=None):
    """Outputs, and gradients of the input and of all parameters, on the processor."""
    x = x.to(next(module.parameters()).device).requires_grad_()
    y, _ = module(x, mask=None if mask is None else mask.to(x.device))
    y.square().mean().backward()
    return [t.detach().cpu() for t in (y, x.grad, *(p.grad for p in module.parameters() if p.grad is not None))]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_memory_gives_the_same_values_and_gradients(depth):
    torch.manual_seed(depth)
    memory = NeuralMemory(MemoryConfig(dim=32, heads=2, depth=depth, chunk_size=8, initial_step=0.02))
    x = torch.randn(3, 77, 32)
    for near, far in zip(*(values_and_gradients(m, x.clone()) for m in both(memory)), strict=True):
        torch.testing.assert_close(far, near, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_backbone_gives_the_same_values_and_gradients(variant):
    torch.manual_seed(1)
    x, mask = torch.randn(3, 77, 32), torch.rand(3, 77) > 0.3
    for near, far in zip(*(values_and_gradients(m, x.clone(), mask) for m in both(backbone(variant))), strict=True):
        torch.testing.assert_close(far, near, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_a_stream_moves_between_devices_through_a_file(variant, tmp_path):
    near, far = both(backbone(variant))
    x = torch.randn(2, 90, 32)
    whole, _ = near(x)
    first, state = far(x[:, :41].cuda())
    save_state(state, tmp_path / "state", far.config)
    state = load_state(tmp_path / "state", near.config)
    second, state = near(x[:, 41:55], state)
    third, _ = far(x[:, 55:].cuda(), state.to("cuda"))
    torch.testing.assert_close(torch.cat([first.cpu(), second, third.cpu()], 1), whole, rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_a_long_stream_stays_finite_in_bfloat16():
    far = backbone("lmm").cuda()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        y, _ = far(torch.randn(1, 20_000, 32, device="cuda"))
    assert bool(torch.isfinite(y).all())


def test_estimators_train_on_the_device_and_predict_after_loading(waves, tmp_path, monkeypatch):
    devices, step = set(), NeuralMemory.step

    def watched(self, x, *rest, **options):
        if self.training:
            devices.add(x.device.type)
        return step(self, x, *rest, **options)

    monkeypatch.setattr(NeuralMemory, "step", watched)
    forecaster = TitansForecaster(horizon=6, context=24, dim=16, layers=1, max_epochs=1).fit(waves)
    loaded = TitansForecaster.load(forecaster.save(tmp_path / "forecaster"))
    np.testing.assert_allclose(loaded.predict(), forecaster.predict(), rtol=1e-5)
    assert devices == {"cuda"}

    rng = np.random.default_rng(0)
    sequences = ["".join(rng.choice(list("ACGT"), 60)) for _ in range(60)]
    labels = [s[30] in "AG" for s in sequences]
    classifier = TitansDNAClassifier(dim=16, heads=1, max_epochs=1).fit(sequences, labels)
    loaded = TitansDNAClassifier.load(classifier.save(tmp_path / "classifier"))
    np.testing.assert_allclose(loaded.predict_proba(sequences), classifier.predict_proba(sequences), rtol=1e-5)

    text = "The memory learns while it reads. " * 200
    lm = TitansLM(dim=16, layers=1, heads=1, max_epochs=1, epoch_steps=5, context=64).fit(text)
    assert TitansLM.load(lm.save(tmp_path / "lm")).bits_per_byte(text) == pytest.approx(
        lm.bits_per_byte(text), rel=1e-5
    )
    assert devices == {"cuda"}
