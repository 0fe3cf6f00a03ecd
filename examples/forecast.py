"""Forecast the embedded weather, with intervals, new rows and a backtest.

python examples/forecast.py
"""

from titans_seq import TitansForecaster
from titans_seq.domains.timeseries import load_weather

y = load_weather()
y = y[y["ds"] >= "2013-11-15"][["unique_id", "ds", "temp", "wind_speed"]]
known, new = y[y["ds"] < "2013-12-29"], y[y["ds"] >= "2013-12-29"]

model = TitansForecaster(horizon=24, max_epochs=2, random_state=0).fit(known)
print(model.predict_interval(coverage=[0.5, 0.9]).head(3).to_string(index=False))

model.update(new)  # no training: the forecast now begins behind the new rows
print(model.predict().head(3).to_string(index=False))

errors = model.backtest(y, n_windows=5)
errors["error"] = (errors["forecast"] - errors["y"]).abs()
print(errors.groupby(["unique_id", "channel"])["error"].mean().round(2).to_string())
