"""Choose by the data what nobody set: the look-back, the patch, and the shape of the linear memory.

Every choice is made on the last part of each series, which does not train. Where it holds few horizons, all else must
be better than the last value or season by a margin: they are what a user would do without a model.

Axes: S series, C channels, W windows, L look-back, H horizon, G groups.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from titans_seq.domains.timeseries.linear import LinearConfig, LinearMemory, Moments, apply, measure, solve
from titans_seq.domains.timeseries.tokens import Location, Table, normalise, start_of_forecast

LONGEST = 1024
"""Look-back at the most."""
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, math.inf)
SHARINGS = (None, 1.0, 0.1)
HALF_LIVES = (None, 1.0, 0.3, 0.1)
"""In units of the training part."""
TRAIN_PARTS, VALIDATION_PARTS = 4, 3
"""Parts of a history: each training part is forecast by what the others taught, each validation part by all before."""
TRAIN_WINDOWS, VALIDATION_WINDOWS = 20_000, 3_000
OPERATIONS = 1e11
"""Multiplications that measuring a whole history may take; beyond, windows are left out evenly."""
MARGIN = 0.1
"""By which all else must be better than the last value or season, in units of the error, where validation holds one
horizon; it falls with the root of their number."""
NUMBERS = 4e7
"""Numbers of one set of moments, and of all sets of weights times four, at the most; beyond, channels share one set."""


@dataclass(frozen=True)
class Choice:
    """A linear memory that has read all, and those that have read a part."""

    memory: LinearMemory
    weights: Tensor
    """(parts G, L + 1, H): of the memories that forecast each part, none of which has seen it."""
    parts: Tensor
    """(S, parts + 1): where they begin and end, in steps."""


def split_lengths(lengths: Sequence[int], validation_fraction: float, horizon: int) -> Tensor:
    """Return how many steps of each series train, (S,); the rest, a horizon at least if there is room, validates."""
    tails = [min(max(horizon, round(validation_fraction * n)), n // 2) for n in lengths]
    return torch.tensor([n - tail for n, tail in zip(lengths, tails, strict=True)])


def learning_margin(cuts: Tensor, lengths: Tensor, horizon: int) -> float:
    """Return by what factor the error without learning may be higher before learning is believed."""
    horizons = float((lengths - cuts).sum()) / horizon
    return 1 + MARGIN / math.sqrt(max(horizons, 1.0))


def candidate_contexts(longest: int, season: int, horizon: int) -> list[int]:
    """Return look-backs worth trying, rising: fractions and multiples of the season and of the horizon."""
    most = min(LONGEST, max(2, longest // 4, min(2 * season, longest // 2 - horizon)))
    wanted = {season * k for k in (1, 2, 4, 7, 14)} | {horizon, 3 * horizon, 4, 16, 64, most}
    found: list[int] = []
    for context in sorted(c for c in wanted if 2 <= c <= most):
        if not found or context >= 1.6 * found[-1]:
            found.append(context)
    return found[-5:] if longest > 2000 else found


def default_patch(longest: int, season: int, context: int) -> int:
    """Return the steps of a token: the largest part of a season up to 16, with at least 32 tokens in a history."""
    most = max(1, min(16, longest // 32, context))
    return max(p for p in range(1, most + 1) if season % p == 0) if season > 1 else max(1, min(most, 4))


def choose_linear(
    series: Sequence[Tensor], cuts: Tensor, horizon: int, season: int, contexts: Sequence[int], learn: bool | None
) -> Choice:
    """Return the linear memory that forecasts the validation parts best.

    Args:
        series: (T, C) per series, scaled.
        cuts: (S,) steps of each that train.
        contexts: look-backs to try.
        learn: whether the memory goes on learning, and forgets, in later rows, for a single series only; None: if that
            is better.
    """
    table = Table(series, max(contexts), horizon)
    lengths = table.lengths
    validation = _spread_windows(cuts, lengths, max(1, VALIDATION_WINDOWS // table.channels))
    found = [
        option
        for context in contexts
        for location in _locations(context, season)
        for option in _try_penalties(table, cuts, validation, horizon, season, context, location)
    ]
    margin = learning_margin(cuts, lengths, horizon)
    _, config = min(found, key=lambda option: option[0] * (1 if option[1].is_naive else margin))
    return _choose_rules(table, cuts, config, learn)


def _locations(context: int, season: int) -> list[Location]:
    return ["mean", "last", "season"] if 1 < season <= context else ["mean", "last"]


def _try_penalties(
    table: Table,
    cuts: Tensor,
    validation: tuple[Tensor, Tensor],
    horizon: int,
    season: int,
    context: int,
    location: Location,
) -> list[tuple[float, LinearConfig]]:
    """Return the validation error of each penalty, for weights that all channels share."""
    config = LinearConfig(context, horizon, location, season if location == "season" else 1, 1.0, None, None, False)
    train = _spread_windows(torch.full_like(cuts, context), cuts - horizon + 1, max(1, TRAIN_WINDOWS // table.channels))
    z, start, scale, target = _look_back(config, table, *validation)
    moments = measure(config, table, *train, pool=True)
    values, vectors = torch.linalg.eigh(moments.gram[0].double())
    rotated, count = vectors.mT @ moments.cross[0].double(), float(moments.count)
    found = []
    for penalty in PENALTIES:
        weights = torch.zeros_like(moments.cross)
        if penalty < math.inf:
            if not count:
                continue
            shrunk = rotated / (values.clamp_min(0) + penalty * count).unsqueeze(1)
            weights = (vectors @ shrunk).float().unsqueeze(0)
        forecast = start + scale * apply(weights, torch.zeros(len(z), dtype=torch.long), z)
        found.append((_mean_error(forecast, target), replace(config, penalty=penalty)))
    return found


def _choose_rules(table: Table, cuts: Tensor, config: LinearConfig, learn: bool | None) -> Choice:
    """Return the memory with weights per channel or shared, that learns on and forgets or not, whichever is best."""
    channels, lengths = table.channels, table.lengths
    own = channels > 1 and channels * (config.context + 1) * (config.context + 1 + config.horizon) <= NUMBERS
    parts = torch.stack(
        [
            *(cuts * i // TRAIN_PARTS for i in range(TRAIN_PARTS)),
            *(cuts + (lengths - cuts) * i // VALIDATION_PARTS for i in range(VALIDATION_PARTS + 1)),
        ],
        1,
    )
    measured = []
    cost = float(lengths.sum()) * channels * config.context * (config.context + config.horizon)
    share = min(1.0, OPERATIONS / max(cost, 1.0))
    for begin, end in zip(parts.T, parts.T[1:], strict=False):
        low, high = (begin - config.horizon + 1).clamp_min(config.context), end - config.horizon + 1
        total = int((high - low).clamp_min(0).sum())
        windows = _spread_windows(low, high, max(1, round(share * total)))
        moments = measure(config, table, *windows, pool=not own)
        measured.append(moments.scaled(total / max(1, len(windows[0]))))
    train = measured[:TRAIN_PARTS]
    span = float(cuts.float().mean()) / TRAIN_PARTS

    def before(part: int, rule: LinearConfig) -> Moments:
        """Return what a memory knows when a part begins."""
        known = LinearMemory(rule, Moments.zeros(len(train[0].count), config.context, config.horizon))
        for i, moments in enumerate(measured[:part]):
            tail = span if i < TRAIN_PARTS else float((lengths - cuts).float().mean()) / VALIDATION_PARTS
            known = known.written(moments, round(tail))
        return known.moments

    rules = [config]
    if config.penalty < math.inf and all(m.count.sum() > 0 for m in train):
        sharings = SHARINGS if own else (None,)
        halves = [None if h is None else h * float(cuts[0]) for h in HALF_LIVES]
        rules = [] if learn else [replace(config, sharing=s) for s in sharings]
        if learn is not False:
            rules += [replace(config, sharing=s, half_life=h, learns=True) for s in sharings for h in halves]
    checks = []
    for part in range(TRAIN_PARTS, TRAIN_PARTS + VALIDATION_PARTS):
        windows = _spread_windows(parts[:, part], parts[:, part + 1], VALIDATION_WINDOWS // channels)
        checks.append(_look_back(config, table, *windows))
    groups = [torch.arange(channels).repeat(len(z) // channels) for z, *_ in checks]

    def forecasts(rule: LinearConfig) -> list[Tensor]:
        """Return the weights by which each validation part is forecast."""
        first = solve(rule, before(TRAIN_PARTS, rule))
        if not rule.learns:
            return [first] * VALIDATION_PARTS
        rest = range(TRAIN_PARTS + 1, TRAIN_PARTS + VALIDATION_PARTS)
        return [first, *(solve(rule, before(part, rule)) for part in rest)]

    best: tuple[float, LinearConfig, list[Tensor]] | None = None
    for rule in rules:
        weights = forecasts(rule)
        errors = []
        for own_weights, group, (z, start, scale, target) in zip(weights, groups, checks, strict=True):
            errors.append((start + scale * apply(own_weights, group, z) - target).abs().flatten())
        error = float(torch.cat(errors).nanmean())
        if best is None or error < best[0] * 0.999:
            best = error, rule, weights
    assert best is not None
    _, rule, validation_weights = best
    whole = train[0]
    for moments in train[1:]:
        whole = whole + moments
    rest = [
        solve(rule, Moments(whole.gram - m.gram, whole.cross - m.cross, whole.count - m.count))
        if bool((whole.count > m.count).all())
        else solve(rule, whole)
        for m in train
    ]
    memory = LinearMemory(rule, before(len(measured), rule))
    if rule.sharing is None and own:
        memory = replace(memory, moments=memory.moments.pooled())
    return Choice(memory, torch.cat([*rest, *validation_weights]), parts)


def _spread_windows(low: Tensor, high: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return series and steps seen (W,) of at most `count` windows, evenly from low <= steps < high of each series."""
    sizes = (high - low).clamp_min(0)
    total = int(sizes.sum())
    index = torch.linspace(0, total - 1, min(count, total)).round().long() if total else torch.zeros(0).long()
    index = torch.arange(total) if total <= count else index
    ends = sizes.cumsum(0)
    series = torch.searchsorted(ends, index, right=True)
    return series, index - (ends - sizes)[series] + low[series]


def _look_back(
    config: LinearConfig, table: Table, series: Tensor, ends: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return z (W C, L), start, scale and target (W C, H) of all channels at these places."""
    channel = torch.arange(table.channels).repeat(len(series))
    where = series.repeat_interleave(table.channels), channel, ends.repeat_interleave(table.channels).unsqueeze(1)
    window = table.take(*where, config.context, 0, filled=True).squeeze(1)
    target = table.take(*where, 0, config.horizon).squeeze(1)
    z, centre, scale = normalise(window, config.location)
    return z, start_of_forecast(window, config.location, centre, config.season, config.horizon), scale, target


def _mean_error(forecast: Tensor, target: Tensor) -> float:
    error = (forecast - target).abs().nanmean()
    return float(error) if bool(torch.isfinite(error)) else math.inf
