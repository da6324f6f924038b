"""C5 on the page: pairs of latents of neighbouring layers, of two seeds, and the joined layers."""
from findings import claims, statistics
from findings.tables import MISSING, figure, probability, table, with_interval


def matches(results, tests):
    settings = results.settings
    rows = []
    for k in settings.match_ks:
        for step, pairs, kind in ((f"match-k{k}", settings.pairs(), ""),
                                  (f"seeds-k{k}", [(tap, tap) for tap in settings.second_seed], "two seeds: ")):
            for a, b in pairs:
                document = results.match(step, a, b)
                for similarity in ("correlation", "class profile"):
                    rows += match_rows(document, k, f"{kind}{a}" if kind else f"{a}, {b}", similarity)
    verdicts = "; ".join(f"{t.how}: {t.verdict()}" for t in tests)
    text = (
        f"## C5: {claims.C5}\n\nTwo latents are a pair when each is the other's best and their similarity is above the "
        "99.9th "
        "percentile of pairs of shuffled images. Odds ratio: both dominated by 5x5. kappa: agreement of the four "
        "branches beyond chance; same branch: how many pairs, and how many when branches are exchanged among "
        f"latents of equal density. Two seeds of one layer are the ceiling. {verdicts}.\n\n")
    if not rows:
        return text + "Not measured.\n"
    columns = ("layers", ">k", "similarity", ">pairs", ">5x5: odds ratio", ">Fisher p", ">kappa", ">Cramér's V",
               ">Spearman (p)", ">same branch / expected", ">p", ">hold on other half")
    return text + table(columns, rows)


def match_rows(document, k, where, similarity):
    entry = claims.agreement(document, similarity, "mutual best", "5x5")
    if not entry:
        return []
    same = f"{figure(entry.get('same_branch'))} / {figure(entry.get('expected_same'))}"
    interval = statistics.Effect(entry.get("odds_ratio"), entry.get("low"), entry.get("high"), null=1.0)
    halves = next((one.get("split_halves") or {} for one in document.get("similarities") or []
                   if (one.get("name"), one.get("pairing")) == (similarity, "mutual best")), {})
    held = f"{figure(halves.get('hold'))} of {figure(halves.get('pairs'))}" if halves else MISSING
    return [(where, k, similarity, figure(entry.get("pairs")), with_interval(interval, 2),
             probability(entry.get("fisher_p")), figure(entry.get("kappa")), figure(entry.get("cramers_v")),
             f"{figure(entry.get('spearman'))} ({probability(entry.get('spearman_p'))})", same,
             probability(entry.get("permutation_p")), held)]
