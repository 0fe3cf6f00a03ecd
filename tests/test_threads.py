"""Several workers on one machine share its processors instead of waiting for each other."""

import os

import torch
from joblib import Parallel, delayed


def threads():
    import titans_seq  # noqa: F401  (as a worker that fits a model)

    return torch.get_num_threads()


def test_workers_divide_the_processors(monkeypatch):
    """joblib's workers, and with them scikit-learn's n_jobs, get their share; importing titans_seq leaves it."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = Parallel(n_jobs=2, backend="loky")(delayed(threads)() for _ in range(2))
    assert found == [max(1, os.cpu_count() // 2)] * 2
