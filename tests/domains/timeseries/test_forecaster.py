"""The estimator as a data scientist uses it."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError

from titans_seq.domains.timeseries import TitansForecaster
from titans_seq.errors import DataError, ModelError, TrainingError
from titans_seq.memory.neural import gate_values
from titans_seq.training import TrainingConfig

SMALL = {"horizon": 12, "context": 48, "dim": 16, "layers": 1, "max_epochs": 2, "batch_size": 64, "patch": 12}


@pytest.fixture(scope="module")
def fitted(waves):
    return TitansForecaster(**SMALL, random_state=1).fit(waves)


def test_forecast_has_the_frames_shape_and_the_true_future(fitted, waves):
    forecast = fitted.predict()
    assert list(forecast.columns) == ["a", "b"]
    assert list(forecast.index) == list(pd.date_range(waves.index[-1], periods=13, freq="h")[1:])
    assert forecast.index.name == "when"
    assert np.isfinite(forecast.to_numpy()).all()


def test_it_learns_a_wave(waves):
    model = TitansForecaster(**SMALL | {"max_epochs": 12, "patience": 12}).fit(waves)
    hours = 500 + np.arange(12)
    error = (model.predict()["a"] - np.sin(hours * 2 * np.pi / 24)).abs().mean()
    assert error < 0.25, "the wave's own mean absolute value is 0.64"


def test_long_frame_of_series_of_different_length(waves):
    long = waves.rename_axis("ds").reset_index()
    frame = pd.concat(
        [long.assign(unique_id="x"), long.iloc[:300].assign(unique_id="y"), long[:20].assign(unique_id="z")]
    )
    forecast = TitansForecaster(**SMALL).fit(frame).predict()
    assert list(forecast.columns) == ["unique_id", "ds", "a", "b"]
    assert forecast.groupby("unique_id").size().to_dict() == {"x": 12, "y": 12, "z": 12}
    firsts = forecast.groupby("unique_id")["ds"].first()
    assert firsts["x"] == waves.index[-1] + pd.Timedelta("1h")
    assert firsts["z"] == waves.index[19] + pd.Timedelta("1h")


def test_same_seed_same_bits(fitted, waves):
    torch.manual_seed(123)  # what happened before must not matter
    again = TitansForecaster(**SMALL, random_state=1).fit(waves)
    other = TitansForecaster(**SMALL, random_state=2).fit(waves)
    pd.testing.assert_frame_equal(again.predict(), fitted.predict(), check_exact=True)
    assert not other.predict_quantiles().equals(fitted.predict_quantiles())


def test_fit_leaves_the_global_random_state_alone(waves):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    TitansForecaster(**SMALL | {"max_epochs": 1}).fit(waves)
    assert torch.equal(torch.get_rng_state(), before)


def test_save_and_load(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = TitansForecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.predict(), fitted.predict(), check_exact=True)
    assert loaded.get_params() == fitted.get_params()
    loaded.save(tmp_path / "again")
    again = TitansForecaster.load(tmp_path / "again")
    pd.testing.assert_frame_equal(again.predict(), fitted.predict(), check_exact=True)


def test_initial_step_is_where_the_memory_begins(waves, tmp_path):
    model = TitansForecaster(**SMALL | {"max_epochs": 1}, initial_step=0.3, learning_rate=1e-6).fit(waves)
    memory = model.network_.get_submodule("backbone.blocks.0.memory.memory")
    steps, _, _ = gate_values(memory.gates.bias.detach(), memory.config)
    assert steps.tolist() == pytest.approx([0.3] * model.heads, rel=1e-3)
    model.save(tmp_path / "model")
    assert TitansForecaster.load(tmp_path / "model").initial_step == 0.3


def test_save_and_load_keeps_time_zone_and_short_series(waves, tmp_path):
    frame = waves.tz_localize("Europe/Berlin")
    long = frame.rename_axis("ds").reset_index()
    both = pd.concat([long.assign(unique_id="x"), long.iloc[:30].assign(unique_id="y")])
    for name, data in (("wide", frame), ("long", both)):
        model = TitansForecaster(**SMALL | {"max_epochs": 1}).fit(data)
        model.save(tmp_path / name)
        loaded = TitansForecaster.load(tmp_path / name).predict()
        pd.testing.assert_frame_equal(loaded, model.predict(), check_exact=True)


def edit(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["parameters"].update(dim=10**9),
        lambda c: c["parameters"].update(horizon=10**12),
        lambda c: c["parameters"].update(layers=-1),
        lambda c: c["parameters"].update(layers=10**9),
        lambda c: c["parameters"].update(memory_depth=10**9),
        lambda c: c["parameters"].update(memory_expansion=float("inf")),
        lambda c: c["parameters"].update(variant="mac", chunk_size=0),
        lambda c: c["fitted"].update(freq=None),
        lambda c: c["parameters"].update(unknown=1),
        lambda c: c["parameters"].update(heads="x"),
        lambda c: c.pop("parameters"),
        lambda c: c.update(parameters=[]),
        lambda c: c["fitted"].update(channels=["only one"]),
        lambda c: c["fitted"].update(series=[]),
        lambda c: c["fitted"].update(freq="__import__('os')"),
        lambda c: c["fitted"]["series"][0].update(last="never"),
    ],
)
def test_changed_models_are_refused(fitted, tmp_path, change):
    fitted.save(tmp_path / "model")
    edit(tmp_path / "model", change)
    with pytest.raises(ModelError):
        TitansForecaster.load(tmp_path / "model")


def test_foreign_folders_are_refused(fitted, tmp_path):
    with pytest.raises(ModelError, match="holds no saved model"):
        TitansForecaster.load(tmp_path)
    fitted.save(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ModelError, match="damaged"):
        TitansForecaster.load(tmp_path / "model")


def test_predict_and_save_before_fit(tmp_path):
    with pytest.raises(NotFittedError):
        TitansForecaster().predict()
    with pytest.raises(NotFittedError):
        TitansForecaster().save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": 0}, "horizon must be a whole number"),
        ({"horizon": -3}, "horizon must be a whole number"),
        ({"context": 2.5}, "context must be a whole number"),
        ({"patch": 0}, "patch must be a whole number"),
        ({"learn": 1}, "learn must be True, False or None"),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be"),
        ({"variant": "mamba"}, "variant must be"),
        ({"dim": 15}, "multiple of heads"),
        ({"validation_fraction": 1.5}, "validation_fraction must lie"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"max_epochs": 0}, "max_epochs must be"),
        ({"learning_rate": -1.0}, "learning_rate must be"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"initial_step": 1.0}, "initial_step must lie between 0 and 1"),
        ({"max_minutes": float("nan")}, "max_minutes must be"),
        ({"max_minutes": -1.0}, "max_minutes must be"),
        ({"random_state": 2**70}, "random_state must be"),
    ],
)
def test_wrong_parameters(waves, options, message):
    with pytest.raises(DataError, match=message):
        TitansForecaster(**SMALL | options).fit(waves)


def test_history_too_short(waves):
    with pytest.raises(DataError, match=r"59 steps: context 48 \+ horizon 12 need at least 60"):
        TitansForecaster(**SMALL).fit(waves.iloc[:59])


def test_early_stopping_keeps_the_best(waves):
    model = TitansForecaster(**SMALL | {"max_epochs": 30, "patience": 2, "learning_rate": 0.05}).fit(waves)
    losses = model.history_.validation_loss
    assert len(losses) < 30
    assert len(losses) - 1 - model.history_.best_epoch >= 2


def test_a_loss_that_is_not_finite_is_said(waves):
    with pytest.raises(TrainingError, match=r"not finite in epoch 1, step \d+: try a smaller"):
        TitansForecaster(**SMALL | {"learning_rate": 1e30}).fit(waves)


def test_numpy_values_are_values(waves, tmp_path):
    options = {"horizon": np.int64(12), "max_epochs": 1, "quantiles": np.array([0.2, 0.9]), "dropout": np.float64(0.1)}
    model = TitansForecaster(**SMALL | options).fit(waves)
    assert len(model.predict()) == 12
    model.save(tmp_path / "model")
    loaded = TitansForecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.predict_quantiles(0.5), model.predict_quantiles(0.5), check_exact=True)
    assert loaded.quantiles == (0.2, 0.9)


def test_tensors_of_another_type_are_refused(fitted, tmp_path):
    from safetensors.torch import load_file, save_file

    path = fitted.save(tmp_path / "model") / "model.safetensors"
    save_file({n: t.double() for n, t in load_file(path).items()}, path)
    with pytest.raises(ModelError, match=r"not float32|no whole numbers"):
        TitansForecaster.load(tmp_path / "model")


@pytest.mark.parametrize("variant", ["mac", "mag", "mal", "attention", "gru"])
def test_every_variant_forecasts(waves, variant, tmp_path):
    model = TitansForecaster(**SMALL | {"variant": variant, "max_epochs": 1}).fit(waves)
    model.save(tmp_path / "model")
    forecast = TitansForecaster.load(tmp_path / "model").predict()
    pd.testing.assert_frame_equal(forecast, model.predict(), check_exact=True)


def test_parameters_of_every_configuration_reach_the_network(waves, tmp_path):
    options = {
        "variant": "mac", "chunk_size": 10, "window": 20, "persistent_tokens": 3, "mlp_expansion": 1,
        "memory_activation": "gelu", "max_step": 0.25, "forget_to": "zero", "clip": None,
    }  # fmt: skip
    training = {"average": 0.9, "weight_decay": 0.1, "gradient_clip": None}
    model = TitansForecaster(**SMALL | {"max_epochs": 1}, **options, **training).fit(waves)
    backbone = model.network_.config.backbone
    assert {name: getattr(backbone, name) for name in options} == options
    assert {name: getattr(model.configure(TrainingConfig), name) for name in training} == training
    loaded = TitansForecaster.load(model.save(tmp_path / "model"))
    assert loaded.get_params() == model.get_params()
    pd.testing.assert_frame_equal(loaded.predict(), model.predict(), check_exact=True)


def test_each_training_option_changes_the_training(waves):
    plain = TitansForecaster(**SMALL | {"max_epochs": 1}).fit(waves).predict_quantiles()
    for option in ({"average": None}, {"weight_decay": 1.0}, {"gradient_clip": 1e-3}):
        other = TitansForecaster(**SMALL | {"max_epochs": 1}, **option).fit(waves).predict_quantiles()
        assert not np.allclose(other, plain)


def test_online_memories_forecast(waves):
    model = TitansForecaster(**SMALL | {"max_epochs": 1}, memory_depth=1, online=True, clip=None).fit(waves)
    assert np.isfinite(model.predict()).all(axis=None)
    with pytest.raises(DataError, match="online"):
        TitansForecaster(**SMALL, memory_depth=2, online=True, clip=None).fit(waves)
