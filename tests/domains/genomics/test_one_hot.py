"""The classifier as tools that explain networks take it: the same numbers, true gradients, tangermeme itself."""

import numpy as np
import pytest
import torch

from tests.domains.genomics.conftest import MOTIF, planted
from titans_seq.domains.genomics.encoder import encode_sequences
from titans_seq.domains.genomics.one_hot import DEEP_LIFT_RULES, OneHotNetwork
from titans_seq.errors import DataError


def one_hot(sequences):
    rows = np.stack(encode_sequences(sequences))
    return torch.nn.functional.one_hot(torch.from_numpy(rows).long(), 5)[..., :4].mT.float()


@pytest.fixture
def sequences():
    return planted(8, seed=5, lengths=(60, 61))[0]


@pytest.mark.parametrize("model", ["fitted", "stranded"])
def test_the_same_numbers(model, sequences, request):
    model = request.getfixturevalue(model)
    sequences[0] = "NNAC" + sequences[0][4:]
    found = OneHotNetwork(model)(one_hot(sequences)).detach().numpy()
    np.testing.assert_allclose(found, model.predict_logits(sequences), atol=2e-5)


def test_gradients_are_those_of_small_steps(fitted, sequences):
    network = OneHotNetwork(fitted).double()
    X = one_hot(sequences[:2]).double()[:, :, :30]
    try:
        point = (0.7 * X + 0.3 * torch.rand(X.shape, generator=torch.manual_seed(0))).requires_grad_()
        network(point)[:, 1].sum().backward()
        rng = np.random.default_rng(0)
        for _ in range(10):
            place = (int(rng.integers(2)), int(rng.integers(4)), int(rng.integers(30)))
            step = torch.zeros_like(point)
            step[place] = 1e-6
            with torch.no_grad():
                slope = (network(point + step) - network(point - step))[:, 1].sum() / 2e-6
            assert float(slope) == pytest.approx(float(point.grad[place]), abs=1e-4)
    finally:
        network.float()


def test_wrong_shapes(fitted):
    with pytest.raises(DataError, match=r"not \(2, 5, 9\)"):
        OneHotNetwork(fitted)(torch.zeros(2, 5, 9))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_tangermeme_finds_the_motif(fitted):
    """Its saliency, in-silico mutagenesis, DeepLIFT and seqlets, each on the motif more than beside it."""
    pytest.importorskip("tangermeme")
    from tangermeme.deep_lift_shap import deep_lift_shap
    from tangermeme.predict import predict
    from tangermeme.saliency import saliency
    from tangermeme.saturation_mutagenesis import saturation_mutagenesis
    from tangermeme.seqlet import recursive_seqlets

    rng = np.random.default_rng(3)
    texts = ["".join(rng.choice(list("ACGT"), 25)) + MOTIF + "".join(rng.choice(list("ACGT"), 25)) for _ in range(6)]
    X, network = one_hot(texts), OneHotNetwork(fitted)
    target = list(fitted.classes_).index("motif")
    np.testing.assert_allclose(
        predict(network, X, device="cpu", verbose=False).detach().numpy(), fitted.predict_logits(texts), atol=2e-5
    )
    tables = {
        "saliency": saliency(network, X, target=target, device="cpu"),
        "mutagenesis": saturation_mutagenesis(network, X, target=target, device="cpu"),
        "DeepLIFT": deep_lift_shap(
            network,
            X,
            target=target,
            device="cpu",
            n_shuffles=4,
            random_state=0,
            additional_nonlinear_ops=DEEP_LIFT_RULES,
        ),
    }
    for name, values in tables.items():
        values = values.detach().numpy()
        assert values.shape == X.shape, name
        weight = np.abs((values * X.numpy()).sum(1)).mean(0)
        assert weight[25:35].mean() > 1.5 * np.concatenate([weight[:20], weight[40:]]).mean(), name
    calls = recursive_seqlets((tables["DeepLIFT"] * X).sum(1).detach().numpy(), threshold=0.05)
    assert len(calls) > 0
