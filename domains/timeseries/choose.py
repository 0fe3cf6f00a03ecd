"""Choose by the data what nobody set: the look-back, the patch, and the shape of the linear memory.

Every choice is made on the last part of each series, which does not train. Where it holds few horizons, all else must
be better than the last value or season by a margin: they are what a user would do without a model.

Axes: S series, C channels, W windows, L look-back, K key, H horizon, G groups.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, pairwise

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


ACROSS_STEPS = (48, 16, 4)
"""Steps of all channels that a key may hold."""
ACROSS_PENALTIES = (1.0, 30.0)
ACROSS_WINDOWS = 4
"""Windows for each number that other channels add to a key."""
ACROSS_MARGIN = 0.03
"""By which their error must be lower."""


@dataclass(frozen=True)
class Choice:
    """A linear memory that has read all, and those that have read a part."""

    memory: LinearMemory
    weights: Tensor
    """(parts G, K + 1, H): of the memories that forecast each part, none of which has seen it."""
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


@dataclass(frozen=True)
class Trial:
    """Measured parts of histories, on which rules are judged."""

    table: Table
    cuts: Tensor
    parts: Tensor
    measured: list[Moments]
    """Of each part."""
    config: LinearConfig
    """Whose keys they are of."""

    @classmethod
    def measure(cls, table: Table, cuts: Tensor, config: LinearConfig, own: bool) -> "Trial":
        """Measure every part, each channel by itself if `own`."""
        channels, lengths = table.channels, table.lengths
        parts = torch.stack(
            [
                *(cuts * i // TRAIN_PARTS for i in range(TRAIN_PARTS)),
                *(cuts + (lengths - cuts) * i // VALIDATION_PARTS for i in range(VALIDATION_PARTS + 1)),
            ],
            1,
        )
        measured, size = [], config.key_size(channels)
        cost = float(lengths.sum()) * channels * size * (size + config.horizon)
        share = min(1.0, OPERATIONS / max(cost, 1.0))
        for begin, end in zip(parts.T, parts.T[1:], strict=False):
            low, high = (begin - config.horizon + 1).clamp_min(config.context), end - config.horizon + 1
            total = int((high - low).clamp_min(0).sum())
            windows = _spread_windows(low, high, max(1, round(share * total)))
            moments = measure(config, table, *windows, pool=not own)
            measured.append(moments.scaled(total / max(1, len(windows[0]))))
        return cls(table, cuts, parts, measured, config)

    @property
    def train(self) -> list[Moments]:
        """Return the moments of the parts that train."""
        return self.measured[:TRAIN_PARTS]

    def walk(self, half_life: float | None) -> Iterator[Moments]:
        """Yield what a memory knows when each part begins, and when the last one ends."""
        groups, size = len(self.measured[0].count), self.config.key_size(self.table.channels)
        rule = replace(self.config, half_life=half_life)
        memory = LinearMemory(rule, Moments.zeros(groups, size, rule.horizon))
        rest = float((self.table.lengths - self.cuts).float().mean())
        yield memory.moments
        for i, moments in enumerate(self.measured):
            steps = float(self.cuts.float().mean()) / TRAIN_PARTS if i < TRAIN_PARTS else rest / VALIDATION_PARTS
            memory = memory.written(moments, round(steps))
            yield memory.moments

    @cached_property
    def checks(self) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Return what `_look_back` returns of each part that validates."""
        windows = [
            _spread_windows(begin, end, VALIDATION_WINDOWS // self.table.channels)
            for begin, end in pairwise(self.parts.T[TRAIN_PARTS:])
        ]
        return [_look_back(self.config, self.table, *places) for places in windows]

    def best(self, rules: list[LinearConfig]) -> tuple[float, LinearConfig, list[Tensor]]:
        """Return the validation error of the best rule, the rule, and the weights that forecast each part.

        Args:
            rules: that differ in anything but their keys.
        """
        channels = self.table.channels
        weights: dict[LinearConfig, list[Tensor]] = {rule: [] for rule in rules}
        for half_life in dict.fromkeys(rule.half_life for rule in rules):
            own = [rule for rule in rules if rule.half_life == half_life]
            for moments in islice(self.walk(half_life), TRAIN_PARTS, TRAIN_PARTS + VALIDATION_PARTS):
                for rule in own:
                    known = weights[rule]
                    known.append(solve(rule, moments) if rule.learns or not known else known[0])
        errors: dict[LinearConfig, list[Tensor]] = {rule: [] for rule in rules}
        for place, (keys, start, scale, target) in enumerate(self.checks):
            group = torch.arange(channels).repeat(len(keys) // channels)
            for rule in rules:
                forecast = start + scale * apply(weights[rule][place], group, keys)
                errors[rule].append((forecast - target).abs().flatten())
        means = {rule: float(torch.cat(found).nanmean()) for rule, found in errors.items()}
        best = rules[0]
        for rule in rules[1:]:
            best = rule if means[rule] < means[best] * 0.999 else best
        return means[best], best, weights[best]

    def choice(self, rule: LinearConfig, weights: list[Tensor]) -> Choice:
        """Return what a rule makes of all parts.

        Args:
            weights: that forecast the parts that validate.
        """
        whole = sum(self.train[1:], self.train[0])
        rest = [
            solve(rule, Moments(whole.gram - m.gram, whole.cross - m.cross, whole.count - m.count))
            if bool((whole.count > m.count).all())
            else solve(rule, whole)
            for m in self.train
        ]
        *_, moments = self.walk(rule.half_life)
        memory = LinearMemory(rule, moments)
        if rule.sharing is None and len(memory.moments.count) > 1:
            memory = replace(memory, moments=memory.moments.pooled())
        return Choice(memory, torch.cat([*rest, *weights]), self.parts)


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
    """Return keys (W C, K), start, scale and target (W C, H) of all channels at these places."""
    channel = torch.arange(table.channels).repeat(len(series))
    where = series.repeat_interleave(table.channels), channel, ends.repeat_interleave(table.channels).unsqueeze(1)
    window = table.take(*where, config.context, 0, filled=True).squeeze(1)
    target = table.take(*where, 0, config.horizon).squeeze(1)
    z, centre, scale = normalise(window, config.location)
    if config.across:
        z = config.keys(z.unsqueeze(1), scale.unsqueeze(1), table, where[0], where[2]).squeeze(1)
    return z, start_of_forecast(window, config.location, centre, config.season, config.horizon), scale, target


def _mean_error(forecast: Tensor, target: Tensor) -> float:
    error = (forecast - target).abs().nanmean()
    return float(error) if bool(torch.isfinite(error)) else math.inf
