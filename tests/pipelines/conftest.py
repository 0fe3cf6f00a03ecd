"""A saved classifier of DNA for the tests of commands."""

import pytest

from tests.domains.genomics.conftest import SMALL, planted
from titans_seq.domains.genomics import TitansDNAClassifier


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A folder with a small model of one strand's motif."""
    model = TitansDNAClassifier(**SMALL | {"strand": "given", "max_epochs": 2}).fit(*planted(120))
    return model.save(tmp_path_factory.mktemp("saved") / "model")
