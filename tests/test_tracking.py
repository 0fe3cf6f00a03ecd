"""Tracking with a real database and a real server."""

import shutil

import pandas as pd
import pytest

from tests.servers import tracking
from titans_seq.errors import TrackingError
from titans_seq.tracking import OFF, track


@pytest.fixture
def store(tmp_path, migrated_store, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def runs(uri):
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    ids = [e.experiment_id for e in client.search_experiments()]
    return client, client.search_runs(ids)


def test_a_finished_run_holds_all_it_was_given(store, tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with track(store, "things", "first", {"depth": 2}) as run:
        run.metrics({"loss": 0.5, "broken": float("nan")}, step=3)
        run.artifact(tmp_path / "a.txt")
        run.data(pd.DataFrame({"a": [1.0, 2.0]}), "numbers")
    client, (found,) = runs(store)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"depth": "2"}
    assert found.data.metrics == {"loss": 0.5}
    assert [a.path for a in client.list_artifacts(found.info.run_id)] == ["a.txt"]
    (entry,) = found.inputs.dataset_inputs
    assert entry.dataset.name == "numbers"
    assert entry.dataset.digest


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")])
def test_how_a_run_ends(store, error, status):
    with pytest.raises(error), track(store, "things", "first", {}):
        raise error
    assert [r.info.status for r in runs(store)[1]] == [status]


def test_off_and_the_default_place(store, tmp_path):
    with track(OFF, "things", "first", {}) as run:
        run.metrics({"loss": 1.0})
    assert run.run_id is None
    assert runs(store)[1] == []
    with track(None, "things", "first", {}):
        pass
    assert len(runs(store)[1]) == 1


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////proc/nothing/mlflow.db", "gopher://x"])
def test_unreachable_at_the_start(uri):
    with pytest.raises(TrackingError, match="cannot track at"), track(uri, "things", "first", {}):
        pytest.fail("the work must not begin")


@pytest.mark.slow
def test_a_server_that_dies_costs_a_warning_not_the_work(store, tmp_path):
    with tracking(store, tmp_path) as server:
        with track(server.uri, "things", "first", {"depth": 2}) as run:
            run.metrics({"loss": 1.0})
            server.kill()
            with pytest.warns(UserWarning, match="tracking stopped, the work goes on"):
                run.metrics({"loss": 0.5})
            run.metrics({"loss": 0.4})
        (found,) = runs(store)[1]
        assert found.data.metrics == {"loss": 1.0}


def test_a_model_that_cannot_be_served_costs_a_warning_not_the_run(store, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "code.py").write_text("raise ValueError('broken')")
    table = pd.DataFrame({"a": [1.0]})
    with track(store, "things", "first", {}) as run:
        with pytest.warns(UserWarning, match="the model was not logged: .*broken"):
            assert run.model(tmp_path / "model", tmp_path / "code.py", lambda: (table, table)) is None
        run.metrics({"loss": 1.0})
    (found,) = runs(store)[1]
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"loss": 1.0}
