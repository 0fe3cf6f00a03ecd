"""States on disk."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file

from titans_seq import BackboneConfig, MemoryConfig, NeuralMemory, TitansBackbone, load_state, save_state
from titans_seq.errors import ModelError
from titans_seq.state_file import VERSION

CONFIG = BackboneConfig(variant="mag", dim=8, layers=2, heads=2, chunk_size=4, window=8)


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(0)
    _, state = TitansBackbone(CONFIG)(torch.randn(2, 9, 8))
    return save_state(state, tmp_path / "state.safetensors", CONFIG)


def test_round_trip_of_a_memory(tmp_path):
    config = MemoryConfig(dim=8, heads=2, chunk_size=4)
    memory = NeuralMemory(config)
    with torch.no_grad():
        _, state = memory(torch.randn(3, 6, 8))
        save_state(state, tmp_path / "s", config)
        more = torch.randn(3, 7, 8)
        assert torch.equal(memory(more, load_state(tmp_path / "s", config))[0], memory(more, state)[0])
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_another_configuration_is_named(file):
    with pytest.raises(ModelError, match="another configuration: window 8 instead of 16"):
        load_state(file, replace(CONFIG, window=16))
    with pytest.raises(ModelError, match="another configuration"):
        load_state(file, MemoryConfig(dim=8))


def test_a_state_that_does_not_fit_is_not_written(tmp_path):
    _, state = TitansBackbone(CONFIG)(torch.randn(2, 9, 8))
    with pytest.raises(ValueError, match="configuration"):
        save_state(state, tmp_path / "s", replace(CONFIG, chunk_size=8))
    with pytest.raises(ModelError, match="cannot write"):
        save_state(state, tmp_path / "missing" / "s", CONFIG)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"",
        lambda raw: raw[:100],
        lambda raw: raw[:-8],
        lambda raw: b"\xff" * 8 + raw[8:],
        lambda raw: raw[:8] + b"{" * 50 + raw[58:],
        lambda raw: b"\x80\x04cos\nsystem\n",
    ],
)
def test_damaged_files(file, spoil):
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(ModelError):
        load_state(file, CONFIG)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({}, "not a state of titans-seq"),
        ({"format": "titans-seq-state", "version": "9"}, "has version '9'"),
        ({"format": "titans-seq-state", "version": VERSION}, "not JSON"),
        ({"format": "titans-seq-state", "version": VERSION, "config": "[[]]"}, "configuration"),
    ],
)
def test_foreign_files(tmp_path, header, message):
    save_file({"x": torch.zeros(1)}, tmp_path / "s", metadata=header)
    with pytest.raises(ModelError, match=message):
        load_state(tmp_path / "s", CONFIG)
    with pytest.raises(ModelError, match="no such file"):
        load_state(tmp_path / "other", CONFIG)


def test_right_header_wrong_tensors(file, tmp_path):
    header = {
        "format": "titans-seq-state", "version": VERSION, "kind": "BackboneConfig", "config": json.dumps(asdict(CONFIG))
    }  # fmt: skip
    save_file({"x": torch.zeros(1)}, tmp_path / "s", metadata=header)
    with pytest.raises(ModelError, match="does not hold the tensors"):
        load_state(tmp_path / "s", CONFIG)
    state = load_state(file, CONFIG)
    tensors = {n: t.contiguous().clone() for n, t in state.named_tensors()}
    name = next(n for n in tensors if n.endswith("fill"))
    spoiled = [tensors[name].float(), tensors[name] + 10**12, tensors[name] - 10**6, torch.tensor(1), tensors[name][:1]]
    for wrong in spoiled:
        save_file(tensors | {name: wrong}, tmp_path / "s", metadata=header)
        with pytest.raises(ModelError, match="damaged"):
            load_state(tmp_path / "s", CONFIG)
