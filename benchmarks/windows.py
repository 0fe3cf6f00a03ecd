"""`python -m benchmarks windows`: how many windows a second reach the model, beside pytorch-forecasting's loader."""

import time
import warnings
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.errors import DataError
from titans_seq.pipelines.output import plain_table


@dataclass(frozen=True, kw_only=True)
class Windows(BenchmarkOptions):
    """Windows per second, shuffled, in batches: ours and pytorch-forecasting's TimeSeriesDataSet, in turn."""

    rows: int = 14_400
    """Rows of the random series."""
    channels: int = 7
    """Channels of the random series."""
    context: int = 96
    """Steps back."""
    horizon: int = 96
    """Steps ahead."""
    batch_size: int = 64
    """Windows of a batch."""
    repeats: int = 5
    """Measurements of each; the median counts."""
    seed: int = 0
    """Of the data and the order of windows."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        return run_window_speed(self)


def run_window_speed(options: Windows) -> dict[str, Any]:
    """Measure both in turn, `repeats` times."""
    check_options(options, "rows", "channels", "context", "horizon", "batch_size", "repeats")
    least = options.context + options.horizon + 2 * options.batch_size
    if options.rows < least:
        raise DataError(f"{options.rows} rows hold no two batches: at least {least} are needed")
    import numpy as np
    import pandas as pd
    import torch

    from titans_seq.domains.timeseries.windows import Windows

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_forecasting import TimeSeriesDataSet

        names = [f"c{i}" for i in range(options.channels)]
        values = np.random.default_rng(options.seed).normal(size=(options.rows, options.channels)).astype("float32")
        frame = pd.DataFrame(values, columns=names).assign(time_idx=np.arange(options.rows), group="a")
        theirs = TimeSeriesDataSet(
            frame,
            time_idx="time_idx",
            target=names,
            group_ids=["group"],
            max_encoder_length=options.context,
            max_prediction_length=options.horizon,
            time_varying_unknown_reals=names,
        ).to_dataloader(train=True, batch_size=options.batch_size)
        ours = Windows([torch.from_numpy(values)], options.context + options.horizon, options.horizon)
        rates: dict[str, list[float]] = {"titans-seq": [], "TimeSeriesDataSet": []}
        for _ in range(options.repeats):
            rates["titans-seq"].append(
                _rate(ours.loader(options.batch_size, shuffle=True, seed=options.seed), options.batch_size, 10**9)
            )
            rates["TimeSeriesDataSet"].append(_rate(theirs, options.batch_size, 30))
    result = {
        "benchmark": "windows",
        "rows": options.rows,
        "channels": options.channels,
        "context": options.context,
        "horizon": options.horizon,
        "batch_size": options.batch_size,
        "windows_per_second": {name: {"median": median(r), "min": min(r), "max": max(r)} for name, r in rates.items()},
        "ratio": median(rates["titans-seq"]) / median(rates["TimeSeriesDataSet"]),
        **describe(),
    }
    write_result(options.output, "windows", result)
    if not options.json:
        rows = {n: {k: f"{v:,.0f}" for k, v in r.items()} for n, r in result["windows_per_second"].items()}
        plain_table("windows per second", rows)
    return result


def _rate(loader: Any, batch_size: int, most: int) -> float:
    """Return windows per second over the first `most` batches, the first of which is not counted."""
    batches = iter(loader)
    next(batches)
    count, started = 0, time.perf_counter()
    for _ in batches:
        count += batch_size
        if count >= most * batch_size:
            break
    return count / (time.perf_counter() - started)


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    rates = {name: f"{of['median']:,.0f}" for name, of in result["windows_per_second"].items()}
    what = f"windows a second, {result['context']} + {result['horizon']} steps, {result['channels']} channels"
    return [
        Figure(
            what, rates.pop("titans-seq"), f"pytorch-forecasting's {', '.join(f'{n} {r}' for n, r in rates.items())}"
        )
    ]
