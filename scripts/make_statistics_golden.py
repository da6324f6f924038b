#!/usr/bin/env python3
"""Writes tests/golden/statistics.json: random cases, ties included, with what SciPy makes of them.

    pip install scipy numpy && python scripts/make_statistics_golden.py

Seeded; tests/analysis compares our statistics with it to 1e-10. Cohen's kappa, which SciPy lacks, is written out here.
"""
import json
import pathlib

import numpy as np
import scipy
from scipy import stats
from scipy.stats import contingency

CASES = 40


def scores_with_ties(rng, n):
    values = rng.normal(size=n)
    if rng.random() < 0.7:
        values = np.round(values, int(rng.integers(0, 3)))
    if rng.random() < 0.5:
        values = np.maximum(values, 0)  # as activations: most are zero
    return values


def rank_case(rng):
    n = int(rng.integers(5, 200))
    scores, labels = scores_with_ties(rng, n), rng.random(n) < rng.uniform(0.1, 0.9)
    labels[:2] = [True, False]
    scores[:2] = [0.5, -0.5]
    test = stats.mannwhitneyu(scores[labels], scores[~labels], use_continuity=False, method="asymptotic")
    return {"scores": scores.tolist(), "labels": labels.astype(int).tolist(), "p": test.pvalue,
            "auroc": test.statistic / (labels.sum() * (~labels).sum()),
            "point_biserial": stats.pointbiserialr(labels, scores).statistic}


def spearman_case(rng):
    n = int(rng.integers(4, 150))
    x = scores_with_ties(rng, n)
    y = x * rng.choice([-1, 0, 1]) + scores_with_ties(rng, n)
    x[:2], y[:2] = [1.5, -1.5], [0.25, -0.75]
    test = stats.spearmanr(x, y)
    return {"x": x.tolist(), "y": y.tolist(), "rho": test.statistic, "p": test.pvalue}


def hypergeometric_case(rng):
    population = int(rng.choice([20, 256, 1000, 21000]))
    marked, draws = int(rng.integers(0, population + 1)), int(rng.integers(0, min(population, 60) + 1))
    hits = int(rng.integers(0, draws + 2))
    return {"hits": hits, "draws": draws, "marked": marked, "population": population,
            "p": float(stats.hypergeom.sf(hits - 1, population, marked, draws))}


def fisher_case(rng):
    table = rng.integers(0, int(rng.choice([5, 40, 400])), size=(2, 2))
    return {"table": table.tolist(), "p": {side: stats.fisher_exact(table, side)[1] for side in
                                           ("two-sided", "greater", "less")}}


def chi_square_case(rng):
    table = rng.integers(1, int(rng.choice([4, 50])), size=rng.integers(2, 6, size=2))
    test = stats.chi2_contingency(table, correction=False)
    return {"table": table.tolist(), "statistic": test.statistic, "p": test.pvalue, "degrees": int(test.dof),
            "cramers_v": contingency.association(table, method="cramer")}


def kappa_case(rng):
    size = int(rng.integers(2, 6))
    table = rng.integers(0, 30, size=(size, size)) + np.diag(rng.integers(0, 60, size=size))
    share = table / table.sum()
    chance = (share.sum(0) * share.sum(1)).sum()
    return {"table": table.tolist(), "kappa": (np.trace(share) - chance) / (1 - chance)}


def false_discovery_case(rng):
    p = np.round(rng.random(int(rng.integers(1, 60))) ** rng.integers(1, 5), int(rng.integers(2, 12)))
    return {"p": p.tolist(), "q": stats.false_discovery_control(p).tolist()}


def main():
    makers = {"ranks": rank_case, "spearman": spearman_case, "hypergeometric": hypergeometric_case, "fisher": fisher_case,
              "chi_square": chi_square_case, "kappa": kappa_case, "false_discovery": false_discovery_case}
    golden = {"scipy": scipy.__version__, "numpy": np.__version__}
    for seed, (name, make) in enumerate(makers.items()):
        rng = np.random.default_rng(seed)
        golden[name] = [make(rng) for _ in range(CASES)]
    path = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "statistics.json"
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(f"{path.stat().st_size} bytes: {path}")


if __name__ == "__main__":
    main()
