"""Sweeps from the command line: real workers, killed, resumed, tracked, compared."""

import json
import os
import signal
import time

import pandas as pd
import pytest
from optuna.trial import TrialState

from tests.sweeps.conftest import SMALL, arguments, children, program, trials, wait_for
from titans_seq.cli import execute
from titans_seq.sweeps.reconcile import ERROR, RETRY_OF, Counts

VARY = ("--vary", "memory_depth=1:2", "learning_rate=1e-3:1e-2:log", "momentum=true,false")


@pytest.mark.slow
def test_a_sweep_from_plan_to_load_winner(wave_file, place, capsys):
    code = execute([*arguments(wave_file, *VARY), "--trials", "5", "--workers", "2", "--study", "waves", "--json"])
    assert code == 0
    result = json.loads(capsys.readouterr().out)
    assert result["complete"] + result["pruned"] == 5
    assert result["failed"] == result["lost"] == 0
    best = result["best"]
    found = trials(f"sqlite:///{place / 'sweeps.db'}", "waves")
    values = {t.number: t.value for t in found if t.state is TrialState.COMPLETE}
    assert best["val_loss"] == min(values.values())
    assert set(best["varied"]) == {"memory_depth", "learning_rate", "momentum"}

    # the winner's model is the winner's: it can be loaded, and gives the loss and scores that stand there
    from titans_seq.domains.timeseries import TitansForecaster

    model = TitansForecaster.load(place / "runs/sweep/model")
    assert model.get_params() | best["parameters"] == model.get_params()
    assert min(model.history_.validation_loss) == pytest.approx(best["val_loss"])
    assert 0 < result["test"]["mse"] < 2
    metrics = json.loads((place / "runs/sweep/metrics.json").read_text())
    assert metrics == result
    frame = pd.read_csv(place / "runs/sweep/trials.csv")
    assert len(frame) == len(found)
    assert frame.val_loss.min() == pytest.approx(best["val_loss"])
    assert (place / "runs/sweep/history.png").read_bytes()[:4] == b"\x89PNG"
    assert not (place / "runs/sweep/trials").exists()

    # one run for the study, one for each trial below it
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("waves")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (r for r in runs if "mlflow.parentRunId" not in r.data.tags)
    below = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(below) == len(runs) - 1 == len(found)
    assert parent.data.metrics["best_val_loss"] == pytest.approx(best["val_loss"])
    assert parent.data.metrics["complete"] == result["complete"]
    assert min(r.data.metrics["best_val_loss"] for r in below) == pytest.approx(best["val_loss"])
    assert {r.info.status for r in runs} == {"FINISHED"}
    assert all({"memory_depth", "learning_rate", "random_state", "data"} <= set(r.data.params) for r in below)
    assert all(r.inputs.dataset_inputs for r in runs)

    # a study is found again: how far, what is best; the name is not given twice, but goes on
    assert execute(["sweep", "status", "--study", "waves", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["complete"] == result["complete"]
    assert execute(["sweep", "best", "--study", "waves", "--output", "best"]) == 0
    assert f"trial {best['trial']} is best" in capsys.readouterr().out
    again = [*arguments(wave_file, *VARY), "--study", "waves", "--force", "--json", "--tracking-uri", "off"]
    assert execute([*again, "--trials", "6"]) == 2
    assert "there is a study 'waves' already" in capsys.readouterr().err
    assert execute([*again, "--trials", "6", "--resume", "--seed", "1"]) == 2
    assert "other values of seed" in capsys.readouterr().err
    assert execute([*again, "--trials", "6", "--resume"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["complete"] + result["pruned"] == 6


def test_the_winner_is_this_studys_own(wave_file, place):
    """A folder may hold the models of other studies, of other trials of the same number."""
    from titans_seq.domains.timeseries import TitansForecaster
    from titans_seq.pipelines.settings import parse_settings
    from titans_seq.sweeps.objectives import find_objectives
    from titans_seq.sweeps.plan import make_plan
    from titans_seq.sweeps.run import load_winner
    from titans_seq.sweeps.search import Search
    from titans_seq.sweeps.space import Space
    from titans_seq.sweeps.trainable import TaskTrainable

    fixed = parse_settings([*SMALL, "max_epochs=1"])
    plan, task = make_plan("timeseries", wave_file, Space({}), {"horizon": 8}, fixed=fixed)
    other, own = (task.build(plan.parameters({"learning_rate": rate})) for rate in (1e-3, 5e-3))
    for model in (other, own):
        task.fit(model)
    best = {
        "trial": 0,
        "parameters": plan.parameters({"learning_rate": 5e-3}),
        "val_loss": own.history_.validation_loss[0],
    }
    search = Search(TaskTrainable(task, find_objectives(None, validated=False)))
    other.save(place / "0")
    with pytest.warns(UserWarning, match="it is trained again"):
        assert load_winner(place, search, best).history_.validation_loss == own.history_.validation_loss
    own.save(place / "0")
    assert isinstance(load_winner(place, search, best), TitansForecaster)


def test_what_is_tried_depends_on_the_seed_alone(wave_file, place):
    tried = []
    for name in ("a", "b"):
        url, joined = planned(wave_file, f"sqlite:///{place / 'sweeps.db'}", name, VARY[1:], trials=3)
        assert execute(joined) == 0
        tried.append([(t.params, t.value) for t in trials(url, name)])
    assert tried[0] == tried[1]


def planned(wave_file, url, study, space, **options):
    """A study of a small forecaster that nobody works on yet: its storage, and the command of a worker."""
    from titans_seq.pipelines.settings import parse_settings
    from titans_seq.sweeps.plan import make_plan
    from titans_seq.sweeps.space import Space
    from titans_seq.sweeps.storage import open_storage
    from titans_seq.sweeps.study import store_plan

    fixed = parse_settings([*SMALL, "max_epochs=1"])
    plan, _ = make_plan("timeseries", wave_file, Space.parse(list(space)), {"horizon": 8}, fixed=fixed, **options)
    store_plan(open_storage(url, fresh=True), study, plan)
    return url, ["sweep", "worker", "--study", study, "--storage", url, "--tracking-uri", "off", "--json"]


def made(place):
    """The URL of a storage without studies."""
    from titans_seq.sweeps.storage import open_storage

    url = f"sqlite:///{place / 'sweeps.db'}"
    open_storage(url, fresh=True)
    return url


@pytest.mark.slow
def test_killed_workers_lose_nothing(wave_file, place, request):
    """Of a sweep of two; on a server if there is one, else on a file, which other tests use."""
    try:
        url = request.getfixturevalue("postgresql")
    except pytest.skip.Exception:
        url = made(place)
    options = ["--trials", "4", "--workers", "2", "--study", "killed", "--heartbeat", "1", "--tracking-uri"]
    sweep = program(*arguments(wave_file, *VARY, epochs=12), *options, "off", place=place, TITANS_SEQ_STORAGE=url)
    try:
        for kill in range(2):
            wait_for(lambda: sweep.poll() is not None or any(
                t.state is TrialState.RUNNING and t.intermediate_values for t in trials(url, "killed")))  # fmt: skip
            assert sweep.poll() is None, sweep.communicate()
            team = wait_for(lambda: children(sweep))
            os.kill(team[kill % len(team)].pid, signal.SIGKILL)
            time.sleep(1)
        _, err = sweep.communicate(timeout=240)
        assert sweep.returncode == 0, err
    finally:
        sweep.kill()
        sweep.communicate()
    found = trials(url, "killed")
    counts = Counts.from_trials(found)
    assert counts.finished == 4
    assert counts.running == 0
    assert counts.lost >= 1
    assert err.count("was killed by signal 9") == 2
    retried = {t.user_attrs[RETRY_OF]: t.params for t in found if RETRY_OF in t.user_attrs}
    lost = {t.number: t.params for t in found if t.state is TrialState.FAIL and t.params}
    assert retried == lost


def test_workers_of_other_machines_join(wave_file, place, postgresql, capsys):
    """A worker with a storage and a study's name, and its data in another place."""
    _, joined = planned(wave_file, postgresql, "far", ["memory_depth=1,2"], trials=2)
    elsewhere = place / "elsewhere.csv"
    elsewhere.write_bytes(wave_file.read_bytes())
    assert execute([*joined, "--data", str(elsewhere)]) == 0
    assert json.loads(capsys.readouterr().out)["complete"] == 2
    elsewhere.write_text("\n".join(wave_file.read_text().splitlines()[:-1]))
    assert execute([*joined, "--data", str(elsewhere)]) == 2
    assert "is not what the study began with" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True], ids=["told", "killed"])
def test_ctrl_c_leaves_a_study_that_goes_on(killed, wave_file, place, capsys):
    """Also where a worker had no time to let its trial go."""
    url = made(place)
    options = ["--trials", "2", "--study", "killed", "--tracking-uri", "off"]
    sweep = program(*arguments(wave_file, *VARY, epochs=8), *options, place=place)
    wait_for(lambda: any(t.intermediate_values for t in trials(url, "killed")))
    team = children(sweep)
    if killed:
        os.kill(team[0].pid, signal.SIGKILL)
    os.kill(sweep.pid, signal.SIGINT)
    _, err = sweep.communicate(timeout=90)
    assert sweep.returncode == 130
    assert err.splitlines()[-1] == "interrupted"
    wait_for(lambda: not any(p.is_running() for p in team))
    before = trials(url, "killed")
    assert all(t.state is not TrialState.RUNNING for t in before)
    assert execute([*arguments(wave_file, *VARY, epochs=8), *options, "--resume", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["complete"] + result["pruned"] == 2
    assert result["retried"] == result["lost"] == sum(t.state is TrialState.FAIL for t in before)


@pytest.mark.slow
def test_an_estimator_that_always_fails_ends_the_sweep(place, capsys, tmp_path):
    """A loss that is never finite."""
    hours = pd.date_range("2024-01-01", periods=300, freq="h", name="when")
    pd.DataFrame({"a": range(300)}, index=hours).to_csv(tmp_path / "line.csv")
    options = ["--vary", "learning_rate=1e14:1e15", "--trials", "9", "--max-failures", "3", "--tracking-uri", "off"]
    assert execute([*arguments(tmp_path / "line.csv"), *options]) == 2
    err = capsys.readouterr().err
    assert "3 trials failed in a row, the last one (2) with: " in err
    assert "try a smaller learning_rate" in err
    found = trials(f"sqlite:///{place / 'sweeps.db'}", "timeseries")
    assert [ERROR in t.user_attrs for t in found] == [True] * 3
    # whoever goes on has mended something: earlier failures do not count
    assert execute([*arguments(tmp_path / "line.csv"), *options, "--resume"]) == 2
    assert "3 trials failed in a row, the last one (5) with: " in capsys.readouterr().err
    assert execute(["sweep", "best", "--study", "timeseries"]) == 0
    assert "no trial is complete yet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--storage", "postgresql://nobody@127.0.0.1:9/none"], "cannot use the storage"),
        (["--storage", "sqlite:////proc/nothing/sweeps.db"], "cannot use the storage"),
        (["--storage", "mysql://a/b"], "must be SQLite or PostgreSQL"),
        (["--storage", "sqlite://"], "must be a file"),
        (["--storage", "sweeps.db"], "must be a URL"),
        (["--tracking-uri", "http://127.0.0.1:9"], "cannot track at"),
        (["--vary", "dim=4:2"], "must rise"),
        (["--vary", "memory_depth=0:2"], "memory_depth 0"),
        (["--trials", "0"], "trials must be at least 1"),
        (["--workers", "0"], "workers must be at least 1"),
        (["--horizon", "0"], "horizon must be a whole number of at least 1"),
        (["--domain", "music"], "domain must be one of"),
        (["--data", "nothing.csv"], "nothing.csv"),
        (["--set", "dim"], "reads NAME=VALUE"),
        (["--set", "horizon=8"], "--horizon"),
        (["--horizon", "80", "--test-fraction", "0.01"], "hold back another share"),
        (["--study", ""], "a study's name"),
        (["--study", "a" * 201], "a study's name"),
        (["--storage", "postgresql//u:secret@h/db"], "not postgresql//***@h/db"),
        (["--storage", "postgresql://u:secret@h:54x/db"], "must be a URL"),
        (["--tracking-uri", "http://bob:secret@127.0.0.1:9"], "cannot track at http://***@127.0.0.1:9"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(options, message, wave_file, place, capsys):
    assert execute([*arguments(wave_file), *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "secret" not in err
    assert len(err.splitlines()) == 1
    assert not (place / "runs/sweep/metrics.json").exists()


@pytest.mark.parametrize("command", ["status", "best", "worker"])
def test_studies_that_are_not_there(command, place, capsys):
    assert execute(["sweep", command, "--study", "s"]) == 2
    assert "there is no storage" in capsys.readouterr().err
    assert not (place / "sweeps.db").exists()
    from titans_seq.sweeps.storage import open_storage

    open_storage(f"sqlite:///{place / 'sweeps.db'}", fresh=True)
    assert execute(["sweep", command, "--study", "s"]) == 2
    assert "there is no study 's'; there is none" in capsys.readouterr().err
    (place / "text.db").write_text("no database")
    assert execute(["sweep", command, "--study", "s", "--storage", f"sqlite:///{place / 'text.db'}"]) == 2
    assert "cannot use the storage" in capsys.readouterr().err
    assert (place / "text.db").read_text() == "no database"


@pytest.mark.slow
def test_a_storage_that_is_away_is_waited_for(wave_file, place, restartable_postgresql):
    """No trial is lost by it, and nobody is taken for dead."""
    url, stop, start = restartable_postgresql
    options = ["--trials", "4", "--workers", "2", "--study", "away", "--heartbeat", "2", "--tracking-uri", "off"]
    sweep = program(*arguments(wave_file, *VARY, epochs=30), *options, place=place, TITANS_SEQ_STORAGE=url)
    try:
        wait_for(lambda: any(t.intermediate_values for t in trials(url, "away")))
        stop()
        time.sleep(10)
        start()
        _, err = sweep.communicate(timeout=120)
    finally:
        sweep.kill()
        sweep.communicate()
    assert sweep.returncode == 0, err
    assert "warning: the storage does not answer (" in err
    counts = Counts.from_trials(trials(url, "away"))
    assert (counts.finished, counts.failed, counts.lost) == (4, 0, 0)


@pytest.mark.slow
def test_workers_whose_sweep_was_killed_finish_what_was_asked_for(wave_file, place, capsys):
    url = made(place)
    options = ["--trials", "3", "--workers", "2", "--study", "orphans", "--tracking-uri", "off"]
    sweep = program(*arguments(wave_file, *VARY, epochs=8), *options, place=place)
    wait_for(lambda: any(t.intermediate_values for t in trials(url, "orphans")))
    team = children(sweep)
    sweep.kill()
    sweep.communicate()
    wait_for(lambda: not any(p.is_running() for p in team))
    assert Counts.from_trials(trials(url, "orphans")).finished == 3
    assert execute([*arguments(wave_file, *VARY, epochs=8), *options, "--resume", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["complete"] + result["pruned"], result["lost"]) == (3, 0)
    assert (place / "runs" / "sweep" / "model" / "config.json").is_file()


def test_a_password_is_not_for_the_command_line(wave_file, place, capsys):
    url = "postgresql://me:secret@localhost:1/x"
    for command in (arguments(wave_file, *VARY), ["sweep", "status", "--study", "x"]):
        assert execute([*command, "--storage", url]) == 2
        err = capsys.readouterr().err
        assert "a password on the command line can be seen by others" in err
        assert "secret" not in err


@pytest.mark.slow
def test_many_workers_share_one_sqlite_file(wave_file, place):
    """Four processes that joined by name, at once: no trial is lost, doubled, or too many."""
    url, joined = planned(wave_file, f"sqlite:///{place / 'sweeps.db'}", "crowd", VARY[1:], trials=20)
    team = [program(*joined, place=place) for _ in range(4)]
    try:
        ended = [worker.communicate(timeout=300) for worker in team]
    finally:
        for worker in team:
            worker.kill()
    assert [worker.returncode for worker in team] == [0] * 4, [err for _, err in ended]
    found = trials(url, "crowd")
    counts = Counts.from_trials(found)
    assert (counts.finished, counts.running, counts.failed, counts.lost) == (20, 0, 0, 0)
    assert len(found) == 20
    assert len({t.user_attrs["worker"] for t in found}) == 4
