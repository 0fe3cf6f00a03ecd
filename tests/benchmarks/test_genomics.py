"""The benchmarks of the DNA domain, end to end on small settings; their figures are not judged here."""

import json

import pytest

from benchmarks.__main__ import execute

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_bench_genomics_goes_on_where_it_stopped(place, real_data, monkeypatch, capsys):
    monkeypatch.setenv("TITANS_SEQ_DATA", str(real_data))
    command = ["genomics", "--tasks", "promoter-300-tata", "--sequences", "60", "--max-epochs", "1", "--seeds"]
    from benchmarks.genomics import Genomics

    once, ran = Genomics.once, []

    def counted(self, model, seed, pieces):
        ran.append((model, seed))
        if len(ran) == 3:
            raise KeyboardInterrupt
        return once(self, model, seed, pieces)

    monkeypatch.setattr(Genomics, "once", counted)
    assert execute([*command, "1", "--output", "out"]) == 130
    assert (place / "out" / "genomics-rows.json").exists()
    capsys.readouterr()
    assert execute([*command, "1", "--output", "out", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    models = list(result["summary"]["promoter-300-tata"])
    assert [m for m, _ in ran] == [*models[:3], *models[2:]], "two rows were kept"
    assert result["leaks"]["promoter-300-tata"]["exact"]["test in train"] == 6
    assert [p.name.startswith("genomics-2") for p in (place / "out").iterdir()] == [True]


def test_bench_genomics_of_ensembles_is_a_result_of_its_own(place, real_data, monkeypatch, capsys):
    monkeypatch.setenv("TITANS_SEQ_DATA", str(real_data))
    command = ["genomics", "--tasks", "promoter-300-tata", "--sequences", "40", "--max-epochs", "1", "--seeds", "1"]
    assert execute([*command, "--ensemble", "2", "--output", "out", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [p.name.startswith("genomics-ensemble-2-2") for p in (place / "out").iterdir()] == [True]
    from benchmarks.genomics import describe_figures

    assert "2 networks each" in describe_figures(result)[0].what


def test_cohn_folds_keep_what_was_set_aside_out_of_the_test(real_data, monkeypatch):
    monkeypatch.setenv("TITANS_SEQ_DATA", str(real_data))
    from benchmarks.genomics import cut, load

    parts = load("human-enhancers-cohn-test")
    tested = []
    for pieces in cut(parts, 1, None):
        codes = {name: {row.tobytes() for row in rows} for name, (rows, _) in pieces.items()}
        assert not codes["train"] & codes["test"]
        assert not codes["dev"] & codes["test"]
        assert sum(len(rows) for rows, _ in pieces.values()) == 6948
        tested += [row.tobytes() for row in pieces["test"][0]]
    assert len(set(tested)) == 6000


def test_bench_scan(place, capsys):
    command = ["scan", "--letters", "3000", "--threads", "1", "--output", "out", "--json"]
    assert execute(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert [run["windows"] for run in result["runs"].values()] == [55, 1]
    assert all(run["peak_mb"] > 50 for run in result["runs"].values())
    assert len(list((place / "out").glob("scan-*.json"))) == 1
