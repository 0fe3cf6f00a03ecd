"""Sample paths of a forecast: what may come, with steps and channels that move together.

Axes: S series, N samples, C channels, H horizon, Q quantile levels, W held-back windows.
"""

import pandas as pd
import torch

from titans_seq.domains.timeseries.inputs import ForecastState
from titans_seq.domains.timeseries.intervals import need_calibration, to_layout
from titans_seq.domains.timeseries.levels import values_at
from titans_seq.validation import check_whole


def sample_frame(state: ForecastState, count: int, X: pd.DataFrame | None, seed: int) -> pd.DataFrame:
    """Return sample paths in the layout of `predict`; see `TitansForecaster.predict_samples`.

    Each path follows the ranks of the errors of one held-back window at all of its steps and channels (an empirical
    copula, the Schaake shuffle of Clark et al. 2004), from which the forecast's own quantiles make values.
    """
    check_whole(1, count=count)
    calibration, levels = need_calibration(state), state.config.levels
    generator = torch.Generator().manual_seed(seed)
    quantiles = state.scaled_quantiles(X)  # (S, C, H, Q)
    errors = calibration.errors[..., levels.index(0.5)]  # (W, C, H)
    whole = torch.isfinite(errors).float().mean((1, 2))
    errors = errors[whole >= whole.median()]  # the ends of some lie behind what is known
    windows = torch.randint(len(errors), (len(quantiles), count), generator=generator)
    if len(levels) == 1:
        drawn = errors[windows]
        values = quantiles[:, None, ..., 0] + drawn.where(torch.isfinite(drawn), 0.0)
    else:
        known = torch.isfinite(errors)
        ranks = errors.nan_to_num(torch.inf).argsort(0).argsort(0)
        drawn, shift = ranks[windows], torch.rand(len(quantiles), count, 1, 1, generator=generator)
        shares = (drawn + shift) / known.sum(0).clamp_min(1)
        free = torch.rand(shares.shape, generator=generator)
        shares = shares.where(known[windows], free).clamp(1e-4, 1 - 1e-4)
        values = values_at(quantiles.unsqueeze(1).expand(-1, count, -1, -1, -1), levels, shares)
    numbers = list(range(1, count + 1))
    return to_layout(state, values.permute(0, 2, 3, 1), [numbers], [f"sample-{n}" for n in numbers])
