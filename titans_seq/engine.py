"""Independent pieces of work: one after the other here, or side by side on a cluster of Dask, in the same order."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

from titans_seq.errors import DataError, EngineError, TitansSeqError, reason

Apply = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""Calls a function with each of some items, and yields the results in their order."""

DASK = "dask"
"""A cluster of this machine's own, for as long as the work takes."""
LOST_TWICE = 10
"""Times that a piece of work may be lost with its worker."""
AHEAD = 4
"""Pieces of work that are handed out for each worker at a time."""


@contextmanager
def open_engine(engine: str | None, workers: int) -> Iterator[Apply]:
    """Yield what calls a function with each of some items.

    Args:
        engine: None: this process; `dask`: worker processes of this machine; tcp://HOST:PORT: the scheduler of a
            cluster, whose workers have this package and see the same files.
        workers: processes of `dask`.

    Raises:
        DataError: there is no such engine, or no Dask.
        EngineError: the cluster cannot be reached, or lost the same piece of work again and again.
    """
    if engine is None:
        yield lambda function, items: map(function, items)
        return
    if engine != DASK and not engine.startswith(("tcp://", "tls://")):
        raise DataError(f"engine must be {DASK} or the tcp://HOST:PORT of a Dask scheduler, not {engine!r:.80}")
    if workers < 1:
        raise DataError(f"workers must be at least 1, not {workers}")
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise DataError("the engine needs Dask: pip install 'titans-seq[dask]'") from error
    for noisy in ("distributed", "tornado", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    settings = {"distributed.scheduler.allowed-failures": LOST_TWICE, "distributed.worker.daemon": True}
    with dask.config.set(settings):
        cluster = None
        try:
            if engine == DASK:
                threads = (
                    str(max(1, len(os.sched_getaffinity(0)) // workers)) if hasattr(os, "sched_getaffinity") else "1"
                )
                cluster = LocalCluster(
                    n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL,
                    env={"OMP_NUM_THREADS": threads}, host="127.0.0.1",
                )  # fmt: skip
            client = Client(cluster or engine, timeout=20)
        except (OSError, TimeoutError, ValueError, RuntimeError) as error:
            raise EngineError(f"cannot reach the cluster {engine}: {reason(error)}") from error
        try:
            yield lambda function, items: _map(client, function, items)
        finally:
            with suppress(Exception):
                client.close(timeout=5)
            if cluster is not None:
                with suppress(Exception):
                    cluster.close(timeout=10)


def _map(client: Any, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Yield results in order; only some pieces of work are handed out at a time, so that results do not pile up."""
    from distributed import KilledWorker

    most = AHEAD * max(1, len(client.scheduler_info().get("workers", {})))
    waiting: deque[Any] = deque()
    remaining = iter(items)
    while True:
        waiting.extend(client.submit(function, item, pure=False) for item in islice(remaining, most - len(waiting)))
        if not waiting:
            return
        future = waiting.popleft()
        try:
            result = future.result()
        except TitansSeqError:
            raise
        except KilledWorker as error:
            raise EngineError(f"workers kept dying at the same piece of work, {LOST_TWICE} times") from error
        except Exception as error:
            raise EngineError(f"the cluster lost the work: {type(error).__name__}: {reason(error)}") from error
        yield result
