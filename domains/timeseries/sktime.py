"""The forecaster as sktime knows them (extra `sktime`). Axes: T steps, C channels, H horizon."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone

try:
    from sktime.forecasting.base import BaseForecaster
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("sktime is not installed: pip install 'titans-seq[sktime]'") from error

from titans_seq.domains.timeseries.forecaster import TitansForecaster
from titans_seq.domains.timeseries.levels import values_at
from titans_seq.domains.timeseries.panel import name_column

BESIDE = "X:"
"""In front of the names of exogenous columns, which may be those of y too."""


class TitansSktimeForecaster(BaseForecaster):  # type: ignore[misc]
    """Forecast with a [`TitansForecaster`][titans_seq.domains.timeseries.TitansForecaster] through sktime's interface.

    The horizon is the last step that `fit` is asked for; columns of X are known ahead, as sktime has it. `update`
    teaches the memories, and trains nothing. Quantiles beyond the model's own follow the tails of a normal
    distribution.

    Args:
        forecaster: an unfitted one, for its parameters; None: the defaults.

    Examples:
        >>> from sktime.datasets import load_airline
        >>> from titans_seq.domains.timeseries import TitansForecaster
        >>> from titans_seq.domains.timeseries.sktime import TitansSktimeForecaster
        >>> y = load_airline()
        >>> model = TitansSktimeForecaster(TitansForecaster(max_epochs=1)).fit(y, fh=[1, 2, 12])
        >>> model.predict().index.astype(str).tolist()
        ['1961-01', '1961-02', '1961-12']
    """

    _tags: ClassVar[dict[str, Any]] = {
        "scitype:y": "both",
        "y_inner_mtype": "pd.DataFrame",
        "X_inner_mtype": "pd.DataFrame",
        "requires-fh-in-fit": True,
        "capability:exogenous": True,
        "capability:insample": False,
        "capability:missing_values": True,
        "capability:update": True,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "python_dependencies": None,
    }

    def __init__(self, forecaster: TitansForecaster | None = None) -> None:
        self.forecaster = forecaster
        super().__init__()

    def _fit(self, y: pd.DataFrame, X: pd.DataFrame | None, fh: Any) -> "TitansSktimeForecaster":
        """See sktime."""
        horizon = int(max(fh.to_relative(self.cutoff)))
        model = TitansForecaster() if self.forecaster is None else clone(self.forecaster)
        self._columns_of_y = y.columns
        beside = _rename(X, y.index)
        ahead = None if beside is None else list(beside.columns)
        model.set_params(horizon=max(1, horizon), future_covariates=ahead)
        self.model_ = model.fit(y, beside)
        return self

    def _update(
        self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True
    ) -> "TitansSktimeForecaster":
        """Teach the memories the rows that are not known yet; rows left out are missing values."""
        panel = self.model_.panel_
        last = panel.index(panel.series[0].index)[-1]
        new = y.index[y.index > last]
        if not len(new):
            return self
        steps = 1
        while panel.index(panel.future(panel.series[0].index, steps))[-1] < new[-1]:
            steps *= 2
        index = panel.index(panel.future(panel.series[0].index, steps))
        index = index[index <= new[-1]]
        beside = None if self.model_.covariates_ is None else _rename(X, index)
        self.model_.update(y.reindex(index), beside)
        return self

    def _predict(self, fh: Any, X: pd.DataFrame | None = None) -> pd.DataFrame:
        """See sktime."""
        places, index = self._places(fh)
        values = self.model_.predict_values(self._ahead(X))[0][places]
        return pd.DataFrame(values.astype("float64"), index, self._columns_of_y)

    def _predict_quantiles(self, fh: Any, X: pd.DataFrame | None, alpha: Sequence[float]) -> pd.DataFrame:
        """See sktime."""
        places, index = self._places(fh)
        found = torch.from_numpy(self.model_.predict_levels(self._ahead(X))[0][places]).double()  # (H, C, Q)
        levels = self.model_.network_.config.levels
        columns = [values_at(found, levels, torch.full(found.shape[:-1], share)).numpy() for share in alpha]
        labels = pd.MultiIndex.from_product([self._get_varnames(), alpha])
        return pd.DataFrame(np.stack(columns, -1).reshape(len(index), -1), index, labels)

    def _places(self, fh: Any) -> tuple[Any, pd.Index]:
        """Return the steps of the horizon that are asked for, from 0, and their stamps."""
        steps = np.asarray(fh.to_relative(self.cutoff)).astype(int) - 1
        return steps, fh.to_absolute_index(self.cutoff)

    def _ahead(self, X: pd.DataFrame | None) -> pd.DataFrame | None:
        """Return X over the whole horizon: steps that X leaves out are not asked for, and have the value before."""
        if self.model_.covariates_ is None:
            return None
        panel = self.model_.panel_
        index = panel.index(panel.future(panel.series[0].index, self.model_.network_.config.horizon))
        return _rename(X, index)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """See sktime."""
        small = {"dim": 8, "layers": 1, "max_epochs": 1, "steps_per_epoch": 2, "verbose": False}
        return [
            {"forecaster": TitansForecaster(**small)},
            {"forecaster": TitansForecaster(**small, variant="mal", quantiles=None)},
        ]


def _rename(X: pd.DataFrame | None, index: pd.Index) -> pd.DataFrame | None:
    """Return X on an index, with names of its own."""
    if X is None:
        return None
    renamed = X.set_axis([BESIDE + name_column(c) for c in X.columns], axis=1)
    return renamed.reindex(renamed.index.union(index)).ffill().bfill().loc[index]
