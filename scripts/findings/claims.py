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


@dataclasses.dataclass(frozen=True)
class Question:
    """A claim of the form "features of the concept lie in the branch", and the results that answer it."""
    claim: str
    text: str
    concept: str
    branch: str
    steps: dict  # {k: step of `branches`}
    images: str  # which were looked at


@dataclasses.dataclass(frozen=True)
class WholeLayers:
    """A test of whole layers with all that stands beside it; q over all layers and k."""
    question: Question
    effects: dict  # {(k, layer, branch): Effect or None}
    direct: dict  # {(k, layer, rival): the claimed branch's lead over it}
    control: dict  # {(k, layer): the same test on a random dictionary}
    test: Test


def whole_layers(results, question):
    """Do a concept's latents have more of their decoder in the branch than other latents have?"""
    concept, branch = question.concept, question.branch
    effects, direct, control = {}, {}, {}
    for k, step in question.steps.items():
        for layer in results.settings.layers:
            found = results.branches(step, layer)
            for name in plan.BRANCHES:
                effects[k, layer, name] = found.test(concept, name) if found else None
            for rival in others(branch):
                direct[k, layer, rival] = found.direct(concept, branch, rival) if found else None
            control[k, layer] = found.test(concept, branch, "random dictionary") if found else None
    effects, direct, control = map(statistics.with_q, (effects, direct, control))
    cells = []
    for k, layer in control:
        says = rules.judge(effects[k, layer, branch], [effects[k, layer, other] for other in others(branch)],
                           [direct[k, layer, other] for other in others(branch)], control[k, layer])
        cells.append(rules.Cell(layer, k, says, effects[k, layer, branch]))
    how = (f"latents of whole layers, {question.images}: share of the decoder in {branch}, those of {concept} against "
           "the others")
    correction = ("permutation within densities, two-sided; Benjamini-Hochberg over "
                  f"{len(effects)} (layers, k, branches)")
    test = Test(question.claim, question.text, how, "AUROC", correction, tuple(cells))
    return WholeLayers(question, effects, direct, control, test)


def odds_against(found, concept, branch, rivals):
    """Density-matched odds ratio of being a feature of the concept: the branch's autoencoder against the rivals'."""
    mine = found[branch].marked(concept) if found.get(branch) else None
    theirs = [found[rival].marked(concept) if found.get(rival) else None for rival in rivals]
    if not mine or any(not one for one in theirs):
        return None
    return statistics.density_matched(mine, [latent for one in theirs for latent in one])


@dataclasses.dataclass(frozen=True)
class OwnAutoencoders:
    """A test of the branches' own autoencoders; q over all comparisons."""
    question: Question
    odds: dict  # {(k, layer, rivals): Effect or None}
    test: Test


def own_autoencoders(results, question):
    """Are more of the branch's own latents features of the concept than of the other branches' latents?"""
    branch, odds = question.branch, {}
    for k, step in question.steps.items():
        for layer in results.settings.layers:
            found = {name: results.branches(step, f"{layer}.{name}") for name in plan.BRANCHES}
            for rivals in (tuple(others(branch)), *((one, ) for one in others(branch))):
                odds[k, layer, rivals] = odds_against(found, question.concept, branch, rivals)
    odds = statistics.with_q(odds)
    cells = []
    for k in question.steps:
        for layer in results.settings.layers:
            effect = odds[k, layer, tuple(others(branch))]
            direct = [odds[k, layer, (one, )] for one in others(branch)]
            cells.append(rules.Cell(layer, k, rules.judge(effect, direct=direct), effect))
    how = (f"autoencoders of single branches, {question.images}: share of {question.concept} latents in {branch} "
           "against the other three, matched by firing density")
    correction = f"Mantel and Haenszel's chi-square; Benjamini-Hochberg over {len(odds)} (layers, k, rivals)"
    test = Test(question.claim, question.text, how, "odds ratio", correction, tuple(cells), logarithm=True)
    return OwnAutoencoders(question, odds, test)


def agreement(document, similarity, pairing, branch):
    """The entry of match.json for one similarity, pairing and branch; {} when there is none."""
    for one in (document or {}).get("similarities") or []:
        if one.get("name") == similarity and one.get("pairing") == pairing:
            for entry in one.get("agreement") or []:
                if entry.get("branch") == branch:
                    return entry
    return {}


def keeps_branch(results, similarity, branch, steps, pairs, claim="C5", text=C5):
    """Are pairs of like latents of two layers both in the branch more often than chance? Also wanted: more pairs of
    one branch, of the four, than when branches are exchanged among latents of equal density."""
    found = {
        (k, a, b): agreement(results.match(step, a, b), similarity, "mutual best", branch)
        for k, step in steps.items()
        for a, b in pairs
    }
    fisher = statistics.adjusted([entry.get("fisher_p") for entry in found.values()])
    exchanged = statistics.adjusted([entry.get("permutation_p") for entry in found.values()])
    cells = []
    for ((k, a, b), entry), q, q_exchanged in zip(found.items(), fisher, exchanged):
        where = f"{a}, {b}"
        if q is None or entry.get("odds_ratio") is None:
            cells.append(rules.Cell(where, k, rules.OPEN))
            continue
        effect = Effect(entry["odds_ratio"],
                        entry.get("low"),
                        entry.get("high"),
                        entry["fisher_p"],
                        q,
                        entry.get("pairs"),
                        null=1.0)
        cells.append(rules.Cell(where, k, rules.judge(effect, direct=[excess(entry, q_exchanged)]), effect))
    return Test(claim,
                text,
                f"pairs of latents of neighbouring layers, each other's best by {similarity}: both in {branch}?",
                "odds ratio",
                f"Fisher's exact test, Benjamini-Hochberg over {len(found)} (pairs of layers, k)",
                tuple(cells),
                logarithm=True)


def excess(entry, q):
    """Pairs of one branch beyond those expected by exchange, with the permutation's q; it has no interval."""
    same, expected = entry.get("same_branch"), entry.get("expected_same")
    if same is None or expected is None or q is None:
        return None
    beyond = same - expected
    return Effect(beyond, beyond, beyond, entry.get("permutation_p"), q, entry.get("pairs"))
