"""Surprise along a text: the model's own loss, and the norm of what its memories learn from each token.

Axes: B batch, T tokens, H heads.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from titans_seq.domains.language.evaluation import stream_losses
from titans_seq.domains.language.network import LanguageNetwork
from titans_seq.memory.record import record_surprise


def trace_surprise(
    network: LanguageNetwork, tokens: Iterable[Tensor]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Yield nats (T,) of each token but the first, and the memories' mean surprise (T,) as each is written.

    A token is written by the call that predicts its successor, so one more is made for the last. Without memories the
    surprise is NaN.
    """
    last = None

    def watched() -> Iterator[Tensor]:
        nonlocal last
        for part in tokens:
            last = part[-1:]
            yield part
        if last is not None:
            yield last  # is predicted too, and thrown away below

    with record_surprise(network) as norms:
        losses = torch.cat(list(stream_losses(network, watched())))[:-1].double().numpy()
    if not norms:
        return losses, np.full_like(losses, np.nan)
    memories = [torch.cat(of, 2)[0].double().mean(0) for of in norms]
    return losses, torch.stack(memories).mean(0)[-len(losses) :].numpy()  # in front: persistent tokens, and the first


def running_mean(trace: pd.DataFrame, span: int) -> pd.DataFrame:
    """Return means over `span` tokens, each token in the middle of its own."""
    return trace.rolling(span, center=True, min_periods=1).mean()


def contrast(trace: pd.DataFrame, planted: tuple[int, int], span: int = 64) -> dict[str, dict[str, float]]:
    """Return how far the tokens of a range stand out of the rest, per column of `TitansLM.surprise`.

    Returns:
        means inside and outside, `auc`: the chance that a token inside exceeds one outside (0.5: no difference), and
        `running_auc`: the same of running means over `span` tokens.
    """
    from sklearn.metrics import roc_auc_score

    inside = np.zeros(len(trace), dtype=bool)
    inside[slice(*planted)] = True
    means = running_mean(trace, span)
    return {
        str(column): {
            "inside": float(values[inside].mean()),
            "outside": float(values[~inside].mean()),
            "auc": float(roc_auc_score(inside, values)),
            "running_auc": float(roc_auc_score(inside, means[column])),
        }
        for column, values in ((c, trace[c].to_numpy()) for c in trace)
        if not np.isnan(values).any()
    }
