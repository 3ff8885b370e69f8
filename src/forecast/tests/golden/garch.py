"""Golden values of GARCH, from arch; writes garch.json beside this file.

Made with Python 3.11, arch 8.0.0, numpy 2.4.6, scipy 1.17.1:
    python -m venv venv && venv/bin/pip install arch==8.0.0 && venv/bin/python garch.py
"""

import json
import pathlib
import platform

import arch
import numpy as np
import scipy
from arch import arch_model

rng = np.random.default_rng(20_260_102)


def simulate(n, mu, omega, alpha, beta, nu=None):
    """A GARCH(1,1) path, its first 200 values thrown away."""
    z = rng.normal(size=n + 200) if nu is None else rng.standard_t(nu, size=n + 200) * np.sqrt((nu - 2) / nu)
    s2, e, y = omega / (1 - alpha - beta), 0.0, []
    for t in range(n + 200):
        s2 = omega + alpha * e * e + beta * s2 if t else s2
        e = np.sqrt(s2) * z[t]
        y.append(mu + e)
    return np.array(y[200:])


NORMAL = simulate(1000, 0.05, 0.1, 0.12, 0.8)
HEAVY = simulate(1000, 0.1, 0.05, 0.08, 0.88, 6.0)
SHORT = simulate(150, 3.0, 2.0, 0.3, 0.4)

out = {"python": platform.python_version(), "arch": arch.__version__, "numpy": np.__version__, "scipy": scipy.__version__, "cases": []}
for name, y, p, q, student in [
    ("normal (1,1)", NORMAL, 1, 1, False),
    ("normal (2,1)", NORMAL, 2, 1, False),
    ("normal (1,2)", NORMAL, 1, 2, False),
    ("normal (1,0)", NORMAL, 1, 0, False),
    ("Student (1,1)", HEAVY, 1, 1, True),
    ("normal on heavy tails", HEAVY, 1, 1, False),
    ("Student (1,1), thousandths", HEAVY / 1000, 1, 1, True),
    ("short", SHORT, 1, 1, False),
]:
    scale = 1000.0 if "thousandths" in name else 1.0
    # arch fits best near unit size: fitted there and brought back.
    m = arch_model(y * scale, mean="Constant", vol="GARCH", p=p, q=q, dist="t" if student else "normal", rescale=False)
    fit = m.fit(disp="off", cov_type="classic", options={"ftol": 1e-14, "maxiter": 5000}, tol=1e-14)
    ahead = fit.forecast(horizon=10, reindex=False).variance.values[-1] / scale**2
    nu = float(fit.params["nu"]) if student else None
    quantile = scipy.stats.norm.ppf(0.01) if nu is None else scipy.stats.t.ppf(0.01, nu) * np.sqrt((nu - 2) / nu)
    factor = {"mu": 1 / scale, "omega": 1 / scale**2}
    out["cases"].append({
        "name": name, "series": list(map(float, y)), "p": p, "q": q, "student": student,
        "loglik": float(fit.loglikelihood + len(y) * np.log(scale)),
        "params": {k: float(v * factor.get(k, 1.0)) for k, v in fit.params.items()},
        "errors": {k: float(v * factor.get(k, 1.0)) for k, v in fit.std_err.items()},
        "variances": list(map(float, ahead)),
        "value_at_risk_1_percent": float(-(fit.params["mu"] / scale + quantile * np.sqrt(ahead[0]))),
    })
    print(name, out["cases"][-1]["loglik"], dict(fit.params))

pathlib.Path(__file__).with_name("garch.json").write_text(json.dumps(out) + "\n")
