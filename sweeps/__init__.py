"""Hyper-parameter sweeps, from Python and from the command line."""

from typing import TYPE_CHECKING

from titans_seq.lazy import export_lazily

if TYPE_CHECKING:
    from titans_seq.sweeps.objectives import Objective
    from titans_seq.sweeps.result import SweepResult
    from titans_seq.sweeps.search_cv import TitansSearchCV
    from titans_seq.sweeps.tune import sweep

__all__ = ["Objective", "SweepResult", "TitansSearchCV", "sweep"]

__getattr__, __dir__ = export_lazily(
    __name__,
    {
        "Objective": "titans_seq.sweeps.objectives",
        "SweepResult": "titans_seq.sweeps.result",
        "TitansSearchCV": "titans_seq.sweeps.search_cv",
        "sweep": "titans_seq.sweeps.tune",
    },
)
