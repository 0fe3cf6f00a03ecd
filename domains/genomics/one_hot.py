"""A classifier as a network over one-hot letters, as tools that explain networks want it.

Axes: B sequences, L letters, K classes.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from titans_seq.domains.genomics.classifier import TitansDNAClassifier
from titans_seq.errors import DataError
from titans_seq.norm import RMSNorm

DEEP_LIFT_RULES: dict[type[nn.Module], Callable[..., Any]] = {
    RMSNorm: lambda module, grad_input, grad_output: grad_input
}
"""Layer -> rule that tangermeme's `deep_lift_shap` does not know by itself: the gradient."""


class OneHotNetwork(nn.Module):
    """Turn one-hot letters (B, 4, L), in the order A, C, G, T, into logits (B, K), with gradients in the letters.

    The same numbers as `TitansDNAClassifier.predict_logits`; sequences of a batch have the same length, and an unknown
    letter is a column of zeros. tangermeme's saliency, in-silico mutagenesis and seqlets take it as it is, its DeepLIFT
    with `additional_nonlinear_ops=DEEP_LIFT_RULES`; the memory has its gradients there, so differences do not add up.

    Args:
        model: a fitted classifier; its network is shared, not copied.

    Raises:
        sklearn.exceptions.NotFittedError: the classifier is not fitted.
    """

    def __init__(self, model: TitansDNAClassifier) -> None:
        from sklearn.utils.validation import check_is_fitted

        super().__init__()
        check_is_fitted(model, "network_")
        self.network = model.network_
        self.eval()

    def forward(self, X: Tensor) -> Tensor:
        """Return logits (B, K) of one-hot letters (B, 4, L)."""
        if X.ndim != 3 or X.shape[1] != 4:
            raise DataError(f"one-hot letters have the shape (sequences, 4, letters), not {tuple(X.shape)}")
        return self.network.one_hot_logits(X)
