"""Surprise as an anomaly score."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from titans_seq.domains.timeseries import TitansForecaster
from titans_seq.errors import DataError

SMALL = {
    "horizon": 6, "context": 96, "dim": 16, "layers": 2, "max_epochs": 4, "batch_size": 64, "patch": 6, "stride": 6,
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
    scored = trace["b"].notna()
    planted = np.zeros(len(frame), dtype=bool)
    planted[start : start + 11] = True  # it is seen as long as the last token spans it
    before = np.arange(len(frame)) < start
    pd.testing.assert_series_equal(trace["b"][before], calm["b"][before], rtol=1e-4)
    inside, outside = trace["b"][planted & scored], trace["b"][~planted & scored]
    auc = roc_auc_score(planted[scored], trace["b"][scored])
    assert auc > 0.9, auc
    assert inside.max() > outside.quantile(0.99)


def test_it_is_the_memories_own_surprise(waves):
    model = TitansForecaster(**SMALL | {"layers": 1, "max_epochs": 1}).fit(waves)
    row = 300
    past = model.scaling_.apply([torch.tensor(waves.asfreq("h").to_numpy(dtype="float32"))])[0][row - 95 : row + 1]
    net, tokens = model.network_, {}
    hook = net.backbone.blocks[0].memory.memory.norm.register_forward_pre_hook(lambda _, x: tokens.update(x=x[0]))
    with torch.inference_mode():
        net(past.T.unsqueeze(0))
        hook.remove()
        expected = net.backbone.blocks[0].memory.memory.surprise(tokens["x"])[:, -1].mean(-1)
    got = model.surprise(waves).loc[waves.asfreq("h").index[row]]
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_it_is_aligned_with_what_came_in(fitted, waves):
    trace = fitted.surprise(waves)
    assert trace.index.equals(waves.index)
    assert list(trace.columns) == ["a", "b"]
    assert trace.iloc[:95].isna().all(axis=None)
    assert trace.iloc[95:]["b"].notna().all()
    assert (trace["a"].isna() == waves["a"].isna() | (np.arange(len(waves)) < 95)).all()


@pytest.mark.parametrize("variant", ["mac", "mag", "mal"])
def test_every_memory_is_heard_in_long_frames(waves, variant):
    frame = waves.rename_axis("ds").reset_index()
    both = pd.concat(
        [frame.assign(unique_id="x"), frame.iloc[:100].assign(unique_id="y"), frame[:9].assign(unique_id="z")]
    )
    model = TitansForecaster(**SMALL | {"variant": variant, "max_epochs": 1}).fit(both)
    trace = model.surprise(both)
    assert trace[["unique_id", "ds"]].equals(both[["unique_id", "ds"]].reset_index(drop=True))
    assert (trace.groupby("unique_id")["b"].count() == pd.Series({"x": 500 - 95 - 5, "y": 100 - 95, "z": 0})).all()
    assert (trace["b"].dropna() > 0).all()


def test_wrong_calls(fitted, waves):
    with pytest.raises(DataError, match="95 steps, fewer than the context of 96"):
        fitted.surprise(waves.iloc[:95])
    model = TitansForecaster(**SMALL | {"variant": "attention", "max_epochs": 1}).fit(waves)
    with pytest.raises(DataError, match="no memory"):
        model.surprise(waves)


def test_a_memory_that_has_not_learned_yet_is_said(waves):
    model = TitansForecaster(**SMALL | {"chunk_size": 16, "max_epochs": 1}).fit(waves)
    with pytest.warns(UserWarning, match="16 tokens of a context lie in one chunk of 16"):
        model.surprise(waves)
