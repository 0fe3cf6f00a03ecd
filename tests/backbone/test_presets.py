"""Named sizes hold what their names say."""

import pytest
import torch

import titans_seq as ts
from titans_seq.backbone.presets import SIZES, VOCABULARY


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("variant", ["lmm", "mac", "mag", "mal", "attention"])
def test_parameter_counts(name, variant):
    config = ts.preset(name, variant)
    with torch.device("meta"):
        backbone = ts.TitansBackbone(config)
        embedding = torch.nn.Embedding(VOCABULARY, config.dim)
    total = sum(p.numel() for m in (backbone, embedding) for p in m.parameters())
    named = int(name.removeprefix("titans-").removesuffix("m")) * 1_000_000
    assert abs(total / named - 1) < 0.03
    assert 0.5 < config.mlp_expansion < 6


def test_unknown_name():
    with pytest.raises(ValueError, match="preset must be one of titans-170m"):
        ts.preset("titans-7b")
