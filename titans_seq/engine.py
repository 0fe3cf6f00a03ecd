"""Independent pieces of work: one after the other, by processes of this machine, or on a cluster of Dask, in order."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
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
def open_engine(engine: str | None, jobs: int | None) -> Iterator[Apply]:
    """Yield what calls a function with each of some items.

    Args:
        engine: None: this machine; `dask`: the same, by workers that may die; tcp://HOST:PORT: the scheduler of a
            cluster, whose workers have this package and see the same files.
        jobs: processes of this machine; None: this one, or two of `dask`.

    Raises:
        DataError: there is no such engine, or no Dask.
        EngineError: the cluster cannot be reached, or lost the same piece of work again and again.
    """
    if jobs is not None and jobs < 1:
        raise DataError(f"jobs must be at least 1, not {jobs}")
    if engine is None:
        with _open_pool(jobs or 1) as apply:
            yield apply
        return
    workers = jobs or 2
    if engine != DASK and not engine.startswith(("tcp://", "tls://")):
        raise DataError(f"engine must be {DASK} or the tcp://HOST:PORT of a Dask scheduler, not {engine!r:.80}")
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
                cluster = LocalCluster(
                    n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL,
                    env=_own_share(workers), host="127.0.0.1",
                )  # fmt: skip
            client = Client(cluster or engine, timeout=20)
        except (OSError, TimeoutError, ValueError, RuntimeError) as error:
            raise EngineError(f"cannot reach the cluster {engine}: {reason(error)}") from error
        try:
            submit = partial(client.submit, pure=False)
            most = AHEAD * max(1, len(client.scheduler_info().get("workers", {})))
            yield lambda function, items: _map(submit, most, function, items)
        finally:
            with suppress(Exception):
                client.close(timeout=5)
            if cluster is not None:
                with suppress(Exception):
                    cluster.close(timeout=10)


@contextmanager
def _open_pool(jobs: int) -> Iterator[Apply]:
    """Yield what calls a function in so many processes of this machine; in this one if it is one."""
    if jobs == 1:
        yield lambda function, items: map(function, items)
        return
    from joblib.externals.loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(jobs, env=_own_share(jobs))
    try:
        yield lambda function, items: _map(pool.submit, AHEAD * jobs, function, items)
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _own_share(workers: int) -> dict[str, str]:
    """Return the environment that gives each of several processes its share of the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"OMP_NUM_THREADS": str(max(1, cores // workers))}


def _map(submit: Callable[..., Any], most: int, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Yield results in order; at most so many pieces of work are handed out at a time: results do not pile up."""
    waiting: deque[Any] = deque()
    remaining = iter(items)
    while True:
        waiting.extend(submit(function, item) for item in islice(remaining, most - len(waiting)))
        if not waiting:
            return
        future = waiting.popleft()
        try:
            result = future.result()
        except TitansSeqError:
            raise
        except Exception as error:
            if type(error).__name__ == "KilledWorker":  # of Dask, which need not be here
                raise EngineError(f"workers kept dying at the same piece of work, {LOST_TWICE} times") from error
            raise EngineError(f"a worker lost the work: {type(error).__name__}: {reason(error)}") from error
        yield result
