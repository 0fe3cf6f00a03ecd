"""Hostile models and states of every kind: a clear error before anything large is built, or a sound answer."""

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.attacks import models, stored
from benchmarks.attacks.deaths import kills
from benchmarks.attacks.inputs import empty_inputs
from benchmarks.attacks.sandbox import Attempt, judge, verdict
from titans_seq.errors import ModelError

HOSTILE = st.recursive(
    st.sampled_from(stored.HOSTILE) | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
"""What any value of a configuration may become."""
MANY = settings(
    max_examples=300, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Small models of all domains."""
    folder = tmp_path_factory.mktemp("models")
    models.save_models(folder)
    return folder


@pytest.fixture(scope="module")
def attempts(saved, tmp_path_factory):
    """Attacks by kind: on tensors, states and bytes."""
    states = tmp_path_factory.mktemp("states")
    return [*stored.tensors(saved), *stored.states(states), *stored.damaged(saved, 20, 0)]


@MANY
@given(data=st.data())
def test_any_value_of_a_configuration(saved, tmp_path, data):
    folder = data.draw(st.sampled_from(sorted(saved.iterdir())), "model")
    config = json.loads((folder / "config.json").read_text())
    path = data.draw(st.sampled_from([*stored.paths(config)]), "path")
    value = data.draw(HOSTILE, "value")
    shutil.rmtree(tmp_path / "model", ignore_errors=True)
    assert judge(stored.changed(folder, path, value), tmp_path) is None


@MANY
@given(number=st.integers(min_value=0))
def test_any_tensor_and_any_byte(attempts, tmp_path, number):
    shutil.rmtree(tmp_path / "model", ignore_errors=True)
    attempt = attempts[number % len(attempts)]
    assert judge(attempt, tmp_path) is None, attempt.name


@pytest.mark.parametrize(
    ("field", "value"),
    [("persistent_tokens", 10**9), ("chunk_size", 10**9), ("window", 10**9), ("layers", 1000), ("dim", 2**40)],
)
@pytest.mark.parametrize("variant", ["lmm", "mac", "mag", "mal", "attention"])
def test_sizes_are_refused_before_anything_is_built(saved, variant, field, value):
    """In a process with little time and memory; `verdict` says "time" or "memory" where that did not do."""
    attempt = stored.changed(saved / f"language {variant}", ("parameters", field), value)
    assert verdict(attempt) is None


def test_the_field_is_named(saved, tmp_path):
    attempt = stored.changed(saved / "language mag", ("parameters", "persistent_tokens"), 10**9)
    with pytest.raises(
        ModelError, match=r"larger than allowed; the largest setting is persistent_tokens = 1000000000$"
    ):
        attempt.action(tmp_path)


def test_input_that_says_nothing(saved, tmp_path):
    for attempt in empty_inputs(saved):
        assert judge(attempt, tmp_path) is None, attempt.name


def test_a_kill_at_any_step_of_saving_leaves_a_whole_model_and_nothing_else(saved):
    for attempt in kills(saved):
        if attempt.name.startswith("language"):
            assert verdict(attempt) is None, attempt.name


def test_the_sandbox_sees_what_goes_wrong():
    def allocate(folder):
        return str(len(bytearray(3 * 2**30)))

    def wait(folder):
        import time

        time.sleep(60)

    def raise_raw(folder):
        raise TypeError("no clear error")

    def die(folder):
        import os

        os._exit(3)

    expected = {allocate: "memory", wait: "time", raise_raw: "raw TypeError", die: "ended by 3"}
    for action, said in expected.items():
        assert str(verdict(Attempt("", "", action), seconds=2)).startswith(said)
    assert verdict(Attempt("", "", lambda folder: None)) is None
