"""Choose by the data what nobody set: the look-back, the patch, and the shape of the linear memory.

Every choice is made on the last part of each series, which does not train. Where it holds few horizons, all else must
be better than the last value or season by a margin: they are what a user would do without a model.

Axes: S series, C channels, W windows, L look-back, K key, H horizon, G groups.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from titans_seq.domains.timeseries.linear import LinearConfig, apply, measure
from titans_seq.domains.timeseries.tokens import Location, Table
from titans_seq.domains.timeseries.trial import (
    TRAIN_WINDOWS,
    VALIDATION_WINDOWS,
    Choice,
    Trial,
    look_back,
    spread_windows,
)

LONGEST = 1024
"""Look-back at the most."""
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, math.inf)
SHARINGS = (None, 1.0, 0.1)
HALF_LIVES = (None, 1.0, 0.3, 0.1)
"""In units of the training part."""
MARGIN = 0.1
"""By which all else must be better than the last value or season, in units of the error, where validation holds one
horizon; it falls with the root of their number."""
NUMBERS = 4e7
"""Numbers of one set of moments, and of all sets of weights times four, at the most; beyond, channels share one set."""


ACROSS_STEPS = (48, 16, 4)
"""Steps of all channels that a key may hold."""
ACROSS_PENALTIES = (1.0, 30.0)
ACROSS_WINDOWS = 4
"""Windows for each number that other channels add to a key."""
ACROSS_MARGIN = 0.03
"""By which their error must be lower."""


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
    validation = spread_windows(cuts, lengths, max(1, VALIDATION_WINDOWS // table.channels))
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
    train = spread_windows(torch.full_like(cuts, context), cuts - horizon + 1, max(1, TRAIN_WINDOWS // table.channels))
    z, start, scale, target = look_back(config, table, *validation)
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
    own = table.channels > 1 and _numbers(config, table.channels) <= NUMBERS
    trial, rules = Trial.measure(table, cuts, config, own), [config]
    solvable = config.penalty < math.inf and all(m.count.sum() > 0 for m in trial.train)
    if solvable:
        sharings = SHARINGS if own else (None,)
        rules = [replace(config, sharing=s, learns=bool(learn)) for s in sharings]
    error, rule, weights = trial.best(rules)
    if learn is not False and solvable:
        halves = [None if h is None else h * float(cuts[0]) for h in HALF_LIVES]
        learning = [replace(rule, half_life=h, learns=True) for h in halves]
        found = trial.best(learning)
        if learn or found[0] < error * 0.999:
            error, rule, weights = found
    across = _across(table, cuts, rule) if own and solvable else None
    if across is None:
        return trial.choice(rule, weights)
    wider = Trial.measure(table, cuts, across, own)
    penalties = [(own_share * across.penalty, p) for own_share in (1.0, 1 / 30) for p in ACROSS_PENALTIES]
    error_across, rule_across, weights_across = wider.best(
        [replace(across, penalty=own_penalty, across_penalty=p) for own_penalty, p in penalties]
    )
    if error_across < (1 - ACROSS_MARGIN) * error:
        return wider.choice(rule_across, weights_across)
    return trial.choice(rule, weights)


def _across(table: Table, cuts: Tensor, rule: LinearConfig) -> LinearConfig | None:
    """Return a rule whose keys hold as many steps of all channels as there are room and data for, or None."""
    windows = int((cuts - rule.context - rule.horizon).clamp_min(0).sum())
    for steps in ACROSS_STEPS:
        if steps > rule.context or ACROSS_WINDOWS * steps * table.channels > windows:
            continue
        found = replace(rule, across=steps, sharing=SHARINGS[-1] if rule.sharing is None else rule.sharing)
        if _numbers(found, table.channels) <= NUMBERS:
            return found
    return None


def _numbers(config: LinearConfig, channels: int) -> int:
    """Return the numbers of moments of each channel by itself."""
    size = config.key_size(channels) + 1
    return channels * size * (size + config.horizon)


def _mean_error(forecast: Tensor, target: Tensor) -> float:
    error = (forecast - target).abs().nanmean()
    return float(error) if bool(torch.isfinite(error)) else math.inf
