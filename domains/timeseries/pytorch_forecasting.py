"""The forecasting network as a model of pytorch-forecasting: its data sets, losses, trainer and predictions.

Axes: B batch, C targets, L encoder, N tokens, H decoder, Q quantile levels, K real covariates, F of them known ahead.
"""

from typing import Any, Self

import torch
from pytorch_forecasting.data import TimeSeriesDataSet
from pytorch_forecasting.metrics import DistributionLoss, MultiHorizonMetric, MultiLoss, QuantileLoss
from pytorch_forecasting.models import BaseModel
from torch import Tensor, nn

from titans_seq.backbone import BackboneConfig
from titans_seq.domains.timeseries.linear import LinearConfig
from titans_seq.domains.timeseries.network import ForecastConfig, ForecastNetwork
from titans_seq.domains.timeseries.reading import Places, Reader
from titans_seq.domains.timeseries.tokens import Table
from titans_seq.errors import DataError


class TitansNetwork(BaseModel):  # type: ignore[misc]
    """A `ForecastNetwork` that is made by `from_dataset`, trained and asked by pytorch-forecasting's own tools.

    It reads an encoder window in patches, from its middle on; the linear path is trained with the rest.

    Any loss of points works, and `QuantileLoss`, the default, whose quantiles then cannot cross. Real variables beside
    the targets are covariates of the past, or known ahead, as the data set says; categorical ones are refused.

    Args:
        context, horizon: the longest encoder and decoder.
        target_places: columns of the targets among the real variables.
        past_places, future_places: columns of the covariates, known in the past only, or ahead.
        variant, dim, layers, heads, chunk_size, patch, dropout: see `TitansForecaster`.
        output_size: of each target, as `from_dataset` finds it.
        loss: a metric of pytorch-forecasting; MultiLoss for several targets.
        kwargs: see `pytorch_forecasting.models.BaseModel`.

    Raises:
        DataError: a variable or a loss that the network cannot take.
        ValueError: a size is out of range.
    """

    def __init__(
        self,
        context: int,
        horizon: int,
        target_places: list[int],
        past_places: list[int],
        future_places: list[int],
        variant: str = "lmm",
        dim: int = 32,
        layers: int = 2,
        heads: int = 2,
        chunk_size: int = 16,
        patch: int = 8,
        dropout: float = 0.2,
        output_size: int | list[int] = 1,
        loss: MultiHorizonMetric | None = None,
        logging_metrics: nn.ModuleList | None = None,
        **kwargs: Any,
    ) -> None:
        loss = QuantileLoss() if loss is None else loss
        logging_metrics = nn.ModuleList() if logging_metrics is None else logging_metrics
        self.save_hyperparameters(ignore=["loss", "logging_metrics"])
        super().__init__(loss=loss, logging_metrics=logging_metrics, **kwargs)
        parts = list(loss.metrics) if isinstance(loss, MultiLoss) else [loss]
        if any(isinstance(part, DistributionLoss) for part in parts):
            raise DataError("losses of distributions are not supported: take QuantileLoss or a loss of points")
        self.wanted = [tuple(part.quantiles) if isinstance(part, QuantileLoss) else (0.5,) for part in parts]
        levels = tuple(sorted({q for part in self.wanted for q in part}))
        look_back = max(1, (context + 1) // 2)
        patch = min(patch, look_back)
        config = ForecastConfig(
            context=look_back,
            horizon=horizon,
            patch=patch,
            dropout=dropout,
            quantiles=levels,
            channels=len(target_places),
            past_features=len(past_places),
            future_features=len(future_places),
            backbone=BackboneConfig(
                variant=variant,  # type: ignore[arg-type]
                dim=dim,
                layers=layers,
                heads=heads,
                chunk_size=chunk_size,
                dropout=dropout,
            ),
        )
        self.network = ForecastNetwork(config)
        linear = LinearConfig(
            context=look_back,
            horizon=horizon,
            location="last",
            season=1,
            penalty=1.0,
            sharing=None,
            half_life=None,
            learns=False,
        )
        self.reader = Reader(config, linear)
        self.weights = nn.Parameter(torch.zeros(1, look_back + 1, horizon))

    @classmethod
    def from_dataset(cls, dataset: TimeSeriesDataSet, **kwargs: Any) -> Self:
        """Return a network for a data set's variables and lengths; `kwargs` as in the class.

        Raises:
            DataError: a categorical variable, or a target that is one.
        """
        if dataset.flat_categoricals:
            raise DataError(f"categorical variables are not supported: {', '.join(dataset.flat_categoricals)}")
        missing = [name for name in dataset.target_names if name not in dataset.reals]
        if missing:
            raise DataError(f"target {missing[0]!r} is not among the data set's time_varying_unknown_reals")
        ahead = set(dataset._time_varying_known_reals) | set(dataset._static_reals)
        reals = list(enumerate(dataset.reals))
        found = {
            "context": dataset.max_encoder_length,
            "horizon": dataset.max_prediction_length,
            "target_places": [dataset.reals.index(name) for name in dataset.target_names],
            "past_places": [i for i, name in reals if name not in ahead and name not in dataset.target_names],
            "future_places": [i for i, name in reals if name in ahead],
        }
        deduced = cls.deduce_default_output_parameters(dataset, kwargs, QuantileLoss())
        model = super().from_dataset(dataset, **(found | kwargs | deduced))
        assert isinstance(model, cls)
        return model

    def forward(self, x: dict[str, Any]) -> Any:
        """Return the predictions of a batch of a TimeSeriesDataSet, (B, H, outputs) for each target."""
        hparams = self.hparams
        encoder, decoder = _align_right(x["encoder_cont"], x["encoder_lengths"], hparams.context), x["decoder_cont"]
        steps = torch.arange(decoder.shape[1], device=decoder.device)
        decoder = decoder.masked_fill((steps >= x["decoder_lengths"].unsqueeze(1)).unsqueeze(-1), torch.nan)
        covariates = None
        if hparams.past_places or hparams.future_places:
            places = [*hparams.past_places, *hparams.future_places]
            known = decoder.new_full((*decoder.shape[:2], len(places)), torch.nan)
            known[..., len(hparams.past_places) :] = decoder[..., hparams.future_places]
            covariates = torch.cat([encoder[..., places], known], 1)
        out = self._forecast(encoder[..., hparams.target_places], covariates)[:, :, : decoder.shape[1]]  # (B, C, H, Q)
        levels = self.network.config.levels
        predictions = [out[:, c][..., [levels.index(q) for q in wanted]] for c, wanted in enumerate(self.wanted)]
        prediction: Tensor | list[Tensor] = predictions if self.n_targets > 1 else predictions[0]
        prediction = self.transform_output(prediction, target_scale=x["target_scale"])
        return self.to_network_output(prediction=prediction)

    def _forecast(self, past: Tensor, covariates: Tensor | None) -> Tensor:
        """Return the forecast (B, C, H, Q) behind encoder windows (B, L, C), with covariates (B, L + H, K) or none."""
        reader, (batch, size, channels) = self.reader, past.shape
        others = None if covariates is None else list(covariates.cpu())
        table = Table(list(past.cpu()), reader.front, reader.config.horizon, others)
        count = (size - self.reader.linear.context) // reader.patch + 1
        ends = size - reader.patch * torch.arange(count).flip(0)
        series, channel = table.streams
        ends = ends.expand(len(series), -1)
        places = Places(series, channel, ends, torch.full_like(ends, reader.patch))
        reading = reader.read(table, places, self.weights.cpu()).to(past.device)
        offsets, _ = self.network(reading.tokens)
        forecast: Tensor = reading.forecast(offsets)[:, -1].unflatten(0, (batch, channels))
        return forecast


def _align_right(values: Tensor, lengths: Tensor, size: int) -> Tensor:
    """Return values (B, T, K), padded behind `lengths` rows, as (B, size, K) with NaN in front of them."""
    steps = torch.arange(size, device=values.device) - (size - lengths.unsqueeze(1))
    rows = steps.clamp(0, values.shape[1] - 1).unsqueeze(-1).expand(-1, -1, values.shape[2])
    return values.gather(1, rows).masked_fill((steps < 0).unsqueeze(-1), torch.nan)
