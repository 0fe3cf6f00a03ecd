"""Pictures: ROC, precision-recall and calibration curves; what mutations do, and surprise, along a sequence.

Axes: N sequences, K classes, L letters.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from titans_seq.domains.genomics.alphabet import BASES
from titans_seq.domains.genomics.metrics import one_hot
from titans_seq.plotting import new_figure, save_figure

CALIBRATION_BINS = 10
"""Points of a calibration curve at the most, of as many sequences each."""
MOST_LETTERS = 400
"""Letters of a sequence that are drawn as a logo; of a longer one there are bars."""


def plot_curves(
    path: Path,
    truth: NDArray[Any],
    probabilities: Mapping[str, NDArray[np.floating[Any]]],
    classes: NDArray[Any],
    title: str,
) -> None:
    """Draw ROC, precision-recall and calibration curves of several models; of several classes each against the rest.

    Args:
        truth: classes of the sequences (N,).
        probabilities: model -> probabilities (N, K).
        classes: classes (K,).
    """
    figure = new_figure(14, 4.6)
    roc, pr, calibration = figure.subplots(1, 3)
    hits = one_hot(truth, classes).ravel()
    for number, (name, shares) in enumerate(probabilities.items()):
        score = (shares[:, 1] if len(classes) == 2 else shares).ravel()
        false, true, _ = roc_curve(hits, score)
        precision, recall, _ = precision_recall_curve(hits, score)
        style = {"color": f"C{number}", "lw": 1.8 if number == 0 else 1.1}
        roc.plot(false, true, label=f"{name}, {roc_auc_score(hits, score):.3f}", **style)
        pr.plot(recall, precision, label=f"{name}, {average_precision_score(hits, score):.3f}", **style)
        share, said = calibration_curve(hits, score, n_bins=CALIBRATION_BINS, strategy="quantile")
        brier = brier_score_loss(hits, score)
        calibration.plot(said, share, marker=".", label=f"{name}, {brier:.3f}", **style)
    roc.plot([0, 1], [0, 1], color="0.7", lw=0.8, ls="--")
    calibration.plot([0, 1], [0, 1], color="0.7", lw=0.8, ls="--")
    pr.axhline(hits.mean(), color="0.7", lw=0.8, ls="--")
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC, area")
    pr.set(xlabel="recall", ylabel="precision", title="precision and recall, average precision", ylim=(0, 1.02))
    calibration.set(xlabel="predicted probability", ylabel="share that is true", title="calibration, Brier score")
    for axes, corner in ((roc, "lower right"), (pr, "lower left"), (calibration, "upper left")):
        axes.legend(loc=corner, fontsize=8, frameon=False)
        axes.title.set_fontsize(10)
    save_figure(figure, path, title)


def plot_explanation(path: Path, effects: pd.DataFrame, trace: pd.DataFrame | None, title: str) -> None:
    """Draw the tables of `mutagenesis` and `surprise` one below the other; a long sequence is one wide picture.

    Args:
        effects: see `mutagenesis`.
        trace: see `surprise`; None: not drawn.
    """
    size = len(effects)
    figure = new_figure(float(np.clip(size / 12, 8, 60)), 5.4 if trace is not None else 3.8)
    rows = figure.subplots(3 if trace is not None else 2, 1, sharex=True, squeeze=False)[:, 0]
    values = effects[list(BASES)].to_numpy()
    limit = float(np.abs(values).max()) or 1.0
    extent = (0.5, size + 0.5, 3.5, -0.5)
    image = rows[0].imshow(
        values.T, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, extent=extent, interpolation="nearest"
    )
    rows[0].set_yticks(range(4), BASES)
    rows[0].set_ylabel("becomes")
    figure.colorbar(image, ax=list(rows), label="change of log-odds", pad=0.01, fraction=0.03)
    weight = -values.sum(1) / 3
    if size <= MOST_LETTERS:
        _draw_logo(rows[1], effects, weight)
    else:
        rows[1].bar(effects["position"], weight, width=1.0, color=["C3" if w > 0 else "C0" for w in weight])
    rows[1].set_ylabel("mean loss\nby mutation")
    if trace is not None:
        middle = (trace["start"] + trace["end"]) / 2
        rows[2].plot(middle, trace["forward"], lw=1, label="read from the left")
        rows[2].plot(middle, trace["reverse"], lw=1, label="other strand")
        rows[2].set_ylabel("surprise")
        rows[2].legend(fontsize=7, frameon=False)
    rows[-1].set_xlabel("position")
    save_figure(figure, path, title)


def plot_track(
    path: Path, is_inside: NDArray[np.bool_], shares: NDArray[np.floating[Any]], name: str, title: str
) -> None:
    """Draw the probability of being inside a feature along letters (L,), below where the features are."""
    figure = new_figure(12, 3.2)
    axes = figure.subplots()
    place = np.arange(1, len(shares) + 1)
    axes.fill_between(place, 0, 1, where=is_inside, step="mid", color="C0", alpha=0.2, lw=0, label=f"{name}, annotated")
    axes.plot(place, shares, color="C3", lw=0.8, label="probability")
    axes.set(xlabel="letter of the test part", ylabel=f"probability of {name}", ylim=(0, 1.25), xlim=(1, len(shares)))
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.legend(loc="upper right", fontsize=8, frameon=False, ncols=2)
    save_figure(figure, path, title)


def _draw_logo(axes: Any, effects: pd.DataFrame, weight: NDArray[np.float64]) -> None:
    """Draw each letter as high as its weight (L,); unknown letters are left out."""
    import logomaker

    letters = effects["letter"].to_numpy()
    heights = pd.DataFrame({base: np.where(letters == base, weight, 0.0) for base in BASES})
    heights.index = pd.Index(effects["position"], name="position")
    logomaker.Logo(heights, ax=axes, shade_below=0.3, fade_below=0.3, show_spines=True)
