"""The report on a study as a page, drawn by a real browser, and the dashboard of Optuna on the same storage."""

import html
import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import optuna
import pytest

from tests.sweeps.conftest import arguments, wait_for
from tests.sweeps.test_tune import DNA, SPACE, X, Y
from titans_seq.cli import execute
from titans_seq.sweeps import sweep


def partly_wrong(trial):
    """Widths that some numbers of heads do not divide, and learning rates that are far too low."""
    chosen = {name: trial.suggest_categorical(name, values) for name, values in (("dim", [8, 15]), ("heads", [1, 2]))}
    return chosen | {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)}


class GiveUpEveryThird(optuna.pruners.BasePruner):
    """A pruner of a user's own."""

    def prune(self, study, trial):
        """Return whether to give up."""
        return trial.number % 3 == 2


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A sweep with complete, pruned and failed trials, and its storage."""
    url = f"sqlite:///{tmp_path_factory.mktemp('page') / 's.db'}"
    result = sweep(
        DNA, (X, Y), partly_wrong, trials=10, storage=url, study="<b>&s</b>", seed=1, max_failures=20,
        pruner=GiveUpEveryThird(),
    )  # fmt: skip
    return url, result


def test_the_page_says_all_and_needs_nothing(found, tmp_path):
    _, result = found
    states = result.trials["state"].value_counts()
    assert set(states.index) == {"COMPLETE", "PRUNED", "FAIL"}, states
    page = result.report(tmp_path / "report.html").read_text()
    titles = re.findall(r'<h2 id="s\d+">(.*?)</h2>', page)
    assert titles == [
        "Best trials", "How to load the winner", "History", "Importances", "Slices", "Parallel coordinates",
        "Learning curves", "Seconds of training", "Pruned trials", "Failed trials",
    ]  # fmt: skip
    assert page.count("Plotly.newPlot(") >= 6
    assert not re.search(r"<(script src|link|img)", page)
    assert html.escape("<b>&s</b>") in page
    assert "<b>&s</b>" not in page.replace(html.escape("<b>&s</b>"), "")
    assert "GiveUpEveryThird at step" in page
    assert "must be a multiple of heads" in page


def test_several_objectives_have_a_front(tmp_path):
    result = sweep(DNA, (X, Y), SPACE, trials=3, objectives=["val_loss", "n_parameters"], refit=False)
    page = result.report(tmp_path / "report.html").read_text()
    assert "Pareto front" in page
    assert "Learning curves" not in page


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_draws_it(found, tmp_path, width):
    """Every figure is drawn, and the page is no wider than the screen."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("there is no browser on this machine")
    page = found[1].report(tmp_path / "report.html")
    script = (
        "<script>addEventListener('load', () => setTimeout(() => { document.title = JSON.stringify("
        "{drawn: document.querySelectorAll('.plotly-graph-div .main-svg').length > 0 ? "
        "[...document.querySelectorAll('.plotly-graph-div')].filter(d => d.querySelector('.main-svg')).length : 0, "
        "all: document.querySelectorAll('.plotly-graph-div').length, "
        "wide: document.documentElement.scrollWidth, screen: innerWidth}); }, 1500));</script></body>"
    )
    page.write_text(page.read_text().replace("</body>", script))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--dump-dom"]
    dumped = subprocess.run(
        [*command, "--virtual-time-budget=6000", f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    said = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", dumped.stdout).group(1)))
    assert said["drawn"] == said["all"] >= 6
    assert said["wide"] <= said["screen"]


@pytest.mark.slow
def test_optunas_dashboard_opens_the_same_storage(found, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name("optuna-dashboard")
    process = subprocess.Popen(
        [program, found[0], "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def ask(path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return json.load(answer)
        except OSError:
            return None

    try:
        studies = wait_for(lambda: ask("/api/studies"), 60)["study_summaries"]
        assert [s["study_name"] for s in studies] == ["<b>&s</b>"]
        detail = ask(f"/api/studies/{studies[0]['study_id']}")
        assert len(detail["trials"]) == len(found[1].trials)
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_the_commands_write_it_and_overwrite_nothing(wave_file, place, capsys):
    options = ["--vary", "chunk_size=4,8", "--objectives", "val_loss", "n_parameters", "--trials", "2", "--study", "w"]
    command = arguments(wave_file, *options, epochs=1)
    assert execute(command) == 0
    assert "no trial beats these in all objectives" in " ".join(capsys.readouterr().out.split())
    assert "Pareto front" in (place / "runs/sweep/report.html").read_text()
    assert execute(["sweep", "report", "--study", "w"]) == 0
    before = (place / "report.html").read_bytes()
    assert execute(["sweep", "report", "--study", "w"]) == 2
    assert "report.html exists" in capsys.readouterr().err
    assert (place / "report.html").read_bytes() == before
    assert execute(["sweep", "best", "--study", "w", "--output", "best"]) == 0
    assert execute(["sweep", "best", "--study", "w", "--output", "best"]) == 2
    assert "already holds" in capsys.readouterr().err
    assert execute(["sweep", "best", "--study", "w", "--output", "best", "--force"]) == 0
    frame = np.genfromtxt(place / "best" / "trials.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    assert {"val_loss", "n_parameters", "chunk_size"} <= set(frame.dtype.names)
