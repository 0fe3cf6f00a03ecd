"""What is foreign stands out."""

import numpy as np
import pandas as pd
import pytest
import torch

from titans_seq.domains.language import TitansLM
from titans_seq.domains.language.plots import plot_surprise
from titans_seq.domains.language.surprise import contrast
from titans_seq.memory.record import record_surprise

FOREIGN = "Wśród nocnej ciszy głos się rozchodzi; wstańcie, pasterze, Bóg się wam rodzi! " * 3


def test_a_foreign_passage_stands_out_of_its_surroundings(small_lm, english, tmp_path):
    before, behind = english[100_000:101_500], english[101_500:103_000]
    trace = small_lm.surprise(before + FOREIGN + behind)
    start, size = len(before.encode()), len(FOREIGN.encode())
    assert len(trace) == len((before + FOREIGN + behind).encode())
    found = contrast(trace, (start, start + size))["bits"]
    assert found["inside"] > 1.5 * found["outside"]
    assert found["auc"] > 0.7
    assert found["running_auc"] > found["auc"]
    # no stretch of the same length elsewhere is as surprising
    means = trace["bits"].rolling(size).mean().dropna()
    assert abs(int(means.idxmax()) + 1 - (start + size)) < size / 4
    plot_surprise(tmp_path / "trace.png", trace, (start, start + size), "planted")
    assert (tmp_path / "trace.png").read_bytes()[:4] == b"\x89PNG"


def test_bits_add_up_to_the_score(small_lm, english):
    text = english[90_000:92_000]
    assert small_lm.surprise(text)["bits"].sum() / len(text.encode()) == pytest.approx(
        small_lm.bits_per_byte(text), rel=1e-4
    )


@pytest.mark.parametrize("variant", ["lmm", "mac", "mag", "mal", "attention"])
@pytest.mark.parametrize("persistent", [0, 3])
def test_the_memory_is_watched_where_it_writes(variant, persistent):
    size = {"dim": 16, "layers": 2, "heads": 2, "window": 8, "chunk_size": 4, "context": 16, "epoch_steps": 2}
    model = TitansLM(variant=variant, **size, max_epochs=1, persistent_tokens=persistent).fit(
        "to be or not to be. " * 10
    )
    text = "that is the question"
    trace = model.surprise(text)
    assert list(trace) == ["bits", "memory"]
    assert len(trace) == len(text)
    if variant == "attention":
        assert trace["memory"].isna().all()
        return
    assert (trace["memory"] > 0).all()
    if variant == "lmm":
        tokens = torch.tensor([[256, *text.encode()]])
        first = model.network_.backbone.blocks[0].memory
        x = model.network_.embedding(tokens)
        if persistent:
            x = torch.cat([first.persistent.expand(1, -1, -1), x], 1)
        one = first.memory.surprise(x)[0, -len(text) :].mean(-1)
        with record_surprise(model.network_) as norms, torch.no_grad():
            model.network_(tokens)
        both = torch.stack([torch.cat(n, 2)[0].mean(0)[-len(text) :] for n in norms])
        torch.testing.assert_close(both[0], one)
        np.testing.assert_allclose(trace["memory"], both.mean(0), rtol=1e-4)
    assert "step" not in vars(next(m for m in model.network_.modules() if type(m).__name__ == "NeuralMemory"))


def test_contrast_of_known_numbers():
    trace = pd.DataFrame({"bits": [1.0, 1, 5, 7, 1], "memory": [np.nan] * 5})
    assert contrast(trace, (2, 4), 1) == {"bits": {"inside": 6.0, "outside": 1.0, "auc": 1.0, "running_auc": 1.0}}
    assert contrast(trace, (2, 4), 3)["bits"]["running_auc"] == 1.0
    # means over three: 1, 7/3, 13/3, 13/3, 4, so of six pairs three are in order and one is a tie
    assert contrast(trace, (1, 3), 3)["bits"]["running_auc"] == pytest.approx(3.5 / 6)
