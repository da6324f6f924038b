"""The paper's claims as tests: for each a list of cells, one a layer (or pair of layers) and k."""
import dataclasses

from findings import plan, rules, statistics
from findings.statistics import Effect


@dataclasses.dataclass(frozen=True)
class Test:
    """One way to ask a claim."""
    claim: str  # "C1"
    text: str  # what the paper says
    how: str  # our test
    effect: str  # what the figure is
    correction: str  # over what q was taken
    cells: tuple
    logarithm: bool = False  # the effect is a ratio

    def verdict(self):
        return rules.verdict(self.cells)

    def at(self, k):
        return [cell for cell in self.cells if cell.k == k]

    def pooled(self, k):
        return statistics.pooled([cell.effect for cell in self.at(k)], self.logarithm)

    def ks(self):
        return sorted({cell.k for cell in self.cells})


C1 = "5x5 branches of mixed4a-4e hold animal features"
C4 = "colour sits in the 1x1 branches"
C5 = "similar features keep their branch across layers"


def others(branch):
    return [name for name in plan.BRANCHES if name != branch]


def whole_layer(results, claim, text, concept, branch, steps):
    """Do the latents of a concept have more of their decoder in the branch than other latents have? steps: {k: step}."""
    cells = []
    for k, step in steps.items():
        for layer in results.settings.layers:
            found = results.branches(step, layer)
            cells.append(rules.Cell(layer, k, rules.OPEN) if found is None else
                         whole_layer_cell(found, layer, k, concept, branch))
    return Test(claim, text, f"whole-layer latents: share of the decoder in {branch}, {concept} latents against the others",
                "AUROC", "Benjamini-Hochberg in each layer, over branches, concepts and tests", tuple(cells))


def whole_layer_cell(found, layer, k, concept, branch):
    effect = found.test(concept, branch)
    rivals = [found.test(concept, other) for other in others(branch)]
    direct = [found.direct(concept, branch, other) for other in others(branch)]
    made = [one for one in direct if one is not None]
    control = found.test(concept, branch, "random dictionary")
    return rules.Cell(layer, k, rules.judge(effect, rivals, made, control), effect)


def odds_against(found, concept, branch, rivals):
    """Density-matched odds ratio of being a feature of the concept: the branch's autoencoder against the rivals'."""
    mine = found[branch].marked(concept) if found.get(branch) else None
    theirs = [found[rival].marked(concept) if found.get(rival) else None for rival in rivals]
    if not mine or any(not one for one in theirs):
        return None
    return statistics.density_matched(mine, [latent for one in theirs for latent in one])


def branch_autoencoders(results, claim, text, concept, branch, steps):
    """Are more of the branch's own latents features of the concept than of the other branches' latents?"""
    compared = {}
    for k, step in steps.items():
        for layer in results.settings.layers:
            found = {name: results.branches(step, f"{layer}.{name}") for name in plan.BRANCHES}
            for rivals in (tuple(others(branch)), *((one,) for one in others(branch))):
                compared[k, layer, rivals] = odds_against(found, concept, branch, rivals)
    qs = statistics.adjusted([effect.p if effect else None for effect in compared.values()])
    compared = {key: dataclasses.replace(effect, q=q) if effect else None
                for (key, effect), q in zip(compared.items(), qs)}
    cells = []
    for k in steps:
        for layer in results.settings.layers:
            effect = compared[k, layer, tuple(others(branch))]
            direct = [compared[k, layer, (one,)] for one in others(branch)]
            cells.append(rules.Cell(layer, k, rules.judge(effect, direct=direct), effect))
    test = Test(claim, text, f"the branches' own autoencoders: share of {concept} latents in {branch} against the other three, "
                "matched by firing density", "odds ratio",
                f"Benjamini-Hochberg over {len(compared)} comparisons (layers, k, rivals)", tuple(cells), logarithm=True)
    return test, compared


def agreement(document, similarity, pairing, branch):
    """The entry of match.json for one similarity, pairing and branch; {} when there is none."""
    for one in (document or {}).get("similarities") or []:
        if one.get("name") == similarity and one.get("pairing") == pairing:
            for entry in one.get("agreement") or []:
                if entry.get("branch") == branch:
                    return entry
    return {}


def keeps_branch(results, similarity, branch, steps, pairs, claim="C5", text=C5):
    """Are pairs of like latents of two layers both in the branch more often than chance? Also wanted: more pairs of one
    branch, of the four, than when branches are exchanged among latents of equal density."""
    found = {(k, a, b): agreement(results.match(step, a, b), similarity, "mutual best", branch)
             for k, step in steps.items() for a, b in pairs}
    fisher = statistics.adjusted([entry.get("fisher_p") for entry in found.values()])
    exchanged = statistics.adjusted([entry.get("permutation_p") for entry in found.values()])
    cells = []
    for ((k, a, b), entry), q, q_exchanged in zip(found.items(), fisher, exchanged):
        where = f"{a}, {b}"
        if q is None or entry.get("odds_ratio") is None:
            cells.append(rules.Cell(where, k, rules.OPEN))
            continue
        effect = Effect(entry["odds_ratio"], entry.get("low"), entry.get("high"), entry["fisher_p"], q,
                        entry.get("pairs"), null=1.0)
        cells.append(rules.Cell(where, k, rules.judge(effect, direct=[excess(entry, q_exchanged)]), effect))
    return Test(claim, text, f"pairs of latents of neighbouring layers, each other's best by {similarity}: both in {branch}?",
                "odds ratio", f"Fisher's exact test, Benjamini-Hochberg over {len(found)} (pairs of layers, k)",
                tuple(cells), logarithm=True)


def excess(entry, q):
    """Pairs of one branch beyond those expected by exchange, with the permutation's q; it has no interval."""
    same, expected = entry.get("same_branch"), entry.get("expected_same")
    if same is None or expected is None or q is None:
        return None
    beyond = same - expected
    return Effect(beyond, beyond, beyond, entry.get("permutation_p"), q, entry.get("pairs"))
