"""Batch work on a real cluster of two processes: the same bytes as in one process, also when workers are killed."""

import os
import signal
from functools import partial

import numpy as np
import pytest

from titans_seq import TitansDNAClassifier, TitansForecaster
from titans_seq.cli import execute
from titans_seq.engine import open_engine
from titans_seq.errors import DataError, EngineError

SIZE = {"horizon": 6, "context": 24, "dim": 16, "layers": 1, "patch": 6, "max_epochs": 1}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def square(marker, number):
    """A piece of work whose worker is killed at the first number 5."""
    if number == 5 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def always_killed(number):
    """A piece of work that kills every worker."""
    os.kill(os.getpid(), signal.SIGKILL)


def fail(number):
    """A piece of work that raises an error of this package."""
    raise DataError(f"number {number} is wrong")


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(place):
    with open_engine("dask", 2) as apply:
        assert list(apply(partial(square, place / "marker"), range(40))) == [n**2 for n in range(40)]
        assert (place / "marker").exists()
        with pytest.raises(DataError, match="number 7 is wrong"):
            list(apply(fail, [7]))


@pytest.mark.slow
def test_work_that_kills_every_worker_ends_with_a_reason(monkeypatch):
    monkeypatch.setattr("titans_seq.engine.LOST_TWICE", 1)
    with open_engine("dask", 1) as apply, pytest.raises(EngineError, match="workers kept dying"):
        list(apply(always_killed, [1]))


def test_without_an_engine_the_work_is_done_here():
    with open_engine(None, None) as apply:
        assert list(apply(lambda n: (n, os.getpid()), [1, 2])) == [(1, os.getpid()), (2, os.getpid())]


def test_processes_of_this_machine(place):
    with open_engine(None, 2) as apply:
        assert list(apply(partial(pow, 2), range(30))) == [2**n for n in range(30)]
        with pytest.raises(DataError, match="number 7 is wrong"):
            list(apply(fail, [7]))
    with open_engine(None, 2) as apply, pytest.raises(EngineError, match="a worker lost the work"):
        list(apply(always_killed, [1]))
    with open_engine(None, 2) as apply, pytest.raises(ZeroDivisionError):
        list(apply(partial(pow, 2), (1 // n for n in (1, 0))))


@pytest.mark.parametrize(
    ("engine", "workers", "message"),
    [("spark", 2, "engine must be dask"), ("dask", 0, "jobs must be"), ("tcp://127.0.0.1:9", 2, "cannot reach")],
)
def test_engines_that_there_are_not(engine, workers, message):
    with pytest.raises((DataError, EngineError), match=message), open_engine(engine, workers):
        pass


@pytest.mark.slow
def test_many_tables_are_answered_as_by_one_process(waves, place, capsys):
    TitansForecaster(**SIZE).fit(waves.iloc[:400]).save(place / "model")
    (place / "tables").mkdir()
    for number in range(5):
        waves.iloc[30 * number : 350 + 30 * number].to_csv(place / "tables" / f"{number}.csv")
    (place / "tables" / "broken.csv").write_text("a,b\n")
    command = ["predict", "--model", "model", "--data", "tables"]
    outcomes = []
    for out, engine in (("one", ()), ("two", ("--engine", "dask"))):
        assert execute([*command, "--out", out, *engine]) == 2  # the others are answered nevertheless
        outcomes.append(capsys.readouterr().err)
        assert "1 of 6 files were not answered, tables/broken.csv" in outcomes[-1]
    assert sorted(p.name for p in (place / "one").iterdir()) == [f"{n}.csv" for n in range(5)]
    for number in range(5):
        assert (place / "one" / f"{number}.csv").read_bytes() == (place / "two" / f"{number}.csv").read_bytes()
    assert outcomes[0] == outcomes[1]
    assert execute([*command, "--out", "one"]) == 2
    assert "one/0.csv exists" in capsys.readouterr().err
    assert execute(["predict", "--model", "model", "--data", "tables/0.csv", "one/0.csv", "--out", "three"]) == 2
    assert "two files would be answered in 0.csv" in capsys.readouterr().err


@pytest.mark.slow
def test_a_genome_is_scanned_as_by_one_process(place):
    rng = np.random.default_rng(0)
    classes = {"rich": list("GCGCA"), "poor": list("ATATC")}
    X = ["".join(rng.choice(letters, 40)) for letters in classes.values() for _ in range(20)]
    model = TitansDNAClassifier(dim=8, heads=1, motifs=8, max_epochs=2).fit(X, np.repeat(list(classes), 20))
    model.save(place / "model")
    records = ["".join(rng.choice(list("ACGTN"), 300 + 7000 * number)) for number in range(6)]
    (place / "contigs.fa").write_text("".join(f">contig{k}\n{record}\n" for k, record in enumerate(records)))
    others: dict[str, tuple[tuple[str, ...], ...]] = {
        "bedgraph": (("--jobs", "2"),),
        "gff3": (("--jobs", "2"), ("--engine", "dask")),
    }
    for kind, engines in others.items():
        written = []
        for engine in ((), *engines):
            options = ["--genome", "contigs.fa", "--out", f"out.{kind}", "--stride", "20", "--force", "--label", "rich"]
            assert execute(["scan", "--model", "model", *options, *engine]) == 0
            written.append((place / f"out.{kind}").read_bytes())
        assert len(set(written)) == 1
        assert len(written[0]) > 1000
