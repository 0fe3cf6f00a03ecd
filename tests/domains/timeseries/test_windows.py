"""Windows and splits."""

import pytest
import torch

from titans_seq.domains.timeseries.prepare import Scaling, prepare
from titans_seq.domains.timeseries.windows import Windows
from titans_seq.errors import DataError


def ramp(start, rows):
    return torch.arange(start, start + rows, dtype=torch.float32).unsqueeze(1)


def test_windows_stay_within_their_series():
    windows = Windows([ramp(0, 6), ramp(100, 3), ramp(200, 5)], 4, 2)
    got = [w[0].tolist() for w in windows.__getitems__(list(range(len(windows))))]
    assert got == [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [200, 201, 202, 203], [201, 202, 203, 204]]


def test_batches_hold_every_window_once_and_shuffle_by_seed():
    windows = Windows([ramp(0, 103)], 4, 2)
    plain = torch.cat(list(windows.loader(16)))
    assert plain.shape == (100, 1, 4)
    first, again, other = (torch.cat(list(windows.loader(16, shuffle=True, seed=s))) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first[:, 0, 0].sort().values, plain[:, 0, 0])


def test_windows_without_an_observed_value_are_left_out():
    values = ramp(0, 12)
    values[6:9] = torch.nan
    starts = Windows([values], 4, 2).starts.tolist()
    # context rows s, s+1 and target rows s+2, s+3 must each hold something
    expected = [s for s in range(9) if {s, s + 1} - {6, 7, 8} and {s + 2, s + 3} - {6, 7, 8}]
    assert starts == expected
    assert len(expected) < 9


def test_series_shorter_than_a_window():
    assert len(Windows([ramp(0, 3)], 4, 2)) == 0
    with pytest.raises(IndexError, match="no series is long enough"):
        Windows([ramp(0, 3)], 4, 2)[0]


def test_scaling_ignores_missing_values_and_constant_channels():
    values = torch.tensor([[1.0, 5.0], [3.0, 5.0], [torch.nan, 5.0]])
    scaling = Scaling.from_series([values])
    torch.testing.assert_close(scaling.mean, torch.tensor([[2.0, 5.0]]))
    torch.testing.assert_close(scaling.scale, torch.tensor([[1.0, 1.0]]))


def test_validation_lies_behind_training():
    scaling = Scaling.from_series([ramp(0, 80)])
    data = prepare([ramp(0, 100)], scaling, 10, 5, 0.2)
    last_trained = float((data.train[len(data.train) - 1][0, -1] * scaling.scale + scaling.mean).squeeze())
    first_judged = float((data.validation[0][0, -5] * scaling.scale + scaling.mean).squeeze())
    assert last_trained == pytest.approx(79)
    assert first_judged == pytest.approx(80)
    assert len(data.validation) == 20 - 5 + 1


def test_scaling_of_long_series_leaves_sentinels_out():
    values = torch.randn(5000, 1, generator=torch.Generator().manual_seed(0))
    values[:9] = -9999
    assert float(Scaling.from_series([values]).scale) == pytest.approx(1, abs=0.2)
    assert float(Scaling.from_series([values], robust=False).scale) > 100


def test_short_histories():
    scaling = Scaling.from_series([ramp(0, 14)])
    with pytest.raises(DataError, match=r"14 steps: context 10 \+ horizon 5 need at least 15"):
        prepare([ramp(0, 14)], scaling, 10, 5, 0.2)
    assert len(prepare([ramp(0, 17)], scaling, 10, 5, 0.2).train) == 3
