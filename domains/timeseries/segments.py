"""Segments of streams for training and validation, and the loss of the forecasts made all along them.

A batch is a tensor of places, (B, 2 + 2 N): series, channel, the steps seen at each token, and the gaps before them.

Axes: B streams, N tokens, M of them that forecast, S series, C channels, H horizon, Q quantile levels.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from titans_seq.domains.timeseries.losses import pinball
from titans_seq.domains.timeseries.network import ForecastNetwork
from titans_seq.domains.timeseries.reading import Places, Reader, Reading
from titans_seq.domains.timeseries.tokens import Table

TOKENS = 64
"""Tokens of a training segment at the most."""
FORECASTS = 2**18
"""Steps forecast in a training batch at the most: beyond, not every token forecasts."""
SHARES = (0.0, 0.5, 1.0)
"""Of what the network adds to the middle, of which one is kept."""
VALIDATION_TOKENS, VALIDATION_FORECASTS = 2**14, 2**21
"""Tokens of the validation, and steps forecast in it, at the most."""


def segment_tokens(cuts: Tensor, patch: int) -> int:
    """Return the tokens of a segment: as many as half of the longest series has."""
    return max(2, min(TOKENS, int(cuts.max()) // (2 * patch)))


class RandomSegments(IterableDataset[Tensor]):
    """Segments from anywhere in the training parts; other ones in each pass.

    In every second one the tokens stand as far apart as they are long, as in a stream; in the others they overlap by
    chance: a forecast between two tokens of a stream reads one that does.

    Args:
        cuts: (S,) steps of each series that train.
        channels: of each series.
        count: batches of a pass.
    """

    def __init__(self, cuts: Tensor, channels: int, patch: int, batch: int, count: int, seed: int) -> None:
        super().__init__()
        self.cuts, self.channels, self.patch, self.batch, self.count = cuts, channels, patch, batch, count
        self.tokens = segment_tokens(cuts, patch)
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Tensor]:
        for _ in range(self.count):
            series = torch.multinomial(self.cuts.double(), self.batch, replacement=True, generator=self.generator)
            channel = torch.randint(self.channels, (self.batch,), generator=self.generator)
            shape = (self.batch, self.tokens)
            gaps = torch.randint(1, self.patch + 1, shape, generator=self.generator)
            gaps[::2] = self.patch
            length = gaps[:, 1:].sum(1)
            room = (self.cuts[series] - length - self.patch).clamp_min(1)
            first = self.patch + (torch.rand(self.batch, generator=self.generator) * room).long()
            ends = first.unsqueeze(1) + gaps.cumsum(1) - gaps[:, :1]
            ends = torch.minimum(ends, self.cuts[series].unsqueeze(1))
            yield torch.cat([torch.stack([series, channel], 1), ends, gaps], 1)


def validation_segments(cuts: Tensor, lengths: Tensor, channels: int, patch: int, horizon: int) -> list[Tensor]:
    """Return segments of all channels, one after the other, whose second halves cover the validation parts.

    Where that is too much, segments are left out evenly; where it is little, there are more that begin in between.
    """
    tokens = segment_tokens(cuts, patch)
    half = max(1, tokens // 2)
    places = list(enumerate(zip(cuts.tolist(), lengths.tolist(), strict=True)))
    starts = [(series, at) for series, (cut, length) in places for at in range(cut, length, half * patch)]
    most = min(VALIDATION_TOKENS // (channels * 2 * half), VALIDATION_FORECASTS // (channels * half * horizon))
    shifts = torch.arange(patch)[:: max(1, -(-patch * len(starts) // max(1, most)))].tolist()
    starts = [(series, at + s) for s in shifts for series, at in starts if at + s < int(lengths[series])]
    chosen = torch.linspace(0, len(starts) - 1, max(1, min(most, len(starts)))).round().long().unique().tolist()
    rows = []
    for series, at in (starts[i] for i in chosen):
        ends = at + patch * torch.arange(-half, half)
        ends = ends.clamp(min(patch, at), int(lengths[series]) - 1)
        gaps = torch.full_like(ends, patch)
        rows += [torch.cat([torch.tensor([series, c]), ends, gaps]) for c in range(channels)]
    size = max(1, 64 // channels) * channels
    return list(torch.stack(rows).split(size))


class SegmentLoss:
    """Mean pinball loss of the forecasts at all tokens of segments, for `titans_seq.training.train`.

    In training, errors count in between their size and their size against the spread of the look-back, and so many
    tokens forecast as there is time for. In validation, the second half of each segment counts, by the size of the
    errors, in units of the series' scale.

    Args:
        weights, parts: of the linear memories that have not seen what they forecast; see `trial.Choice`.
    """

    def __init__(self, reader: Reader, table: Table, weights: Tensor, parts: Tensor, cuts: Tensor) -> None:
        self.reader, self.table, self.weights, self.parts, self.cuts = reader, table, weights, parts, cuts
        self.generator = torch.Generator().manual_seed(0)

    def read(self, batch: Tensor, at: Tensor) -> tuple[Reading, Tensor, Tensor]:
        """Return what the network reads at a batch of places, and targets (B, M, H) of some tokens with their steps.

        Args:
            at: (M,) places of the tokens that forecast.
        """
        ends, gaps = batch[:, 2:].chunk(2, 1)
        places = Places(batch[:, 0], batch[:, 1], ends, gaps)
        last = self.parts.shape[1] - 2
        sets = (torch.searchsorted(self.parts[places.series], ends.contiguous(), right=True) - 1).clamp(0, last)
        reading = self.reader.read(self.table, places, self.weights, sets, at)
        target = self.table.take(places.series, places.channel, ends[:, at], 0, self.table.horizon)
        return reading, target, ends[:, at].unsqueeze(-1) + torch.arange(1, self.table.horizon + 1)

    def __call__(self, network: nn.Module, batch: Tensor) -> Tensor:
        assert isinstance(network, ForecastNetwork)
        batch, at = batch.cpu(), second_half(batch)
        if network.training:
            count = batch.shape[1] // 2 - 1
            most = max(1, FORECASTS // (len(batch) * self.table.horizon))
            at = torch.randperm(count, generator=self.generator)[:most].sort().values
        reading, target, steps = self.read(batch, at)
        if network.training:
            target = target.masked_fill(steps > self.cuts[batch[:, 0]].view(-1, 1, 1), torch.nan)
        device = network.head.weight.device
        tokens, linear, scale = reading.to(device)
        offsets, _ = network(tokens, at=at.to(device))
        weight = scale.sqrt() if network.training else scale
        return pinball(offsets, (target.to(device) - linear) / scale, network.config.levels, weight)


def second_half(batch: Tensor) -> Tensor:
    """Return the places of the tokens of segments that count in validation."""
    count = batch.shape[1] // 2 - 1
    return torch.arange(count // 2 if count > 1 else 0, count)


def loader(batches: IterableDataset[Tensor] | list[Tensor]) -> DataLoader[Tensor]:
    """Return batches as `titans_seq.training.train` takes them."""
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


def shrink_correction(network: ForecastNetwork, loss: SegmentLoss, batches: list[Tensor], margin: float) -> Tensor:
    """Scale what the network adds to the middle by the share that validates best; return `forecast_errors` then.

    Args:
        margin: factor by which the error must be lower for the whole correction, its root for a half of it.
    """
    middle = network.config.levels.index(0.5)
    found = []
    for share in SHARES:
        with network.scaled_correction(share):
            errors = forecast_errors(network, loss, batches)
        found.append((float(errors[..., middle].abs().nanmean()) * margin**share, share, errors))
    _, share, errors = min(found, key=lambda option: option[0])
    network.scale_correction(share)
    return errors


def forecast_errors(network: ForecastNetwork, loss: SegmentLoss, batches: list[Tensor]) -> Tensor:
    """Return target minus forecast at each level, (W, C, H, Q), where the validation counts; NaN where missing."""
    network.eval()
    channels, found = loss.table.channels, []
    with torch.inference_mode():
        for batch in batches:
            at = second_half(batch)
            reading, target, _ = loss.read(batch, at)
            error = target.unsqueeze(-1) - reading.forecast(network(reading.tokens, at=at)[0])  # (V C, M, H, Q)
            found.append(error.unflatten(0, (-1, channels)).transpose(1, 2).flatten(0, 1))
    return torch.cat(found)
