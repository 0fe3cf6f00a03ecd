"""Parts of the network: strands, masked norm, places along a sequence, the small CNN, scores."""

import numpy as np
import pytest
import torch
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from tests.domains.genomics.conftest import planted
from titans_seq.backbone import BackboneConfig
from titans_seq.domains.genomics.alphabet import PAD, reverse_complement
from titans_seq.domains.genomics.baselines import Composition, SmallCNN, kmer_regression
from titans_seq.domains.genomics.metrics import ClassificationScores
from titans_seq.domains.genomics.network import DNAConfig, DNANetwork, MaskedBatchNorm, Sections
from titans_seq.domains.genomics.strand import reverse_complement_tensor

BACKBONE = BackboneConfig(dim=8, layers=1, heads=1, chunk_size=4)


def codes(*rows):
    size = max(map(len, rows))
    return torch.tensor([[*("ACGTN".index(c) for c in row), *[PAD] * (size - len(row))] for row in rows])


def test_reverse_complement_is_the_alphabets():
    x = codes("ACGTNN", "AC", "G")
    np.testing.assert_array_equal(reverse_complement_tensor(x).numpy(), reverse_complement(x.numpy().astype(np.uint8)))


def test_masked_norm_knows_real_places_only():
    torch.manual_seed(0)
    x, mask = torch.randn(3, 4, 7), torch.arange(7) < torch.tensor([[7], [2], [5]])
    norm = MaskedBatchNorm(4)
    out = norm(x, mask)
    places = x.mT[mask]
    expected = (places - places.mean(0)) / (places.var(0, unbiased=False) + norm.eps).sqrt()
    torch.testing.assert_close(out.mT[mask], expected)
    assert (out.mT[~mask] == 0).all()
    torch.testing.assert_close(norm.running_mean, 0.1 * places.mean(0))
    assert torch.isfinite(norm(x[:1, :, :1], None)).all(), "one place has no variance"


@pytest.mark.parametrize("places", [1, 3, 7, 20])
def test_places_along_sequences_of_any_length(places):
    config = DNAConfig(classes=2, backbone=BACKBONE, sections=places)
    mask = torch.arange(9) < torch.tensor([[9], [1], [4]])
    weights = Sections(config).place_weights(mask)
    assert weights.shape == (3, places, 9)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, places))
    assert (weights.masked_select(~mask.unsqueeze(1)) == 0).all()
    torch.testing.assert_close(Sections(config).place_weights(mask[2:, :4]), weights[2:, :, :4])
    # the mean position rises evenly along the mask tokens
    middle = (weights * torch.arange(9)).sum(-1)
    assert (middle.diff(dim=1) >= -1e-5).all()


def test_as_many_places_as_tokens_are_the_tokens():
    config = DNAConfig(classes=2, backbone=BACKBONE, sections=5)
    torch.testing.assert_close(Sections(config).place_weights(torch.ones(1, 5, dtype=torch.bool))[0], torch.eye(5))


def test_position_counts_only_with_sections():
    torch.manual_seed(0)
    first, second = codes("G" * 8 + "A" * 24), codes("A" * 24 + "G" * 8)
    for sections, differ in ((0, False), (4, True)):
        config = DNAConfig(
            classes=2, strand="given", backbone=BACKBONE, mixer="none", sections=sections, kmer_size=0, motif_width=1,
            context_width=1, pool=8,
        )  # fmt: skip
        net = DNANetwork(config).eval()
        with torch.no_grad():
            assert bool((net(first) - net(second)).abs().max() > 1e-4) == differ


@pytest.mark.parametrize("sections", [0, 5])
def test_padding_changes_nothing(sections):
    torch.manual_seed(0)
    config = DNAConfig(classes=3, backbone=BACKBONE, sections=sections, pool=3, motif_width=5)
    net = DNANetwork(config).eval()
    rows = ["ACGTTGCAACNGT", "G", "ACGTACGTACGTTTTGACA" * 3, "AC"]
    with torch.no_grad():
        together = net(codes(*rows))
        alone = torch.cat([net(codes(row)) for row in rows])
        complement = net(reverse_complement_tensor(codes(*rows)))
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-6)
    torch.testing.assert_close(complement, together, rtol=0, atol=1e-6)


def test_small_cnn():
    torch.manual_seed(0)
    net = SmallCNN(70, 2)
    assert net(codes("ACGT" * 17, "ACG")).shape == (2, 2)
    assert sum(p.numel() for p in net.convolutions.parameters()) == 100 * 16 * 8 + 16 + 16 * 8 * 8 + 8 + 8 * 4 * 8 + 4
    with pytest.raises(ValueError, match="at most 70 letters, not 80"):
        net(codes("A" * 80))


def test_composition():
    found = Composition().transform(["AACG", "GGN"])
    np.testing.assert_allclose(found[0, :5], [0.5, 0.25, 0.25, 0, 0])
    np.testing.assert_allclose(found[1, [2, 4, 10]], [2 / 3, 1 / 3, np.log(3)])


def test_kmer_regression_chooses_on_the_validation_part():
    X, y = planted(80)
    model = kmer_regression(np.arange(80) >= 60).fit(X, y)
    assert model.best_params_.keys() == {"kmers__size", "regression__C"}
    assert model.predict_proba(X).shape == (80, 2)


def test_scores():
    rng = np.random.default_rng(0)
    truth, p = rng.integers(0, 2, 50), rng.random(50)
    scores = ClassificationScores.from_probabilities(truth, np.stack([1 - p, p], 1), np.array([0, 1]))
    assert scores.mcc == pytest.approx(matthews_corrcoef(truth, p > 0.5))
    assert scores.auroc == pytest.approx(roc_auc_score(truth, p))
    three = rng.integers(0, 3, 60)
    shares = rng.dirichlet([1, 1, 1], 60)
    expected = roc_auc_score(three, shares, multi_class="ovr")
    assert ClassificationScores.from_probabilities(three, shares, np.arange(3)).auroc == pytest.approx(expected)
    assert np.isnan(
        ClassificationScores.from_probabilities(np.zeros(4, dtype=int), np.full((4, 2), 0.5), np.array([0, 1])).auroc
    )
