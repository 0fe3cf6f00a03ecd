"""Model folders: whole or not at all, and nothing hostile gets in."""

import json
import pickle

import numpy as np
import pytest
import torch

from titans_seq.errors import ModelError
from titans_seq.saving import FORMAT_VERSION, LARGEST_CONFIG, build_network, load_folder, save_folder
from titans_seq.version import __version__


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


def test_what_is_written(tmp_path):
    """Also into folders that are not there yet; readable by all, writable by its owner."""
    folder = save_folder(tmp_path / "new" / "deep" / "model", "Thing", {"a": 1}, {"w": torch.zeros(2)})
    header = {"format": "titans-seq", "format_version": FORMAT_VERSION, "kind": "Thing", "version": __version__}
    assert json.loads((folder / "config.json").read_text()) == header | {"a": 1}
    modes = [p.stat().st_mode & 0o777 for p in (folder, folder / "config.json", folder / "model.safetensors")]
    assert modes == [0o755, 0o644, 0o644]
    save_folder(folder, "Thing", {"a": 2}, {})
    assert load_folder(folder, "Thing")[0]["a"] == 2


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
        (lambda f: change(f, format_version=99), f"saved in format 99 by version {__version__} of titans-seq"),
        (lambda f: (f / "config.json").write_bytes(b" " * (LARGEST_CONFIG + 1)), r"config\.json is too large to be"),
        (lambda f: (f / "config.json").write_bytes(b" " * LARGEST_CONFIG), "not JSON"),
        (
            lambda f: (f / "config.json").unlink() or (f / "config.json").mkdir(),
            r"^cannot read .*config\.json: Is a dir",
        ),
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


def linear(features):
    return lambda: torch.nn.Linear(2, features)


def test_a_network_takes_weights_that_are_its_own():
    weights = {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}
    network = build_network(linear(3), weights)
    assert not network.training
    assert torch.equal(network(torch.ones(1, 2)), torch.full((1, 3), 2.0))
    many = {f"w{n}": torch.ones(2**18) for n in range(3)}
    build_network(lambda: torch.nn.ParameterDict({n: torch.empty(2**18) for n in many}), many)  # all of them allowed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": torch.zeros(2)}, r"bias is \(2,\) float32, the configuration describes \(3,\) float32$"),
        ({"bias": torch.zeros(3).double()}, r"bias is \(3,\) float64, the configuration describes \(3,\) float32$"),
        ({"more": torch.zeros(1)}, r"more is \(1,\) float32, the configuration describes not there$"),
        ({"bias": None}, r"bias is not there, the configuration describes \(3,\) float32$"),
        ({"bias": torch.tensor([0.0, 0.0, torch.nan])}, "^bias holds NaN, infinite or huge values$"),
        ({"bias": torch.tensor([0.0, -torch.inf, 0.0])}, "^bias holds NaN, infinite or huge values$"),
        ({"bias": torch.tensor([0.0, 0.0, 2e18])}, "^bias holds NaN, infinite or huge values$"),
    ],
)
def test_a_network_refuses_others(change, message):
    weights = {"weight": torch.ones(3, 2), "bias": torch.zeros(3)} | change
    with pytest.raises(ValueError, match=message):
        build_network(linear(3), {n: t for n, t in weights.items() if t is not None})


def test_a_network_much_larger_than_its_weights_is_not_built():
    built = []

    def build():
        network = torch.nn.Sequential()
        for _ in range(1000):
            built.append(network.append(torch.nn.Linear(64, 64)))
        return network

    with pytest.raises(
        ValueError, match=r"^config\.json and model\.safetensors do not fit together: the network is larger"
    ):
        build_network(build, {"0.weight": torch.zeros(64, 64)})
    assert len(built) < 100


def test_a_file_that_is_cut_short_afterwards_changes_nothing(tmp_path):
    """As a copy over a served model does; a mapped file would end the process."""
    folder = save_folder(tmp_path / "model", "Thing", {}, {"w": torch.ones(100_000)})
    _, tensors = load_folder(folder, "Thing")
    (folder / "model.safetensors").write_bytes(b"")
    assert tensors["w"].sum() == 100_000


def test_a_model_that_a_killed_process_took_away_is_found(folder):
    left = folder.parent / ".model-abcdefgh.tmp"
    left.mkdir()
    folder.rename(left / "replaced")
    assert load_folder(folder, "Thing")[0]["a"] == [1, 2.5]
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


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
    with pytest.raises(ModelError, match=r"^cannot write .*/file/model: (Not a directory|File exists)$"):
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
