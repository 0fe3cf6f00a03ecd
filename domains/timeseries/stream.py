"""A forecaster in the middle of its series: tokens read so far, and forecasts at any step behind them.

A series is read in tokens of P steps, counted from its first. The token that ends with the last step known is read
without being kept, whether it is whole or overlaps with the one before; it is kept once another step follows. So a
forecast is a function of all that is known, whatever the pieces in which it came.

Axes: S series, C channels, B streams (S C), N tokens, K key, P patch, H horizon, Q quantile levels.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from titans_seq.backbone import BackboneState
from titans_seq.domains.timeseries.linear import LinearMemory, Moments, measure
from titans_seq.domains.timeseries.network import ForecastNetwork
from titans_seq.domains.timeseries.reading import Places, Reader
from titans_seq.domains.timeseries.tokens import Table

CHUNK = 8192
"""Tokens of all streams together that are read at a time."""


@dataclass(frozen=True)
class Stream:
    """What a forecaster knows of its series beside their last steps."""

    backbone: BackboneState | None
    """Of S C streams: all channels of the first series come first; None before the first token."""
    tokens: Tensor
    """(S,) long: tokens read of each series."""
    linear: LinearMemory
    written: int
    """Steps of a single series up to which the linear memory knows what followed; it matters if it learns."""
    weights: Tensor
    """(G, K + 1, H): what the linear memory forecasts by."""

    @classmethod
    def begin(cls, linear: LinearMemory, written: int, series: int) -> "Stream":
        """Return the state before the first step of `series` series; see the attributes."""
        weights = linear.weights()
        if not linear.config.learns:  # nothing will be added to the moments
            config = linear.config
            linear = LinearMemory(config, Moments.zeros(0, weights.shape[1] - 1, config.horizon))
        return cls(None, torch.zeros(series, dtype=torch.long), linear, written, weights)


@dataclass(frozen=True)
class Streamer:
    """Moves a stream on over a table of its series, and forecasts on the way."""

    network: ForecastNetwork
    reader: Reader
    table: Table
    offsets: Tensor
    """(S,) long: steps of each series before the table's first."""

    @property
    def every(self) -> int:
        """Return the steps after which a linear memory that learns is solved anew."""
        patch = self.reader.patch
        return patch * max(1, -(-self.table.horizon // (2 * patch)))

    def run(self, stream: Stream, cutoffs: Sequence[Tensor], until: Tensor) -> tuple[Stream, list[Tensor]]:
        """Return the stream at the last whole token before the step `until` of each series, and forecasts on the way.

        Args:
            cutoffs: per series, steps seen at each forecast, rising, behind the tokens read and at most `until`.
            until: (S,) steps seen at the end.

        Returns:
            The stream, and per series the forecasts (W, C, H, Q) in units of its scale.
        """
        self.network.eval()
        channels, patch = self.table.channels, self.reader.patch
        wanted = [set(own.tolist()) for own in cutoffs]
        found: list[dict[int, Tensor]] = [{} for _ in cutoffs]
        goal = torch.div(until - 1, patch, rounding_mode="floor").clamp_min(0)
        between = [sorted({(c - 1) // patch for c in own if c % patch}) for own in wanted]
        with torch.inference_mode():
            while True:
                stream = self._learn(stream)
                for series, end, values in self._peek(stream, wanted, found, until):
                    found[series][end] = values.clone()
                left = (goal - stream.tokens).clamp_min(0)
                if not bool(left.any()):
                    break
                count = min(self._run_length(stream, between, left), max(1, CHUNK // (len(left) * channels)))
                counts = left.clamp_max(count)
                ends = (stream.tokens.unsqueeze(1) + torch.arange(1, count + 1)) * patch  # (S, N)
                chosen = [
                    (series, i)
                    for series, own in enumerate(wanted)
                    for i in range(int(counts[series]))
                    if int(ends[series, i]) in own
                ]
                at = torch.tensor(sorted({i for _, i in chosen}), dtype=torch.long)
                stream, values = self._read(stream, counts, at)
                for series, i in chosen:
                    place = int(torch.searchsorted(at, i))
                    found[series][int(ends[series, i])] = values[series, :, place].clone()
        shape = (0, channels, self.table.horizon, len(self.network.config.levels))
        empty = torch.zeros(shape)
        return stream, [
            torch.stack([own[int(c)] for c in at]) if len(at) else empty for own, at in zip(found, cutoffs, strict=True)
        ]

    def _run_length(self, stream: Stream, between: list[list[int]], left: Tensor) -> int:
        """Return how many tokens can be read before a forecast between two of them, or before something is learned."""
        count = int(left.max())
        for read, own in zip(stream.tokens.tolist(), between, strict=True):
            place = bisect_right(own, read)
            count = min(count, own[place] - read) if place < len(own) else count
        if stream.linear.config.learns:
            count = min(count, self._due(stream) // self.reader.patch - int(stream.tokens[0]))
        return max(1, count)

    def _due(self, stream: Stream) -> int:
        """Return the step at which the linear memory is taught next."""
        return (stream.written // self.every + 1) * self.every

    def _learn(self, stream: Stream) -> Stream:
        """Teach the linear memory what followed earlier steps, as far as tokens were read and it is due."""
        config = stream.linear.config
        if not config.learns:
            return stream
        while (due := self._due(stream)) <= int(stream.tokens[0]) * self.reader.patch:
            ends = torch.arange(max(stream.written + 1, config.context), due + 1) - config.horizon
            ends = ends[ends - config.context >= self.offsets[0]] - self.offsets[0]
            series = torch.zeros(len(ends), dtype=torch.long)
            moments = measure(config, self.table, series, ends, config.sharing is None)
            linear = stream.linear.written(moments, due - stream.written)
            stream = replace(stream, linear=linear, written=due, weights=linear.weights())
        return stream

    def _places(self, tokens: Tensor, count: int) -> Places:
        """Return the next `count` whole tokens of every stream."""
        series, channel = self.table.streams
        ends = (tokens.unsqueeze(1) + torch.arange(1, count + 1)) * self.reader.patch
        ends = (ends - self.offsets.unsqueeze(1)).clamp_max(self.table.lengths.unsqueeze(1))
        return Places(series, channel, ends[series], torch.full_like(ends, self.reader.patch)[series])

    def _read(self, stream: Stream, counts: Tensor, at: Tensor) -> tuple[Stream, Tensor]:
        """Keep the next tokens, `counts` (S,) of each series; return forecasts of those `at` (M,), (S, C, M, H, Q)."""
        count = int(counts.max())
        places = self._places(stream.tokens, count)
        reading = self.reader.read(self.table, places, stream.weights, at=at)
        mask = None
        if bool((counts < count).any()):
            mask = torch.arange(count) < counts[places.series].unsqueeze(1)
        offsets, state = self.network(reading.tokens, stream.backbone, mask, at)
        values = reading.forecast(offsets).unflatten(0, (-1, self.table.channels))
        return replace(stream, backbone=state, tokens=stream.tokens + counts), values

    def _peek(
        self, stream: Stream, wanted: list[set[int]], found: list[dict[int, Tensor]], until: Tensor
    ) -> Iterator[tuple[int, int, Tensor]]:
        """Yield series, step and forecast (C, H, Q) at the steps wanted before the next whole token, or at the end."""
        patch, channels = self.reader.patch, self.table.channels
        chosen = []
        for number, own in enumerate(wanted):
            read, last = int(stream.tokens[number]) * patch, int(until[number])
            here = [e for e in range(read + 1, min(read + patch, last) + 1) if e in own and e not in found[number]]
            chosen += [(number, e, e - read) for e in here if e - read < patch or e == last]
        size = max(1, CHUNK // channels)
        for first in range(0, len(chosen), size):
            part = torch.tensor(chosen[first : first + size]).repeat_interleave(channels, 0)
            series, ends, gaps = part[:, 0], part[:, 1:2] - self.offsets[part[:, 0]].unsqueeze(1), part[:, 2:]
            channel = torch.arange(channels).repeat(len(part) // channels)
            reading = self.reader.read(self.table, Places(series, channel, ends, gaps), stream.weights)
            state = None if stream.backbone is None else stream.backbone.select(series * channels + channel)
            offsets, _ = self.network(reading.tokens, state)
            values = reading.forecast(offsets)[:, 0].unflatten(0, (-1, channels))
            yield from ((s, e, v) for (s, e, _), v in zip(chosen[first : first + size], values, strict=True))
