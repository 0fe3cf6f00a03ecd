"""`python -m benchmarks online`: what learning while it forecasts is worth, on the long-horizon protocol.

One trained forecaster forecasts every test window in three ways: "frozen", each window from a look-back and nothing
else; "streamed", from all that came before, with what training left in its linear memory; "learning", its linear memory
also taught what followed earlier windows, once it is known, if validation said that this helps. Beside them an online
ridge regression, which is that memory without a network and always learns, and DLinear, frozen and with a gradient step
every `EVERY` windows on those whose last value has come; its rate is chosen on the validation rows.

Axes: C channels, H horizon, W windows.
"""

import copy
import math
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.environment import describe
from benchmarks.figure import Figure
from benchmarks.long_horizon import BASELINE_CONTEXT, LongHorizon, fit, forecast_rows, read_rows
from benchmarks.options import BenchmarkOptions, check_options, write_result
from titans_seq.pipelines.output import score_table
from titans_seq.spread import format_spread, mean_and_spread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from titans_seq.domains.timeseries.windows import Windows

EVERY = 24
"""Windows between two gradient steps."""
RATES = (0.0, 1e-5, 1e-4, 1e-3)
WAYS = ("frozen", "streamed", "learning")
PEERS = ("online ridge", "DLinear", "DLinear, gradient steps")


@dataclass(frozen=True, kw_only=True)
class Online(BenchmarkOptions):
    """Test errors of one trained forecaster frozen, streamed and learning, beside others that learn online."""

    datasets: tuple[Literal["ETTh1", "ETTh2", "ETTm1", "ETTm2", "weather"], ...] = (
        "ETTh1", "ETTh2", "ETTm1", "ETTm2", "weather",
    )  # fmt: skip
    """As `titans-seq data list` shows them."""
    horizons: tuple[int, ...] = (24, 96)
    """Steps ahead."""
    seeds: int = 3
    """Runs of each."""

    def run(self) -> dict[str, Any]:
        """Measure; return the content of the JSON file."""
        return run_online(self)


def run_online(options: Online) -> dict[str, Any]:
    """Measure every data set, horizon and seed; the result is written after each setting."""
    check_options(options, "seeds")
    rows: list[dict[str, Any]] = []
    chosen = f"--datasets {' '.join(options.datasets)} --horizons {' '.join(map(str, options.horizons))}"
    command = f"python -m benchmarks online {chosen} --seeds {options.seeds}"
    for dataset in options.datasets:
        for horizon in options.horizons:
            runs = [measure(dataset, horizon, seed) for seed in range(options.seeds)]
            rows.append({"dataset": dataset, "horizon": horizon, "runs": runs})
            result = {"benchmark": "online", "seeds": options.seeds, "settings": rows, "command": command, **describe()}
            write_result(options.output, "online", result)
    if not options.json:
        shown = {}
        for row in rows:
            means = {name: mean_and_spread(run["mae"][name] for run in row["runs"])[0] for name in (*WAYS, *PEERS)}
            seconds, _ = mean_and_spread(run["fit_seconds"] for run in row["runs"])
            shown[f"{row['dataset']}, {row['horizon']}"] = means | {"seconds": seconds}
        score_table("test MAE on standardised values", shown, f"means over {options.seeds} seeds")
    return result


def measure(dataset: str, horizon: int, seed: int) -> dict[str, Any]:
    """Return the test errors of all with one seed."""
    import numpy as np
    import torch

    from titans_seq.domains.timeseries.forecaster import TitansForecaster
    from titans_seq.domains.timeseries.prepare import Scaling, TrainingWindows
    from titans_seq.domains.timeseries.windows import Windows

    started = time.perf_counter()
    frame, rows = read_rows(dataset)
    train_end, validation_end, test_end = (int(end) for end in np.cumsum(rows))
    values = torch.tensor(frame.to_numpy(dtype="float32"))
    scaling = Scaling.from_series([values[:train_end]], robust=False)
    (scaled,) = scaling.apply([values])
    need = BASELINE_CONTEXT + horizon
    test = Windows([scaled[validation_end - BASELINE_CONTEXT : test_end]], need, horizon)
    target, seen = test.targets(horizon), validation_end + test.starts
    history, whole = frame.iloc[:validation_end], frame.iloc[:test_end]
    model, seconds = fit(history, rows, LongHorizon(dataset=dataset, horizon=horizon), seed)
    learns = model.stream_.linear.config.learns
    found = {"learning": forecast_rows(model, whole, seen, None, scaling)}
    config, state = model.stream_.linear.config, model.stream_
    model.stream_ = replace(state, linear=replace(state.linear, config=replace(config, learns=False)))
    found["streamed"] = forecast_rows(model, whole, seen, None, scaling) if learns else found["learning"]
    found["frozen"] = forecast_rows(model, whole, seen, model.look_back, scaling)
    part = rows[1] / (rows[0] + rows[1])
    ridge = TitansForecaster(
        horizon=horizon, learn=True, validation_fraction=part, max_epochs=1, steps_per_epoch=1, verbose=False
    ).fit(history)
    with ridge.network_.scaled_correction(0.0):
        found["online ridge"] = forecast_rows(ridge, whole, seen, None, scaling)
    data = TrainingWindows(
        Windows([scaled[:train_end]], need, horizon),
        Windows([scaled[train_end - BASELINE_CONTEXT : validation_end]], need, horizon),
        scaling,
    )
    rate, network = fit_dlinear(data, horizon, seed)
    found["DLinear"] = step_through(copy.deepcopy(network), test, horizon, 0.0)
    found["DLinear, gradient steps"] = step_through(network, test, horizon, rate)
    errors = {name: forecast - target for name, forecast in found.items()}
    record: dict[str, Any] = {
        "seed": seed,
        "learns": learns,
        "half_life": config.half_life,
        "rate": rate,
        "fit_seconds": round(seconds, 1),
        "all_seconds": round(time.perf_counter() - started, 1),
        "mae": {name: float(np.abs(error).mean()) for name, error in errors.items()},
        "mse": {name: float((error**2).mean()) for name, error in errors.items()},
    }
    print(dataset, horizon, {n: round(v, 4) for n, v in record["mae"].items()}, learns, file=sys.stderr, flush=True)
    return record


def fit_dlinear(data: Any, horizon: int, seed: int) -> "tuple[float, nn.Module]":
    """Return DLinear, trained, and the rate of its gradient steps that validates best."""
    import numpy as np

    from titans_seq.domains.timeseries.baselines import DLinear
    from titans_seq.domains.timeseries.windowed import fit_network
    from titans_seq.training import TrainingConfig, temporary_seed

    with temporary_seed(seed):
        network = DLinear(BASELINE_CONTEXT, horizon)
    fit_network(network, data, horizon, TrainingConfig(random_state=seed, max_epochs=6, verbose=False))
    target = data.validation.targets(horizon)

    def error(rate: float) -> float:
        return float(np.abs(step_through(copy.deepcopy(network), data.validation, horizon, rate) - target).mean())

    return min(RATES, key=error), network


def step_through(network: "nn.Module", windows: "Windows", horizon: int, rate: float) -> "NDArray[np.float32]":
    """Return forecasts (W, C, H) of windows one after the other, with gradient steps on what is known by then."""
    import numpy as np
    import torch

    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.0)
    found, known = [], []
    for batch in windows.loader(EVERY):
        with torch.no_grad():
            found.append(network(batch[..., :-horizon]).numpy())
        known.append(batch)
        late = math.ceil(horizon / EVERY) + 1  # batches until the last window's last value has come
        if rate and len(known) > late:
            past = known[-1 - late]
            loss = (network(past[..., :-horizon]) - past[..., -horizon:]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            known[-1 - late] = past[:0]
    return np.concatenate(found)


def describe_figures(result: dict[str, Any]) -> list[Figure]:
    """Return the figures of a result for benchmarks/README.md."""
    rows = []
    for row in result["settings"]:
        cells = {
            name: format_spread(*mean_and_spread(run["mae"][name] for run in row["runs"]), 4)
            for name in row["runs"][0]["mae"]
        }
        what = f"learning online, {row['dataset']}, {row['horizon']} ahead, test MAE, {len(row['runs'])} seeds"
        own = ", ".join(f"{name} {cells[name]}" for name in WAYS)
        rows.append(Figure(what, own, ", ".join(f"{name} {cells[name]}" for name in PEERS)))
    return rows
