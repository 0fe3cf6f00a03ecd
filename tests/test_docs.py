"""README and manual: every block of Python runs, every command line parses, every public name is there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

import titans_seq
from titans_seq.cli import Command
from titans_seq.program import parse_arguments

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
WITH_CODE = [page for page in PAGES if "\n```python\n" in page.read_text(encoding="utf-8")]


def name(page):
    return str(page.relative_to(ROOT))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::titans_seq.errors.TitansSeqWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_python_runs(page, tmp_path, monkeypatch, migrated_store):
    """The blocks of a page one after the other, as somebody would paste them."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(migrated_store, tmp_path / "example.db")
    document = Sybil(parsers=[PythonCodeBlockParser()]).parse(page)
    examples = list(document.examples())
    assert examples
    for example in examples:
        example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_parse(page):
    """Options that were renamed or mistyped are found."""
    text = page.read_text(encoding="utf-8")
    blocks = [*re.findall(r"\n```sh\n(.*?)\n```", text, re.S), *re.findall(r"\n((?:    .*\n)+)", text)]
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("titans-seq ")]
    for command in commands:
        if "--help" in command or "counting" in command:
            continue
        parse_arguments(Command, "titans-seq", command[1:])


def test_the_readme_is_a_door():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    links = re.findall(r"\]\((?!http)([^)#]+)\)", "\n".join(lines))
    assert not [link for link in links if not (ROOT / link).exists()]


def test_links_between_pages():
    for page in PAGES:
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{name(page)}: {link}"


def test_every_public_name_is_in_the_reference():
    """Of every package that has an `__all__`."""
    from importlib import import_module

    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.md"))
    packages = ["titans_seq", "titans_seq.memory", "titans_seq.backbone", "titans_seq.training"]
    packages += [f"titans_seq.domains.{domain}" for domain in ("timeseries", "genomics", "language")]
    names = {public for package in packages for public in import_module(package).__all__} - {"__version__"}
    assert set(titans_seq.__all__) - {"__version__"} <= names
    missing = [public for public in sorted(names) if not re.search(rf"^::: .*\.{public}$", pages, re.M)]
    assert not missing


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_examples_run(script, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not list(tmp_path.iterdir()), "an example leaves nothing behind"


@pytest.mark.slow
def test_the_manual_builds(tmp_path):
    """With warnings as errors, and nothing in it that a browser would fetch from elsewhere."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        fetched = re.findall(r'(?:src|<link [^>]*href)="(https?://[^"]+)"', page.read_text(encoding="utf-8"))
        assert not fetched, page
