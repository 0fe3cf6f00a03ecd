"""Networks of several models and seeds, judged by the share of their answers that is right at each length."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.ledger import measure_models
from titans_seq.pipelines.output import plain_table
from titans_seq.spread import format_spread, mean_and_spread

PRICE = {"gate_cost": 0.8}
LINEAR = {"memory_depth": 1, "momentum": False, "clip": None, "online": True}
SPARSE_HEAD = {"memory_activation": "sparse", "memory_expansion": 4, "heads": 1, **PRICE}
MODELS: dict[str, dict[str, Any]] = {
    "lmm": PRICE,
    "mac": {"variant": "mac", **PRICE},
    "mag": {"variant": "mag", **PRICE},
    "mal": {"variant": "mal", **PRICE},
    "mag, sparse memory": {"variant": "mag", "memory_activation": "sparse", "memory_expansion": 4, **PRICE},
    "lmm, one sparse head": SPARSE_HEAD,
    "lmm, one sparse head, gates in context": {"gate_context": True, **SPARSE_HEAD},
    "mag, gates in context": {"variant": "mag", "gate_context": True, **PRICE},
    "mag, gates free": {"variant": "mag"},
    "mag, linear memory": {"variant": "mag", **LINEAR, **PRICE},
    "windowed attention": {"variant": "attention"},
}
"""Changed fields of `BackboneConfig` and `TrainingConfig`, where there is one thing to keep; the linear memory is
the gated delta rule."""

Lengths = Mapping[str, Mapping[str, float]]
"""Mean and spread by length."""


class Titles(NamedTuple):
    """What a table and a picture say."""

    picture: str
    table: str
    unit: str
    """Of the lengths."""
    chance: float
    """Share that is right by chance."""


def measure(options: Any, name: str, models: Sequence[str], key: str, titles: Titles) -> dict[str, Any]:
    """Train and test all models and seeds; write and show the result, and return it.

    Args:
        options: of the benchmark, with `models`, `seeds`, `seed` and a method `once(model, seed)` that returns a row.
        name: of the result's files.
        models: all that there are, in the order of tables.
        key: what a row of `once` calls its shares by length.
    """

    def line(row: dict[str, Any]) -> str:
        return ", ".join(f"{n}: {share:.0%}" for n, share in row[key].items()) + f" ({row['seconds']:.0f} s)"

    ledger = measure_models(options, name, options.models, options.once, line, models)
    result = ledger.finish(summary=summarize(ledger.rows, key))
    if options.output is not None:
        from titans_seq.domains.language.plots import plot_lengths

        points = {
            model: {int(n): (of["mean"], of["spread"]) for n, of in lengths.items()}
            for model, lengths in result["summary"].items()
        }
        path = options.output / f"{name}-{result['date']}.png"
        plot_lengths(path, points, titles.chance, titles.picture, titles.unit)
    if not options.json:
        cells = {
            model: {f"{int(n):,}": format_spread(100 * of["mean"], 100 * of["spread"], 1) for n, of in per.items()}
            for model, per in result["summary"].items()
        }
        plain_table(f"{titles.table}, mean and standard deviation over seeds", cells)
    return result


def summarize(rows: Sequence[dict[str, Any]], key: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return, by model and length, mean and standard deviation of the share that was right."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row[key] for row in rows if row["model"] == model]
        found[model] = {
            n: dict(zip(("mean", "spread"), mean_and_spread(of[n] for of in own), strict=True)) for n in own[0]
        }
    return found


def list_lengths(found: Mapping[str, Lengths]) -> str:
    """Return the lengths of a summary, for a figure."""
    return " / ".join(f"{int(n):,}" for n in next(iter(found.values())))


def list_shares(found: Mapping[str, Lengths]) -> tuple[str, str]:
    """Return the percentages of memories, and those of attention, for a figure."""

    def line(attention: bool) -> str:
        own = {name: of for name, of in found.items() if name.endswith("attention") == attention}
        shares = {name: " / ".join(f"{100 * share['mean']:.0f}" for share in of.values()) for name, of in own.items()}
        return "; ".join(f"{name} {percent}" for name, percent in shares.items())

    return line(False), line(True)
