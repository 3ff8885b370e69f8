"""Golden values of the ARIMA family, from statsmodels; writes arima.json beside this file.

Made with Python 3.11, statsmodels 0.14.6, numpy 2.4.6, scipy 1.17.1:
    python -m venv venv && venv/bin/pip install statsmodels==0.14.6 && venv/bin/python arima.py

loglik_fixed: log-likelihood of the differenced series (simple_differencing=True) at the parameters given.
loglik_fitted: the best of three optimisers, so that it is a bar to reach.
forecast: levels (simple_differencing=False, started so diffusely that nothing but the first observations matters).
"""

import json
import pathlib
import platform
import warnings

import numpy as np
import scipy
import statsmodels
from statsmodels.tsa.statespace.sarimax import SARIMAX

warnings.simplefilter("ignore")

# Box and Jenkins (1976), series G: international airline passengers, thousands, 1949-1960.
AIR = np.array(
    """112 118 132 129 121 135 148 148 136 119 104 118 115 126 141 135 125 149 170 170 158 133 114 140
    145 150 178 163 172 178 199 199 184 162 146 166 171 180 193 181 183 218 230 242 209 191 172 194
    196 196 236 235 229 243 264 272 237 211 180 201 204 188 235 227 234 264 302 293 259 229 203 229
    242 233 267 269 270 315 364 347 312 274 237 278 284 277 317 313 318 374 413 405 355 306 271 306
    315 301 356 348 355 422 465 467 404 347 305 336 340 318 362 348 363 435 491 505 404 359 310 337
    360 342 406 396 420 472 548 559 463 407 362 405 417 391 419 461 472 535 622 606 508 461 390 432""".split(),
    float,
)
LOG = np.log(AIR)

rng = np.random.default_rng(20_260_101)
SHOCKS = rng.normal(size=400)


def arma(phi, theta, n):
    """A simulated ARMA series, the first 50 values thrown away."""
    y, e = np.zeros(n + 50), SHOCKS[: n + 50]
    for t in range(n + 50):
        y[t] = e[t] + sum(p * y[t - i - 1] for i, p in enumerate(phi) if t > i)
        y[t] += sum(q * e[t - i - 1] for i, q in enumerate(theta) if t > i)
    return y[50:]


ARMA = 10 + arma([0.7, -0.2], [0.5], 120)
REGRESSOR = np.sin(np.arange(144) * 0.9) + 0.01 * np.arange(144)
RIDDLED = LOG.copy()
RIDDLED[[20, 45, 46, 47, 90, 141]] = np.nan

# name, series, (p,d,q), (P,D,Q,m), mean, drift, regressor, fixed ARMA parameters (ours: ar, ma, seasonal ar, seasonal ma)
CASES = [
    ("airline ARIMA(2,1,1)", AIR, (2, 1, 1), (0, 0, 0, 0), False, None, [1.1, -0.5, -0.8]),
    ("log airline model", LOG, (0, 1, 1), (0, 1, 1, 12), False, None, [-0.4, -0.6]),
    ("log airline, all four", LOG, (1, 1, 1), (1, 1, 1, 12), False, None, [0.2, -0.5, -0.1, -0.5]),
    ("log airline, near cancelling", LOG, (1, 1, 1), (0, 1, 1, 12), False, None, [0.97, -0.99, -0.95]),
    ("log airline, higher orders", LOG, (3, 1, 2), (2, 0, 1, 12), False, None, [0.3, 0.1, -0.2, 0.4, 0.2, 0.5, 0.3, -0.4]),
    ("second differences", AIR, (1, 2, 1), (0, 0, 0, 0), False, None, [0.3, -0.9]),
    ("ARMA with mean", ARMA, (2, 0, 1), (0, 0, 0, 0), True, None, [0.6, -0.1, 0.4]),
    ("ARMA without mean", ARMA - 10, (2, 0, 1), (0, 0, 0, 0), False, None, [0.6, -0.1, 0.4]),
    ("autoregression near a unit root", ARMA - 10, (1, 0, 0), (0, 0, 0, 0), False, None, [0.9999]),
    ("regressor", AIR, (1, 1, 1), (0, 1, 1, 12), False, REGRESSOR, [0.5, -0.7, -0.3]),
    ("missing values", RIDDLED, (0, 1, 1), (0, 1, 1, 12), False, None, [-0.4, -0.6]),
    ("missing values, all four", RIDDLED, (1, 1, 1), (1, 1, 1, 12), False, None, [0.2, -0.5, -0.1, -0.5]),
]


def model(series, order, seasonal, mean, regressor, simple, **more):
    exog = None if regressor is None else regressor[: len(series)]
    return SARIMAX(
        series, exog=exog, order=order, seasonal_order=seasonal, trend="c" if mean else None,
        simple_differencing=simple, **more,
    )


def vector(m, mean, beta, fixed, sigma2):
    """statsmodels' order: intercept, regression, ar, ma, seasonal ar, seasonal ma, variance."""
    head = []
    if mean is not None:
        head.append(mean * (1 - sum(fixed[: m.k_ar])))
    return np.array(head + list(beta) + fixed + [sigma2])


def with_best_scale(m, mean, beta, fixed):
    """Mean, regression and variance at their best for fixed ARMA parameters, by an inner optimisation."""
    free = ([] if mean is None else [mean]) + list(beta)

    def at(x, sigma2):
        return vector(m, None if mean is None else x[0], x[0 if mean is None else 1 :], fixed, sigma2)

    def innovations_variance(x):
        r = m.filter(at(x, 1.0))
        burn = 0
        v, f = r.forecasts_error[0][burn:], r.forecasts_error_cov[0, 0][burn:]
        keep = ~np.isnan(v) & (f > 0)
        return float(np.mean(v[keep] ** 2 / f[keep]))

    def loss(x):
        return -m.loglike(at(x, innovations_variance(x)))

    if free:
        found = scipy.optimize.minimize(loss, free, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 4000})
        free = list(found.x)
    sigma2 = innovations_variance(free)
    return at(free, sigma2), sigma2, free


def best_fit(m):
    found = [m.fit(disp=0, maxiter=2000, method=how) for how in ("lbfgs", "bfgs", "nm")]
    found.append(m.fit(found[0].params, disp=0, maxiter=2000, method="nm", xtol=1e-10, ftol=1e-12))
    return max(found, key=lambda r: r.llf)


out = {"python": platform.python_version(), "statsmodels": statsmodels.__version__, "numpy": np.__version__, "cases": []}
for name, series, order, seasonal, mean, regressor, fixed in CASES:
    m = model(series, order, seasonal, mean, regressor, True)
    start_mean = float(np.nanmean(series)) if mean else None
    params, sigma2, free = with_best_scale(m, start_mean, [0.0] if regressor is not None else [], list(fixed))
    fit = best_fit(m)
    errors = fit.model.smooth(fit.params, cov_type="approx").bse
    levels = model(series, order, seasonal, mean, regressor, False, loglikelihood_burn=0)
    ahead = {} if regressor is None else {"exog": np.full((15, 1), regressor[len(series) - 1])}
    forecast = levels.filter(params).get_forecast(15, **ahead)
    out["cases"].append({
        "name": name,
        "series": [None if np.isnan(v) else float(v) for v in series],
        "regressor": None if regressor is None else list(map(float, regressor[: len(series)])),
        "order": order,
        "seasonal_order": seasonal,
        "mean": mean,
        "fixed": list(map(float, fixed)),
        "free": list(map(float, free)),
        "sigma2_fixed": sigma2,
        "loglik_fixed": float(m.loglike(params)),
        "loglik_fixed_double_sigma2": float(m.loglike(np.append(params[:-1], 2 * sigma2))),
        "loglik_fitted": float(fit.llf),
        "params_fitted": dict(zip(m.param_names, map(float, fit.params))),
        "errors_fitted": dict(zip(m.param_names, map(float, errors))),
        "aic_fitted": float(fit.aic),
        "bic_fitted": float(fit.bic),
        "aicc_fitted": float(fit.aicc),
        "forecast_mean": list(map(float, forecast.predicted_mean)),
        "forecast_sd": list(map(float, forecast.se_mean)),
    })
    print(name, out["cases"][-1]["loglik_fixed"], fit.llf, free)

pathlib.Path(__file__).with_name("arima.json").write_text(json.dumps(out, indent=1) + "\n")
