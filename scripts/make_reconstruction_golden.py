#!/usr/bin/env python3
"""Writes tests/golden/reconstruction.json: random tokens with reconstructions, and what NumPy makes of them by the
formulas that SAELens, dictionary_learning and overcomplete print under the same names.

    pip install numpy && python scripts/make_reconstruction_golden.py

Seeded; tests/analysis compares our figures with it to 1e-10. Some tokens are zero and some are the mean, where those
libraries divide by zero: they take no part in the means here.
"""
import json
import pathlib

import numpy as np

CASES = 12


def tokens(rng):
    count, width = int(rng.integers(3, 60)), int(rng.integers(1, 24))
    x = np.maximum(rng.normal(rng.uniform(-1, 2), rng.uniform(0.1, 3), size=(count, width)), 0)
    x[rng.random(count) < 0.2] = 0  # as of a branch that is silent there
    return (x * 10 ** rng.uniform(-3, 3)).astype(np.float32)


def figures(x, x_hat):
    x, x_hat = x.astype(np.float64), x_hat.astype(np.float64)
    error, norm = x - x_hat, np.linalg.norm(x, axis=1)
    distance = ((x - x.mean(axis=0)) ** 2).sum(axis=1)
    per_token, lit = (error ** 2).sum(axis=1), norm > 0
    return {"explained_variance_centred": 1 - error.var(axis=0).sum() / x.var(axis=0).sum(),
            "explained_variance_by_token": (1 - per_token[distance > 0] / distance[distance > 0]).mean(),
            "explained_variance_one_mean": 1 - (error ** 2).mean() / ((x - x.mean()) ** 2).mean(),
            "relative_error": (np.sqrt(per_token[lit]) / norm[lit]).mean(),
            "norm_ratio": (np.linalg.norm(x_hat, axis=1)[lit] / norm[lit]).mean(),
            "reconstruction_bias": (x_hat ** 2).sum() / (x * x_hat).sum(),
            "error_norm": np.sqrt(per_token).mean(),
            "squared_error_norm": per_token.mean()}


def case(rng):
    x = tokens(rng)
    noise = rng.normal(rng.uniform(-0.2, 0.2), rng.uniform(0.01, 0.6), size=x.shape)
    x_hat = (x * rng.uniform(0.7, 1.1) + noise * x.std()).astype(np.float32)
    # float32 numbers are exact as decimals of nine digits.
    rows = [[float(f"{v:.9g}") for v in row] for row in x.tolist()], [[float(f"{v:.9g}") for v in row] for row in x_hat.tolist()]
    return {"x": rows[0], "x_hat": rows[1], "figures": figures(x, x_hat)}


def main():
    rng = np.random.default_rng(0)
    golden = {"numpy": np.__version__, "cases": [case(rng) for _ in range(CASES)]}
    path = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "reconstruction.json"
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(f"{path.stat().st_size} bytes: {path}")


if __name__ == "__main__":
    main()
