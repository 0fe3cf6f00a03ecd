"""Which token comes next."""

import pytest
import torch

from titans_seq.domains.language.sampling import Sampler, Sampling, probabilities
from titans_seq.errors import DataError

LOGITS = torch.tensor([0.1, 0.4, 0.2, 0.3]).log()


def test_probabilities_by_temperature():
    torch.testing.assert_close(probabilities(LOGITS, Sampling(temperature=1.0)).float(), LOGITS.exp())
    cold = probabilities(LOGITS, Sampling(temperature=0.5)).float()
    torch.testing.assert_close(cold, LOGITS.exp() ** 2 / (LOGITS.exp() ** 2).sum())


def test_top_k_keeps_the_likeliest():
    chances = probabilities(LOGITS, Sampling(temperature=1.0, top_k=2))
    torch.testing.assert_close(chances.float(), torch.tensor([0, 4 / 7, 0, 3 / 7]))


@pytest.mark.parametrize(
    ("p", "kept"), [(0.3, [1]), (0.4, [1]), (0.41, [1, 3]), (0.75, [1, 2, 3]), (1.0, [0, 1, 2, 3])]
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(p, kept):
    chances = probabilities(LOGITS, Sampling(temperature=1.0, top_p=p))
    assert chances.nonzero().flatten().tolist() == kept
    assert float(chances.sum()) == pytest.approx(1)


def test_both_together_and_ties():
    chances = probabilities(torch.zeros(4), Sampling(temperature=1.0, top_k=2, top_p=0.9))
    assert chances.tolist() == [0.5, 0.5, 0, 0]


@pytest.mark.parametrize(("share", "kept"), [(0.0, [0, 1, 2, 3]), (0.3, [1, 2, 3]), (0.6, [1, 3]), (1.0, [1])])
def test_min_p_keeps_what_is_likely_enough(share, kept):
    chances = probabilities(LOGITS, Sampling(temperature=1.0, min_p=share))
    assert chances.nonzero().flatten().tolist() == kept


def test_what_was_said_becomes_less_likely():
    logits = torch.tensor([-1.0, 2.0, 1.5, 0.0])
    sampler = Sampler(Sampling(temperature=0.0, repetition_penalty=2.0), seen=torch.tensor([0, 0]))
    assert [sampler(logits) for _ in range(3)] == [1, 2, 1]  # 2, 1.5; then 1, 1.5; then 1, 0.75
    torch.testing.assert_close(sampler._penalized(logits), torch.tensor([-2.0, 1.0, 0.75, 0.0]))


def test_draws_follow_the_probabilities_and_the_seed():
    draws = [Sampler(Sampling(temperature=1.0, seed=3)) for _ in range(2)]
    many = [[s(LOGITS) for _ in range(4000)] for s in draws]
    assert many[0] == many[1]
    shares = torch.bincount(torch.tensor(many[0]), minlength=4) / 4000
    torch.testing.assert_close(shares, LOGITS.exp(), atol=0.03, rtol=0)
    assert {Sampler(Sampling(temperature=0.0, seed=s))(LOGITS) for s in range(5)} == {1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0}, {"temperature": float("nan")}, {"temperature": float("inf")}, {"temperature": "hot"},
        {"top_k": 0}, {"top_k": 2.5}, {"top_k": True}, {"top_p": 0.0}, {"top_p": 1.01}, {"top_p": float("nan")},
        {"min_p": -0.1}, {"min_p": 1.1}, {"min_p": "x"}, {"repetition_penalty": 0.0}, {"repetition_penalty": None},
        {"seed": -1}, {"seed": 2**70},
    ],
)  # fmt: skip
def test_wrong_settings_are_named(wrong):
    with pytest.raises(DataError, match=f"^{next(iter(wrong))} must be"):
        Sampling(**wrong)
