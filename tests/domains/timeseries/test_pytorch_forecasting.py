"""The network among pytorch-forecasting's own tools."""

import numpy as np
import pandas as pd
import pytest
import torch

from titans_seq.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore")  # of lightning and pytorch-forecasting, about themselves

SMALL = {"dim": 16, "layers": 1, "patch": 6, "dropout": 0.0, "learning_rate": 0.01}


def frame(rows=160):
    rng = np.random.default_rng(0)
    parts = []
    for group in ("x", "y"):
        promo = (rng.random(rows) < 0.3).astype(float)
        value = 5 + np.sin(np.arange(rows) * 2 * np.pi / 12) + 2 * promo + 0.05 * rng.normal(size=rows)
        columns = {"step": np.arange(rows), "group": group, "value": value, "other": -value, "promo": promo}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def dataset(**options):
    from pytorch_forecasting import TimeSeriesDataSet

    settings = {
        "time_idx": "step", "target": "value", "group_ids": ["group"], "min_encoder_length": 10,
        "max_encoder_length": 24, "max_prediction_length": 4, "time_varying_unknown_reals": ["value"],
        "time_varying_known_reals": ["promo"],
    }  # fmt: skip
    return TimeSeriesDataSet(frame(), **settings | options)


def trained(data, epochs=4, **options):
    import lightning.pytorch as lightning

    from titans_seq.domains.timeseries.pytorch_forecasting import TitansNetwork

    torch.manual_seed(0)
    model = TitansNetwork.from_dataset(data, **SMALL | options)
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, gradient_clip_val=1.0,
    )  # fmt: skip
    trainer.fit(model, data.to_dataloader(train=True, batch_size=32))
    return model


def cpu():
    """Anew for each call, which puts its own callback in."""
    return {"accelerator": "cpu", "logger": False}


def test_trained_and_predicted_by_its_own_tools(tmp_path):
    data = dataset()
    model = trained(data)
    loader = data.to_dataloader(train=False, batch_size=64)
    result = model.predict(loader, return_y=True, trainer_kwargs=cpu())
    error = float((result.output - result.y[0]).abs().mean())
    assert error < 0.5, "the promotion alone moves the target by 2"
    quantiles = model.predict(loader, mode="quantiles", trainer_kwargs=cpu())
    assert quantiles.shape == (len(data), 4, 7)
    assert (quantiles.diff(dim=-1) >= 0).all(), "they cannot cross"
    torch.testing.assert_close(quantiles[..., 3], result.output)
    torch.save({"weights": model.state_dict()}, tmp_path / "weights.pt")
    from titans_seq.domains.timeseries.pytorch_forecasting import TitansNetwork

    again = TitansNetwork.from_dataset(data, **SMALL)
    again.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True)["weights"])
    torch.testing.assert_close(again.predict(loader, trainer_kwargs=cpu()), result.output)


def test_several_targets_and_a_loss_of_points():
    from pytorch_forecasting.metrics import MAE

    data = dataset(target=["value", "other"], time_varying_unknown_reals=["value", "other"])
    model = trained(data, epochs=1, loss=MAE())
    values, others = model.predict(data, trainer_kwargs=cpu())
    assert values.shape == others.shape == (len(data), 4)
    assert values.mean() > 0 > others.mean()


def test_short_encoders_are_missing_values_in_front():
    from titans_seq.domains.timeseries.pytorch_forecasting import _align_right

    values = torch.arange(12.0).reshape(2, 3, 2)
    got = _align_right(values, torch.tensor([3, 1]), 4)
    nan = float("nan")
    expected = [[[nan, nan], [0, 1], [2, 3], [4, 5]], [[nan, nan], [nan, nan], [nan, nan], [6, 7]]]
    torch.testing.assert_close(got, torch.tensor(expected), equal_nan=True)


def test_what_it_cannot_take():
    from pytorch_forecasting.metrics import NormalDistributionLoss

    from titans_seq.domains.timeseries.pytorch_forecasting import TitansNetwork

    with pytest.raises(DataError, match="categorical variables are not supported: group"):
        TitansNetwork.from_dataset(dataset(static_categoricals=["group"]), **SMALL)
    with pytest.raises(DataError, match="losses of distributions are not supported"):
        TitansNetwork.from_dataset(dataset(), loss=NormalDistributionLoss(), **SMALL)
