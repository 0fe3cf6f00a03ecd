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


def test_a_file_that_is_cut_short_afterwards_changes_nothing(file):
    state = load_state(file, CONFIG)
    before = state.fork()
    file.write_bytes(b"")
    assert all(torch.equal(a, b) for a, b in zip(state.tensors(), before.tensors(), strict=True))


def test_another_configuration_is_named(file):
    with pytest.raises(ModelError, match="another configuration: window 8 instead of 16"):
        load_state(file, replace(CONFIG, window=16))
    with pytest.raises(ModelError, match="another configuration"):
        load_state(file, MemoryConfig(dim=8))
    others = replace(CONFIG, dim=16, layers=1, heads=4, chunk_size=8, window=16, memory_depth=1)
    with pytest.raises(ModelError) as error:
        load_state(file, others)
    assert str(error.value) == (
        f"{file} belongs to another configuration: chunk_size 4 instead of 8, dim 8 instead of 16, "
        "layers 2 instead of 1, heads 2 instead of 4, window 8 instead of 16"
    )


def test_what_does_not_change_the_function_does_not_matter(file):
    state = load_state(file, replace(CONFIG, checkpoint_tokens=64))
    assert state.layers[0].memory.stream.fill.tolist() == [1, 1]


def test_the_kind_of_configuration_is_told(file, tmp_path):
    """Where all fields agree."""
    header = {"format": "titans-seq-state", "version": VERSION, "kind": "Other", "config": json.dumps(asdict(CONFIG))}
    save_file({"x": torch.zeros(1)}, tmp_path / "s", metadata=header)
    with pytest.raises(ModelError, match=r"/s belongs to another configuration: Other$"):
        load_state(tmp_path / "s", CONFIG)


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
    with pytest.raises(ModelError, match=r"state\.safetensors is damaged: "):
        load_state(file, CONFIG)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({}, "/s is not a state of titans-seq$"),
        ({"format": "titans-seq-state", "version": "9"}, f"/s has version '9', this one reads {VERSION}$"),
        ({"format": "titans-seq-state", "version": VERSION}, "/s is damaged: its configuration is not JSON$"),
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
        with pytest.raises(ModelError, match="/s is damaged: "):
            load_state(tmp_path / "s", CONFIG)
    name = next(n for n in tensors if n.endswith("weights.0"))
    wrongs = {
        "of several precisions": tensors[name].double(),
        "holds NaN, infinite or huge values": torch.full_like(tensors[name], torch.nan),
        "torch.float16 where torch.float32 belongs": tensors[name].half(),
    }
    for message, wrong in wrongs.items():
        others = {n: t.half() for n, t in tensors.items() if t.is_floating_point()} if "16" in message else {}
        save_file(tensors | others | {name: wrong}, tmp_path / "s", metadata=header)
        with pytest.raises(ModelError, match=f"/s is damaged: .*{message}$"):
            load_state(tmp_path / "s", CONFIG)
    wide = {n: t.double() if t.is_floating_point() else t for n, t in tensors.items()}
    save_file(wide, tmp_path / "s", metadata=header)
    assert load_state(tmp_path / "s", CONFIG).layers[0].memory.tail.dtype == torch.float64
