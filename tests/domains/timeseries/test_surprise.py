"""Surprise as an anomaly score."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from titans_seq.domains.timeseries import TitansForecaster
from titans_seq.errors import DataError

SMALL = {
    "horizon": 6, "context": 96, "dim": 16, "layers": 2, "max_epochs": 4, "batch_size": 64, "patch": 6,
    "chunk_size": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def fitted(waves):
    return TitansForecaster(**SMALL).fit(waves)


def test_a_planted_anomaly_stands_out(fitted, waves):
    calm = fitted.surprise(waves)
    frame = waves.copy()
    start = 400
    rng = np.random.default_rng(1)
    frame.iloc[start : start + 6, 1] += 4 * rng.choice([-1, 1], 6)  # as wide as the wave, and without its shape
    trace = fitted.surprise(frame)
    pd.testing.assert_series_equal(trace["a"], calm["a"], rtol=1e-4)
    scored = trace["b"].notna() & (np.arange(len(frame)) >= 96)  # the first tokens are all new to it
    planted = np.zeros(len(frame), dtype=bool)
    planted[start - 3 : start + 9] = True  # the two tokens that hold it
    before = np.arange(len(frame)) < start - 6  # steps of one token share its surprise
    pd.testing.assert_series_equal(trace["b"][before], calm["b"][before], rtol=1e-4)
    inside, outside = trace["b"][planted & scored], trace["b"][~planted & scored]
    auc = roc_auc_score(planted[scored], trace["b"][scored])
    assert auc > 0.9, auc
    assert inside.max() > outside.quantile(0.99)


def test_it_is_the_memories_own_surprise(waves):
    model = TitansForecaster(**SMALL | {"layers": 1, "max_epochs": 1}).fit(waves)
    memory, read = model.network_.backbone.blocks[0].memory.memory, {}
    hook = memory.norm.register_forward_pre_hook(lambda _, x: read.setdefault("x", x[0]))
    got = model.surprise(waves.iloc[:200])
    hook.remove()
    with torch.inference_mode():
        expected = memory.surprise(read["x"]).mean(-1)  # (C, N)
    np.testing.assert_allclose(got["b"].dropna().iloc[::6], expected[1, : got["b"].count() // 6 + 1], rtol=1e-3)


def test_it_is_aligned_with_what_came_in(fitted, waves):
    trace = fitted.surprise(waves)
    assert trace.index.equals(waves.index)
    assert list(trace.columns) == ["a", "b"]
    whole = waves.index < waves.index[0] + pd.Timedelta("498h")  # 83 tokens of 6 in 500 hours
    assert (trace["b"].notna() == whole).all()
    assert (trace["a"].isna() == waves["a"].isna() | ~whole).all()


@pytest.mark.parametrize("variant", ["mac", "mag", "mal"])
def test_every_memory_is_heard_in_long_frames(waves, variant):
    frame = waves.rename_axis("ds").reset_index()
    both = pd.concat(
        [frame.assign(unique_id="x"), frame.iloc[:100].assign(unique_id="y"), frame[:9].assign(unique_id="z")]
    )
    model = TitansForecaster(**SMALL | {"variant": variant, "max_epochs": 1}).fit(both)
    trace = model.surprise(both)
    assert trace[["unique_id", "ds"]].equals(both[["unique_id", "ds"]].reset_index(drop=True))
    assert (trace.groupby("unique_id")["b"].count() == pd.Series({"x": 493, "y": 96, "z": 6})).all()
    assert (trace["b"].dropna() > 0).all()


def test_wrong_calls(fitted, waves):
    with pytest.raises(DataError, match="6 steps: a token of 6 and a step behind it are needed"):
        fitted.surprise(waves.iloc[:6])
    model = TitansForecaster(**SMALL | {"variant": "attention", "max_epochs": 1}).fit(waves)
    with pytest.raises(DataError, match="no memory"):
        model.surprise(waves)
