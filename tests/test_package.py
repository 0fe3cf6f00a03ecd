"""The package as users get it: light to import, complete as a wheel, documented by examples that run."""

import doctest
import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import titans_seq
import titans_seq.backbone.model
import titans_seq.domains.timeseries.forecaster
import titans_seq.memory.neural

ROOT = Path(titans_seq.__file__).resolve().parents[1]


def python(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **options).stdout


def test_import_is_light():
    """`import titans_seq` loads nothing heavy, and naming an estimator no tool that it does not use."""
    heavy = ("torch", "sklearn", "pandas", "lightning", "mlflow", "optuna", "pytorch_forecasting", "matplotlib")
    loaded = f"print([m for m in {heavy!r} if m in sys.modules])"
    assert python(f"import sys, titans_seq; {loaded}").strip() == "[]"
    tools = ("lightning", "mlflow", "optuna", "pytorch_forecasting", "matplotlib")
    loaded = f"print([m for m in {tools!r} if m in sys.modules])"
    assert python(f"import sys, titans_seq; titans_seq.TitansBackbone; {loaded}").strip() == "[]"


def test_threads_that_wait_sleep_soon():
    shown = "import os, titans_seq; print(os.environ.get('GOMP_SPINCOUNT'))"
    free = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    assert python(shown, env=free).strip() == "1000"
    assert python(shown, env=free | {"GOMP_SPINCOUNT": "7"}).strip() == "7"
    assert python(shown, env=free | {"OMP_WAIT_POLICY": "active"}).strip() == "None"


def test_the_program_begins_without_torch():
    """`--help` and wrong usage are answered at once."""
    loaded = python(
        "import sys, titans_seq.cli; print([m for m in ('torch', 'sklearn', 'pandas') if m in sys.modules])"
    )
    assert loaded.strip() == "[]"


@pytest.mark.slow
def test_wheel_installs_and_every_module_imports(tmp_path):
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("not a checkout")
    source = tmp_path / "source"  # a copy: a build folder left in the checkout would haunt later wheels
    ignored = shutil.ignore_patterns(".*", "build", "runs", "mlruns", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignored)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 1_500_000
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert top == {"titans_seq"}
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    fresh = environment / "bin" / "python"
    packages = next(environment.glob("lib/python*/site-packages"))
    # The installed dependencies, without the editable install of the checkout: .pth files there are not followed.
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    install = [fresh, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", packages, wheel]
    subprocess.run(install, check=True, capture_output=True, env=clean)
    code = (
        "import importlib, pathlib, pkgutil, titans_seq\n"
        "names = ['titans_seq', *(m.name for m in pkgutil.walk_packages(titans_seq.__path__, 'titans_seq.'))]\n"
        "[importlib.import_module(n) for n in names]\n"
        "from titans_seq.domains.timeseries.table import EMBEDDED\n"
        "assert EMBEDDED.exists()\n"
        "from titans_seq.domains.genomics.splits import EMBEDDED\n"
        "assert EMBEDDED.exists()\n"
        "print(titans_seq.__file__, len(names))"
    )
    out = subprocess.run([fresh, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True, env=clean)
    path, count = out.stdout.split()
    assert Path(path).is_relative_to(packages)
    here = [m.name for m in pkgutil.walk_packages(titans_seq.__path__, "titans_seq.")]
    assert int(count) == len(here) + 1


@pytest.mark.parametrize(
    "module",
    ["titans_seq.memory.neural", "titans_seq.backbone.model", "titans_seq.domains.timeseries.forecaster"],
)
def test_examples_in_docstrings(module):
    done = doctest.testmod(importlib.import_module(module))
    assert done.attempted > 0
    assert done.failed == 0
