"""Golden values of exponential smoothing and Theta, from statsmodels.

    python -m venv venv && venv/bin/pip install statsmodels==0.14.6
    venv/bin/python ets.py > ets.json

For each model: its parameters and initial states as statsmodels fitted them (states in the order of the observations
they serve), the log-likelihood and one-step forecasts there, the forecasts and, where statsmodels has a formula for
them, the bounds of the 95 % intervals.
"""

import json
import sys

import numpy as np
import pandas as pd
import statsmodels
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.forecasting.theta import ThetaModel

AIR = [
    112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118, 115, 126, 141, 135, 125, 149, 170, 170, 158, 133, 114,
    140, 145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166, 171, 180, 193, 181, 183, 218, 230, 242, 209, 191,
    172, 194, 196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201, 204, 188, 235, 227, 234, 264, 302, 293, 259,
    229, 203, 229, 242, 233, 267, 269, 270, 315, 364, 347, 312, 274, 237, 278, 284, 277, 317, 313, 318, 374, 413, 405,
    355, 306, 271, 306, 315, 301, 356, 348, 355, 422, 465, 467, 404, 347, 305, 336, 340, 318, 362, 348, 363, 435, 491,
    505, 404, 359, 310, 337, 360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405, 417, 391, 419, 461, 472, 535,
    622, 606, 508, 461, 390, 432,
]
NAMES = {"N": None, "A": "add", "M": "mul"}
MODELS = ["ANN", "AAN", "AAdN", "ANA", "AAA", "AAdA", "MNN", "MAN", "MAdN", "MNM", "MAM", "MAdM", "MAA", "MMN"]


def fit(code):
    error, trend, seasonal = code[0], code[1], code[-1]
    damped = "d" in code
    y = pd.Series(AIR, dtype=float)
    model = ETSModel(
        y, error=NAMES[error], trend=NAMES[trend], damped_trend=damped, seasonal=NAMES[seasonal],
        seasonal_periods=12 if seasonal != "N" else None,
    )
    result = model.fit(disp=False, maxiter=5000)
    values = dict(zip(result.param_names, map(float, result.params)))
    season = [values[f"initial_seasonal.{i}"] for i in reversed(range(12))] if seasonal != "N" else []
    prediction = result.get_prediction(start=len(y), end=len(y) + 11)
    out = {
        "model": f"ETS({error},{trend}{'d' if damped else ''},{seasonal})",
        "alpha": values["smoothing_level"],
        "beta": values.get("smoothing_trend", 0.0),
        "gamma": values.get("smoothing_seasonal", 0.0),
        "phi": values.get("damping_trend", 1.0),
        "level": values["initial_level"],
        "growth": values.get("initial_trend", 1.0 if trend == "M" else 0.0),
        "season": season,
        "loglik": float(result.llf),
        "fitted": [float(v) for v in result.fittedvalues[-12:]],
        "forecast": [float(v) for v in np.asarray(result.forecast(12))],
    }
    if error == "A" and trend != "M" and seasonal != "M":
        bounds = prediction.summary_frame(alpha=0.05)
        out["lower"] = [float(v) for v in bounds["pi_lower"]]
        out["upper"] = [float(v) for v in bounds["pi_upper"]]
    return out


def theta():
    result = ThetaModel(pd.Series(AIR, dtype=float), period=12, method="mul").fit()
    return {"alpha": float(result.params["alpha"]), "forecast": [float(v) for v in result.forecast(12, theta=2)]}


if __name__ == "__main__":
    json.dump(
        {"statsmodels": statsmodels.__version__, "series": AIR, "ets": [fit(m) for m in MODELS], "theta": theta()},
        sys.stdout,
        indent=1,
    )
