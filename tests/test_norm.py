"""Norm and gated MLP: the kernel equals torch, values and gradients."""

import pytest
import torch

from titans_seq import kernel
from titans_seq.backbone.swiglu import SwiGLU
from titans_seq.norm import RMSNorm


@pytest.mark.parametrize("shape", [(1, 5), (2, 3, 33), (4, 300, 16)])
@pytest.mark.parametrize("make", [RMSNorm, lambda dim: SwiGLU(dim, 7)], ids=["norm", "swiglu"])
def test_kernel_equals_torch(kernel_problem, monkeypatch, make, shape):
    if kernel_problem:
        pytest.skip(kernel_problem)
    torch.manual_seed(0)
    module = make(shape[-1]).double()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape))
    x = torch.randn(shape, dtype=torch.float64).mT.contiguous().mT.requires_grad_()  # not in one piece
    weight = torch.randn(shape, dtype=torch.float64)

    def run():
        y = module(x)
        return y, *torch.autograd.grad((y * weight).sum(), [x, *module.parameters()])

    fast = run()
    monkeypatch.setattr(kernel, "is_usable", lambda *_: False)
    for a, b in zip(fast, run(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_empty_batch():
    assert RMSNorm(4)(torch.zeros(0, 3, 4)).shape == SwiGLU(4, 8)(torch.zeros(0, 3, 4)).shape == (0, 3, 4)
