"""Parts of histories on which linear memories are judged: each is forecast by what the others, or all before, taught.

Axes: S series, C channels, W windows, L look-back, K key, H horizon, G groups.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, pairwise

import torch
from torch import Tensor

from titans_seq.domains.timeseries.linear import LinearConfig, LinearMemory, Moments, apply, measure, solve
from titans_seq.domains.timeseries.tokens import Table, normalise, start_of_forecast

TRAIN_PARTS, VALIDATION_PARTS = 4, 3
"""Parts of a history: each training part is forecast by what the others taught, each validation part by all before."""
TRAIN_WINDOWS, VALIDATION_WINDOWS = 20_000, 3_000
OPERATIONS = 1e11
"""Multiplications that measuring a whole history may take; beyond, windows are left out evenly."""


@dataclass(frozen=True)
class Choice:
    """A linear memory that has read all, and those that have read a part."""

    memory: LinearMemory
    weights: Tensor
    """(parts G, K + 1, H): of the memories that forecast each part, none of which has seen it."""
    parts: Tensor
    """(S, parts + 1): where they begin and end, in steps."""


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
            windows = spread_windows(low, high, max(1, round(share * total)))
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
        """Return what `look_back` returns of each part that validates."""
        windows = [
            spread_windows(begin, end, VALIDATION_WINDOWS // self.table.channels)
            for begin, end in pairwise(self.parts.T[TRAIN_PARTS:])
        ]
        return [look_back(self.config, self.table, *places) for places in windows]

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


def spread_windows(low: Tensor, high: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return series and steps seen (W,) of at most `count` windows, evenly from low <= steps < high of each series."""
    sizes = (high - low).clamp_min(0)
    total = int(sizes.sum())
    index = torch.linspace(0, total - 1, min(count, total)).round().long() if total else torch.zeros(0).long()
    index = torch.arange(total) if total <= count else index
    ends = sizes.cumsum(0)
    series = torch.searchsorted(ends, index, right=True)
    return series, index - (ends - sizes)[series] + low[series]


def look_back(
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
