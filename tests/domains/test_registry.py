"""One row makes a domain known."""

import json
import sys

import pytest

from titans_seq.domains import registry
from titans_seq.domains.predictor import Predictor
from titans_seq.domains.registry import DOMAINS, Domain, all_domains, find_domain, load_predictor, register
from titans_seq.domains.task import Task
from titans_seq.errors import DataError, ModelError
from titans_seq.estimator import TitansEstimator

ROW = {"estimator": "here:Odd", "task": "here:Task", "predictor": "here:Odd"}


@pytest.mark.parametrize("name", DOMAINS)
def test_rows_name_what_is_there(name):
    domain = find_domain(name)
    kind = domain.load_estimator()
    assert issubclass(kind, TitansEstimator)
    assert kind.__name__ == domain.kind
    assert issubclass(domain.load_task(), Task)
    assert issubclass(domain.load_predictor(), Predictor)
    assert domain.load_datasets() or name == "tagging"  # which has those of genomics
    assert set(domain.space) | set(domain.fixed) | set(registry.FIXED) <= set(kind().get_params())


def test_a_name_that_is_none():
    with pytest.raises(DataError, match="domain must be one of timeseries, genomics, tagging, language, not 'music'"):
        find_domain("music")


def test_register(monkeypatch):
    monkeypatch.setattr(registry, "DOMAINS", dict(DOMAINS))
    assert find_domain(register(Domain(name="odd", **ROW)).name).kind == "Odd"
    assert find_domain("odd").load_datasets() == {}


@pytest.fixture
def other_package(tmp_path, monkeypatch):
    """A distribution on the path, as pip leaves it, with one entry point; gives a function to write its module."""
    info = tmp_path / "odd-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[titans_seq.domains]\nodd = odd_domain:DOMAIN\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "odd_domain", raising=False)
    yield lambda text: (tmp_path / "odd_domain.py").write_text(text)
    sys.modules.pop("odd_domain", None)


def test_other_packages_bring_theirs(other_package):
    other_package(f"from titans_seq.domains.registry import Domain\nDOMAIN = Domain(name='odd', **{ROW!r})\n")
    assert list(all_domains()) == [*DOMAINS, "odd"]


@pytest.mark.parametrize(
    ("text", "message"), [("DOMAIN = 3", "is no Domain"), ("1 / 0", "cannot be loaded: division by zero")]
)
def test_other_packages_that_are_broken(other_package, text, message):
    other_package(text)
    with pytest.raises(DataError, match=message):
        all_domains()


def test_models_of_no_domain(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(ModelError, match="holds no saved model"):
        load_predictor(folder)
    (folder / "config.json").write_text(json.dumps({"format": "titans-seq", "format_version": 3, "kind": "Odd"}))
    known = "TitansForecaster, TitansDNAClassifier, TitansDNATagger, TitansLM"
    with pytest.raises(ModelError, match=f"holds a Odd; known are {known}"):
        load_predictor(folder)
