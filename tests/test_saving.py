"""Model folders: whole or not at all, and nothing hostile gets in."""

import json
import pickle

import numpy as np
import pytest
import torch

from titans_seq.errors import ModelError
from titans_seq.saving import load_folder, save_folder


@pytest.fixture
def folder(tmp_path):
    return save_folder(tmp_path / "model", "Thing", {"a": [1, 2.5]}, {"w": torch.arange(3.0)})


def test_round_trip(folder):
    config, tensors = load_folder(folder, "Thing")
    assert config["a"] == [1, 2.5]
    assert torch.equal(tensors["w"], torch.arange(3.0))


def test_numpy_values_are_values(tmp_path):
    values = {"a": np.int64(3), "b": [np.float32(0.5), np.nan], "c": np.array([1, 2]), "d": {"e": np.bool_(True)}}
    config, _ = load_folder(save_folder(tmp_path / "model", "Thing", values, {}), "Thing")
    assert {name: config[name] for name in values} == {"a": 3, "b": [0.5, None], "c": [1, 2], "d": {"e": True}}


def test_a_model_is_replaced_and_nothing_is_left_beside_it(folder):
    save_folder(folder, "Thing", {"a": 3}, {"w": torch.zeros(1)})
    assert load_folder(folder, "Thing")[0]["a"] == 3
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_what_is_not_a_model_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("x")
    with pytest.raises(ModelError, match="not a saved model"):
        save_folder(tmp_path / "photos", "Thing", {}, {})
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="not a saved model"):
        save_folder(tmp_path / "file", "Thing", {}, {})
    assert (tmp_path / "photos" / "a.jpg").read_text() == "x"


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json is missing"),
        (lambda f: (f / "config.json").write_text("{"), "not JSON"),
        (lambda f: (f / "config.json").write_text("[" * 100_000), "not JSON"),
        (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "not JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "is not a model"),
        (lambda f: change(f, format="other"), "is not a model"),
        (lambda f: change(f, format_version=99), "saved in format 99"),
        (lambda f: change(f, kind="Other"), "holds a Other"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "is damaged"),
        (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-4]), "is damaged"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}"), "is damaged"),
    ],
)
def test_damaged_and_foreign_folders(folder, spoil, message):
    spoil(folder)
    with pytest.raises(ModelError, match=message):
        load_folder(folder, "Thing")


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_is_never_run(folder, tmp_path):
    witness = tmp_path / "ran"
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb(str(witness))))
    with pytest.raises(ModelError):
        load_folder(folder, "Thing")
    assert not witness.exists()


def test_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot write"):
        save_folder(tmp_path / "file" / "model", "Thing", {}, {})


def test_an_interrupted_exchange_leaves_the_old_model(folder, monkeypatch):
    from pathlib import Path

    rename, calls = Path.rename, []

    def second_fails(self, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(KeyboardInterrupt):
        save_folder(folder, "Thing", {"a": 9}, {"w": torch.zeros(1)})
    monkeypatch.undo()
    assert load_folder(folder, "Thing")[0]["a"] == [1, 2.5]
    assert [p.name for p in folder.parent.iterdir()] == ["model"]
