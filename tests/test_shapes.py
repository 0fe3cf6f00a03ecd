"""Networks without values: nothing is drawn, nothing is allocated, and the compiler stays unimported."""

import subprocess
import sys

import torch

from titans_seq import BackboneConfig, TitansBackbone
from titans_seq.shapes import shapes_only


def test_shapes_and_dtypes_are_those_of_the_network():
    config = BackboneConfig(dim=8, heads=2, layers=1, variant="mac")
    state = torch.get_rng_state()
    with shapes_only():
        empty = TitansBackbone(config)
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.is_meta for p in empty.parameters())
    real = TitansBackbone(config)
    assert {n: (t.shape, t.dtype) for n, t in empty.state_dict().items()} == {
        n: (t.shape, t.dtype) for n, t in real.state_dict().items()
    }


def test_compiler_is_not_imported():
    code = (
        "import sys; from titans_seq import BackboneConfig, TitansBackbone; from titans_seq.shapes import shapes_only\n"
        "with shapes_only(): TitansBackbone(BackboneConfig(dim=8, heads=2, layers=1))\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
