"""MLflow's page that compares runs, in a real browser: what a user sees of a sweep."""

import html
import json
import re
import shutil
import subprocess
from importlib.metadata import version
from urllib.parse import quote

import pytest
from packaging.version import Version

from tests import servers
from titans_seq.tracking import track

CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(Version(version("mlflow")) < Version("3.17"), reason="the page of older servers is another")
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)")
def test_children_of_a_run_are_compared_by_parameters_and_metrics(tmp_path, migrated_store):
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    settings = {"mag": (0.001, 0.432), "lmm": (0.002, 0.543), "mal": (0.003, 0.654)}
    with track(store, "study", "the study", {"trials": 3}) as parent:
        children = []
        for variant, (rate, loss) in settings.items():
            parameters = {"variant": variant, "learning_rate": rate, "random_state": 7}
            with track(store, "study", f"trial of {variant}", parameters, parent.run_id) as run:
                for step in range(3):
                    run.metrics({"val_loss": loss + 0.1 * (2 - step)}, step=step)
                run.metrics({"best_val_loss": loss, "fit_seconds": 12.5})
            children.append(run.run_id)
        parent.metrics({"best_val_loss": 0.432})
    with servers.tracking(store, tmp_path) as server:
        _, found = server.get("/api/2.0/mlflow/experiments/get-by-name?experiment_name=study")
        place = [found["experiment"]["experiment_id"]]
        chosen = f"runs={quote(json.dumps(children))}&experiments={quote(json.dumps(place))}"
        page = seen(f"{server.uri}/#/compare-runs?{chosen}", tmp_path)
    for cells in (
        "learning_rate|0.001|0.002|0.003",
        "random_state|7|7|7",
        "variant|mag|lmm|mal",
        "trial of mag|trial of lmm|trial of mal",
        "best_val_loss|fit_seconds|val_loss",
        "0.432|0.543|0.654|12.5|12.5|12.5|0.432|0.543|0.654",
    ):
        assert f"|{cells}|" in page


def seen(address, folder):
    """The page's texts, with bars between them, after its scripts have run."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,2400"]
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [CHROMIUM, *options, profile, "--virtual-time-budget=20000", "--dump-dom", address]
    page = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    page = re.sub(r"<(style|script)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\|[|\s]+", "|", html.unescape(re.sub(r"<[^>]+>", "|", page)))
