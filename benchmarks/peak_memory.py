"""Peak resident memory of this process while something runs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def watch_memory() -> Iterator[list[float]]:
    """Yield a list that holds, behind the block, the peak over what was resident before it, in MB."""
    import psutil

    process, found, done = psutil.Process(), list[float](), threading.Event()
    baseline = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        peak = max(peak, process.memory_info().rss)
        done.set()
        thread.join()
        found.append((peak - baseline) / 1e6)
