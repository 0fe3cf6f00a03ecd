"""Paired tests of runs in a real store."""

import json
import shutil

import pytest
from scipy import stats

from titans_seq.cli import execute
from titans_seq.errors import DataError
from titans_seq.pipelines.pairs import compare_groups
from titans_seq.pipelines.runs import search_runs
from titans_seq.tracking import track

LMM = [0.50, 0.60, 0.70, 0.55, 0.65, 0.58]
MAG = [0.48, 0.59, 0.66, 0.56, 0.60, 0.55]


@pytest.fixture(scope="module")
def uri(tmp_path_factory, migrated_store):
    """Two variants with six seeds each, one of them run twice, and a run without a partner."""
    place = tmp_path_factory.mktemp("pairs")
    shutil.copy(migrated_store, place / "mlflow.db")
    found = f"sqlite:///{place / 'mlflow.db'}"

    def log(variant, seed, loss, **more):
        parameters = {"variant": variant, "random_state": seed, "data": "a.csv"} | more
        with track(found, "lm", f"{variant} {seed}", parameters) as run:
            run.metrics({"best_val_loss": loss, "test_bits_per_byte": 2 * loss})

    log("lmm", 0, 9.0)
    for variant, losses in (("lmm", LMM), ("mag", MAG)):
        for seed, loss in enumerate(losses):
            log(variant, seed, loss)
    log("mag", 7, 0.1)
    log("mac", 0, 0.5)
    log("mac", 0, 0.4, dim=8)
    return found


def test_pairs_agree_in_all_but_the_groups(uri):
    runs = search_runs(uri, "lm", None, None)
    test = compare_groups(runs, ("variant=lmm", "variant=mag"), "best_val_loss")
    assert (test.pairs, test.unpaired) == (6, 1)
    expected = stats.ttest_rel(MAG, LMM)
    assert test.t_test == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval()
    assert (test.low, test.high) == pytest.approx((low, high))
    assert test.wilcoxon == pytest.approx(stats.wilcoxon([m - o for m, o in zip(MAG, LMM, strict=True)]).pvalue)
    assert test.difference == pytest.approx(sum(MAG) / 6 - sum(LMM) / 6)
    assert "over 6 pairs" in test.sentence


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (("variant=lmm", "variant=lmm"), "both groups are"),
        (("variant=lmm", "variant=mal"), "no finished run with variant=mal"),
        (("variant=lmm", "variant=mac"), "1 of 6 runs"),
        (("variant", "variant=mac"), "a group reads"),
    ],
)
def test_groups_that_make_no_pairs(uri, groups, message):
    with pytest.raises(DataError, match=message):
        compare_groups(search_runs(uri, "lm", None, None), groups, "best_val_loss")


def test_the_command_writes_it_into_a_page(uri, tmp_path, capsys):
    command = ["runs", "compare", "--experiment", "lm", "--tracking-uri", uri, "--metric", "test_bits_per_byte"]
    between = ["--between", "variant=lmm", "variant=mag"]
    assert execute([*command, *between, "--output", str(tmp_path / "out")]) == 0
    assert "test_bits_per_byte: variant=mag" in capsys.readouterr().out
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "p 0.0" in page
    assert "Plotly.newPlot" in page
    assert "<script src" not in page
    assert "<link" not in page
    assert execute([*command, *between, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["paired"]["pairs"] == 6
    assert len(found["settings"]) == 4
