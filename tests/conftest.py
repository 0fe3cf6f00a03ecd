"""Fixtures that many tests share."""

import os
import signal
import warnings
from pathlib import Path

import pandas as pd
import pytest
import torch


def pytest_configure(config):
    # Every test is small: with more threads than work, the machine's processors only wait for each other.
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the second would come four seconds later
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in its background
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def kernel_problem():
    """Builds the processor's kernel, so that all tests take the same path; why it could not be, or None."""
    from titans_seq.errors import TitansSeqError
    from titans_seq.kernel import build_kernel

    try:
        build_kernel()
    except TitansSeqError as error:
        return str(error)
    return None


@pytest.fixture(params=["torch", "kernel"])
def scan_path(request, monkeypatch, kernel_problem):
    """The two ways a memory is run on a processor."""
    from titans_seq import kernel

    if request.param == "torch":
        monkeypatch.setattr(kernel, "is_usable", lambda *_: False)
    elif kernel_problem:
        pytest.skip(kernel_problem)
    return request.param


@pytest.fixture(scope="session")
def real_data():
    """The folder that TITANS_SEQ_DATA names; tests that need it are skipped where it is missing."""
    root = os.environ.get("TITANS_SEQ_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("TITANS_SEQ_DATA names no folder of benchmark data")
    return Path(root)


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory):
    """A fresh MLflow database; its tables take seconds to make, so tests copy this one."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def waves():
    """Two channels of daily and weekly waves with a gap and missing values, 500 hours."""
    import numpy as np

    hours = np.arange(500)
    rng = np.random.default_rng(0)
    a = np.sin(hours * 2 * np.pi / 24) + 0.1 * rng.normal(size=500)
    b = 5 + 2 * np.cos(hours * 2 * np.pi / 24) + 0.2 * rng.normal(size=500)
    frame = pd.DataFrame({"a": a, "b": b}, index=pd.date_range("2024-01-01", periods=500, freq="h", name="when"))
    frame.iloc[100:110, 0] = np.nan
    return frame.drop(frame.index[200:205])


@pytest.fixture(scope="session")
def english():
    """Some pages of English, other ones than `small_lm` was trained on behind its first 60,000 characters."""
    from titans_seq.domains.language.text import embedded_text

    return embedded_text()


@pytest.fixture(scope="session")
def small_lm(english):
    """A language model that has read 60,000 characters of English; not to be changed."""
    from titans_seq.domains.language import TitansLM

    size = {"dim": 32, "layers": 1, "heads": 2, "window": 16, "chunk_size": 8}
    model = TitansLM(variant="mag", **size, carry=True, epoch_steps=150, max_epochs=2, batch_size=8, learning_rate=5e-3)
    return model.fit(english[:60_000])
