"""The few statistics that the page itself needs: effects of two autoencoders beside each other, and several layers'
effects as one. Everything about one autoencoder comes from the program."""
import dataclasses
import math

Z95 = 1.959963984540054  # the normal distribution's 97.5 % point


@dataclasses.dataclass(frozen=True)
class Effect:
    """A measured effect: on the scale of `null`, where there is none. None where it is not known."""
    value: float
    low: float | None = None  # 95 % confidence interval
    high: float | None = None
    p: float | None = None
    q: float | None = None  # p after the correction
    n: int | None = None  # what was counted: latents, pairs
    null: float = 0.0

    def above(self):
        return self.low is not None and self.low > self.null

    def below(self):
        return self.high is not None and self.high < self.null

    def significant(self, level=0.05):
        return self.q is not None and self.q < level


def two_sided(z):
    return math.erfc(abs(z) / math.sqrt(2))


def both_sides(p, rounds):
    """Two-sided p of a permuted statistic without ties, from its upper p = (1 + as large ones) / (1 + rounds)."""
    return min(1.0, 2 * min(p, 1 + 1 / (1 + rounds) - p))


def woolf(both, first, second, neither):
    """Odds ratio with 0.5 in every cell, its interval and normal p (Haldane 1956, Anscombe 1956, Woolf 1955)."""
    a, b, c, d = (x + 0.5 for x in (both, first, second, neither))
    log, error = math.log(a * d / (b * c)), math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    return Effect(math.exp(log),
                  math.exp(log - Z95 * error),
                  math.exp(log + Z95 * error),
                  two_sided(log / error),
                  n=both + first + second + neither,
                  null=1.0)


def mantel_haenszel(strata):
    """The odds ratio common to 2 x 2 tables (a, b, c, d): Mantel and Haenszel 1959; its interval by Robins, Breslow
    and Greenland 1986; p of their chi-square without continuity correction. Where a sum is zero the tables are added
    up and woolf() is taken. None when there is nothing to compare."""
    strata = [s for s in strata if s[0] + s[1] and s[2] + s[3] and s[0] + s[2] and s[1] + s[3]]
    if not strata:
        return None
    r = s = pr = mixed = qs = excess = variance = 0.0
    for a, b, c, d in strata:
        n = a + b + c + d
        p_n, q_n, r_n, s_n = (a + d) / n, (b + c) / n, a * d / n, b * c / n
        r, s = r + r_n, s + s_n
        pr, mixed, qs = pr + p_n * r_n, mixed + p_n * s_n + q_n * r_n, qs + q_n * s_n
        excess += a - (a + b) * (a + c) / n
        variance += (a + b) * (c + d) * (a + c) * (b + d) / (n * n * (n - 1)) if n > 1 else 0
    total = sum(sum(table) for table in strata)
    if r == 0 or s == 0 or variance == 0:
        return woolf(*(sum(table[i] for table in strata) for i in range(4)))
    error = math.sqrt(pr / (2 * r * r) + mixed / (2 * r * s) + qs / (2 * s * s))
    log = math.log(r / s)
    return Effect(math.exp(log),
                  math.exp(log - Z95 * error),
                  math.exp(log + Z95 * error),
                  two_sided(excess / math.sqrt(variance)),
                  n=total,
                  null=1.0)


def density_matched(marked_a, marked_b, parts=10):
    """Odds ratio of being marked, a's latents against b's, within `parts` equal parts of both's firing densities.
    marked_*: [(density, marked)] of live latents. None when a side is empty or nobody or everybody is marked."""
    pooled = sorted(density for density, _ in marked_a + marked_b)
    if not marked_a or not marked_b:
        return None
    edges = [pooled[len(pooled) * i // parts] for i in range(1, parts)]
    strata = [[0, 0, 0, 0] for _ in range(parts)]
    for offset, side in ((0, marked_a), (2, marked_b)):
        for density, marked in side:
            strata[sum(density >= edge for edge in edges)][offset + (not marked)] += 1
    return mantel_haenszel([tuple(table) for table in strata])


def adjusted(ps):
    """Benjamini and Hochberg's q of each p; None stays None and does not count."""
    known = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    qs, least = [None] * len(ps), 1.0
    for rank in range(len(known), 0, -1):
        p, i = known[rank - 1]
        least = min(least, p * len(known) / rank)
        qs[i] = least
    return qs


def with_q(effects):
    """{key: Effect or None} with q over all of them."""
    qs = adjusted([effect.p if effect else None for effect in effects.values()])
    return {
        key: dataclasses.replace(effect, q=q) if effect else None
        for (key, effect), q in zip(effects.items(), qs)
    }


def pooled(effects, logarithm=False):
    """Several layers' effects as one, with the spread between layers in its interval: random effects of DerSimonian
    and Laird 1986, standard errors from the intervals. `logarithm`: for odds ratios. None without any interval."""
    shape, back = (math.log, math.exp) if logarithm else (float, float)
    known = [
        e for e in effects
        if e and e.low is not None and e.high is not None and e.high > e.low and (not logarithm or e.low > 0)
    ]
    if not known:
        return None
    values = [shape(e.value) for e in known]
    weights = [(2 * Z95 / (shape(e.high) - shape(e.low)))**2 for e in known]
    total = sum(weights)
    centre = sum(w * v for w, v in zip(weights, values)) / total
    heterogeneity = sum(w * (v - centre)**2 for w, v in zip(weights, values))
    spread = total - sum(w * w for w in weights) / total
    between = max(0.0, (heterogeneity - len(known) + 1) / spread) if spread > 0 else 0.0
    weights = [1 / (1 / w + between) for w in weights]
    centre = sum(w * v for w, v in zip(weights, values)) / sum(weights)
    error = 1 / math.sqrt(sum(weights))
    return Effect(back(centre),
                  back(centre - Z95 * error),
                  back(centre + Z95 * error),
                  two_sided((centre - shape(known[0].null)) / error),
                  n=sum(e.n or 0 for e in known),
                  null=known[0].null)
