"""The memory's surprise along a sequence. Axes: L letters, T tokens, H heads."""

from typing import Any

import numpy as np
import pandas as pd
import torch

from titans_seq.backbone.lmm import LMMBlock
from titans_seq.domains.genomics.classifier import TitansDNAClassifier
from titans_seq.domains.genomics.encoder import encode_sequences, pad_rows
from titans_seq.domains.genomics.fitting import check_lengths
from titans_seq.domains.genomics.mixers import BackboneMixer
from titans_seq.domains.genomics.strand import reverse_complement_tensor
from titans_seq.errors import DataError


def surprise(model: TitansDNAClassifier, sequence: Any) -> pd.DataFrame:
    """Return how much each token of one sequence teaches the memory of the first block, read on either strand.

    Surprise is the norm of the loss gradient over the memory's weights (equation 16 of arXiv 2501.00663), the mean
    over heads. A memory that reads from the left is surprised by other places than one that reads from the right,
    and early places more than late ones, as it knows nothing yet.

    Returns:
        T rows: `start` and `end` in letters (from 1, both included), `forward` and `reverse`, without unit.

    Raises:
        DataError: the model's variant is not "lmm", whose memory alone reads the tokens as they come.
    """
    network = model.networks[0]
    mixer = network.mixer
    block = mixer.backbone.blocks[0] if isinstance(mixer, BackboneMixer) else None
    if not isinstance(block, LMMBlock):
        raise DataError(f"surprise needs a model of variant lmm, not {model.variant}")
    (row,) = encode_sequences([sequence], model.ambiguous)
    check_lengths([row])
    codes = torch.from_numpy(pad_rows([row])).long()
    pool = model.reading_.pool
    start = np.arange(0, len(row), pool)
    end = np.minimum(start + pool, len(row))
    trace = {}
    with torch.inference_mode():
        for name, strand in (("forward", codes), ("reverse", reverse_complement_tensor(codes))):
            x, _ = network.embed(strand)
            trace[name] = block.memory.memory.surprise(x)[0].mean(-1).numpy()
    # a token of the other strand begins at the other end: letters are matched, and averaged over a token
    letters = np.repeat(trace["reverse"], pool)[: len(row)][::-1]
    trace["reverse"] = np.add.reduceat(letters, start) / (end - start)
    return pd.DataFrame({"start": start + 1, "end": end, **trace})
