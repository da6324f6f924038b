"""The paper's claims as tests: for each a list of cells, one a layer (or pair of layers) and k."""
import dataclasses

from findings import plan, rules, statistics
from findings.statistics import Effect
from findings.tables import figure, with_interval


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
    controls: dict = dataclasses.field(default_factory=dict)  # {k: what to hold beside the effect, in words}

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
    images: str  # which were looked at: a key of plan.looks()


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
    effects, direct, control, neurons = {}, {}, {}, {}
    for k, step in question.steps.items():
        for layer in results.settings.layers:
            found = results.branches(step, layer)
            for name in plan.BRANCHES:
                effects[k, layer, name] = found.test(concept, name) if found else None
            for rival in others(branch):
                direct[k, layer, rival] = found.direct(concept, branch, rival) if found else None
            control[k, layer] = found.test(concept, branch, "random dictionary") if found else None
            neurons[k, layer] = found.test(concept, branch, "neurons") if found else None
    effects, direct, control = map(statistics.with_q, (effects, direct, control))
    cells = []
    for k, layer in control:
        says = rules.judge(effects[k, layer, branch], [effects[k, layer, other] for other in others(branch)],
                           [direct[k, layer, other] for other in others(branch)],
                           yardstick=control[k, layer])
        cells.append(rules.Cell(layer, k, says, effects[k, layer, branch]))
    how = (
        f"latents of whole layers, {question.images}: share of the decoder in {branch}, those of {concept} against "
        "the others")
    correction = ("permutation within densities, two-sided; Benjamini-Hochberg over "
                  f"{len(effects)} (layers, k, branches)")
    beside = {"random dictionary": control, "single channels": neurons}
    beside |= {name: {(k, layer): effects[k, layer, name] for k, layer in control} for name in others(branch)}
    test = Test(question.claim,
                question.text,
                how,
                "AUROC",
                correction,
                tuple(cells),
                controls=pooled_beside(beside))
    return WholeLayers(question, effects, direct, control, test)


def pooled_beside(effects, logarithm=False):
    """Test.controls of effects that have one for each layer: {name: {(k, layer): Effect or None}}."""
    said = {}
    for name, of_layers in effects.items():
        for k in dict.fromkeys(k for k, _ in of_layers):
            as_one = statistics.pooled([one for (at, _), one in of_layers.items() if at == k], logarithm)
            if as_one:
                said.setdefault(k, []).append(f"{name}: {with_interval(as_one, 2)}")
    return {k: "; ".join(parts) for k, parts in said.items()}


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
    beside = {
        f"against {one}": {
            (k, layer): odds[k, layer, (one, )]
            for k, layer, _ in odds
        }
        for one in others(branch)
    }
    test = Test(question.claim,
                question.text,
                how,
                "odds ratio",
                correction,
                tuple(cells),
                logarithm=True,
                controls=pooled_beside(beside, logarithm=True))
    return OwnAutoencoders(question, odds, test)


def agreement(entry, branch):
    """What a matching (an entry of match.json's similarities, or of the joined layers' between) says of one branch.
"""
    return next((one for one in (entry or {}).get("agreement") or [] if one.get("branch") == branch), {})


def of_shuffled(entry, branch):
    """The same of pairs by shuffled channels, where there are any: of virtual weights, whose pairs and branches come
    from the same rows."""
    return agreement({"agreement": (entry or {}).get("shuffled_channels")}, branch)


def keeps_branch(matchings, branch, how):
    """Are like latents of two layers both in the branch more often than chance? Also wanted: more pairs of one
    branch, of the four, than when branches are exchanged among latents of equal density. matchings: {(k, "layer,
    layer"): entry or None}."""
    found = {at: agreement(entry, branch) for at, entry in matchings.items()}
    effects = statistics.with_q({at: odds_of(entry) for at, entry in found.items()})
    same = statistics.with_q({at: excess(entry) for at, entry in found.items()})
    control = statistics.with_q({
        at: excess((entry or {}).get("random_dictionary"))
        for at, entry in matchings.items()
    })
    shuffled = statistics.with_q({at: odds_of(of_shuffled(entry, branch)) for at, entry in matchings.items()})
    cells = [
        rules.Cell(
            where, k,
            rules.judge(effects[k, where],
                        direct=[same[k, where]],
                        yardstick=shuffled[k, where],
                        control=control[k, where]), effects[k, where]) for k, where in found
    ]
    correction = f"Fisher's exact test; Benjamini-Hochberg over {len(found)} (pairs of layers, k)"
    return Test("C5",
                C5,
                how,
                "odds ratio",
                correction,
                tuple(cells),
                logarithm=True,
                controls=exchanged(matchings))


def exchanged(matchings):
    """Test.controls: how many pairs share a branch, and how many by exchange; of a random dictionary too."""
    said = {}
    for k in dict.fromkeys(k for k, _ in matchings):
        entries = [entry for (at, _), entry in matchings.items() if at == k and entry]
        parts = [
            f"{name}: {figure(sum(one['same_branch'] for one in known))} pairs of one branch, "
            f"{figure(sum(one['expected_same'] for one in known))} when exchanged"
            for name, of in (("latents", [agreement(entry, "5x5") for entry in entries]),
                             ("random dictionary", [entry.get("random_dictionary") for entry in entries]),
                             ("shuffled channels", [of_shuffled(entry, "5x5") for entry in entries]))
            if (known := [one for one in of if excess(one)])
        ]
        if parts:
            said[k] = "; ".join(parts)
    return said


def odds_of(entry):
    """None also where no latent of one side is in the branch: then nothing could keep it."""
    (both, first), (second, _) = entry.get("in_branch") or ((0, 0), (0, 0))
    if entry.get("odds_ratio") is None or both + first == 0 or both + second == 0:
        return None
    return Effect(entry["odds_ratio"],
                  entry.get("low"),
                  entry.get("high"),
                  entry.get("fisher_p"),
                  None,
                  entry.get("pairs"),
                  null=1.0)


def excess(entry):
    """Pairs of one branch beyond those expected by exchange, with the permutation's p; it has no interval."""
    same, expected = (entry or {}).get("same_branch"), (entry or {}).get("expected_same")
    if same is None or expected is None:
        return None
    return Effect(same - expected,
                  same - expected,
                  same - expected,
                  entry.get("permutation_p"),
                  n=entry.get("pairs"))


SIMILARITIES = ("correlation", "class profile")
WEIGHT = "virtual weight"  # between layers, the same whatever images are looked at


@dataclasses.dataclass(frozen=True)
class Route:
    """One way to find pairs of like latents."""
    images: str  # a key of plan.matched()
    by: str  # similarity, or "joined"
    matchings: dict  # {(k, "layer, layer"): entry or None}
    test: Test


def kept_branches(results):
    """C5 by every Route: neighbouring layers matched by each similarity; features of the joined layers that live in
    two neighbouring ones."""
    settings, routes = results.settings, []
    for images, steps in plan.matched(settings).items():
        for similarity in (*SIMILARITIES, WEIGHT) if images == plan.PHOTOS else SIMILARITIES:
            how = (f"pairs of latents of neighbouring layers, {images}, each other's best by {similarity}: "
                   "both in 5x5?")
            matchings = {
                (k, f"{a}, {b}"): results.matching(step, a, b, similarity)
                for k, step in steps.items()
                for a, b in settings.pairs()
            }
            routes.append(Route(images, similarity, matchings, keeps_branch(matchings, "5x5", how)))
    joined = {(settings.ks[-1], f"{a}, {b}"): results.joined(a, b) for a, b in settings.pairs()}
    how = f"features of the joined layers, {plan.PHOTOS}, that live in two neighbouring ones: both parts in 5x5?"
    return [*routes, Route(plan.PHOTOS, "joined", joined, keeps_branch(joined, "5x5", how))]


def by_shares(results, images, branch="5x5"):
    """C5 without thresholds: do the shares of the branch go together in pairs of latents?"""
    settings, effects = results.settings, {}
    for k, step in plan.matched(settings)[images].items():
        for a, b in settings.pairs():
            entry = agreement(results.matching(step, a, b, "correlation"), branch)
            effects[k, f"{a}, {b}"] = statistics.correlation(entry.get("spearman"), entry.get("pairs"),
                                                             entry.get("spearman_p"))
    effects = statistics.with_q(effects)
    cells = tuple(rules.Cell(where, k, rules.judge(effect), effect) for (k, where), effect in effects.items())
    ceiling = {}
    for k in settings.match_ks if images == plan.PHOTOS else ():
        seeds = [(tap, agreement(results.matching(f"seeds-k{k}", tap, tap, "correlation"), branch).get("spearman"))
                 for tap in settings.second_seed]
        if any(r is not None for _, r in seeds):
            ceiling[k] = "two seeds: " + ", ".join(f"{tap} {figure(r, 2)}" for tap, r in seeds)
    return Test("C5",
                C5,
                f"the same pairs, {images}: Spearman's r of the two decoders' shares of {branch}",
                "r",
                f"Student's t; Benjamini-Hochberg over {len(effects)} (pairs of layers, k)",
                cells,
                controls=ceiling)


def by_enrichment(results, images, branch="5x5"):
    """C5 with latents named by the branch whose share is largest beside its number of channels: by share alone the
    branch with most channels dominates nearly all of them."""
    settings, odds, same = results.settings, {}, {}
    for k, step in plan.matched(settings)[images].items():
        for a, b in settings.pairs():
            names, strata = enriched_pairs(results, step, plan.looks(settings)[images].get(k), a, b)
            odds[k, f"{a}, {b}"] = statistics.mantel_haenszel(two_by_two(names, strata, branch))
            same[k, f"{a}, {b}"] = statistics.agreement_beyond_chance(names, strata)
    odds, same = statistics.with_q(odds), statistics.with_q(same)
    cells = tuple(
        rules.Cell(where, k, rules.judge(effect, direct=[same[k, where]]), effect)
        for (k, where), effect in odds.items())
    test = Test("C5",
                C5,
                f"the same pairs, {images}: both most enriched in {branch}?",
                "odds ratio",
                f"Mantel and Haenszel's chi-square within densities; Benjamini-Hochberg over {len(odds)} "
                "(pairs of layers, k)",
                cells,
                logarithm=True,
                controls=pooled_beside({"of one branch beyond chance, a pair of layers": same}))
    return test, same


def enriched_pairs(results, step, look, a, b):
    """The most enriched branches of the pairs' two latents, and the tenth of density of the second. step, look: of
    `match` and `branches`."""
    sides = [results.branches(look, layer) for layer in (a, b)]
    pairs = results.pairs(step, a, b, "correlation")
    if not all(sides):
        return [], []
    names = [(sides[0].enriched.get(i), sides[1].enriched.get(j)) for i, j, _ in pairs]
    return names, statistics.of_equal_density([density for _, _, density in pairs])


def two_by_two(names, strata, branch):
    """A table a stratum: both in the branch, the first only, the second only, neither."""
    tables = {}
    for (a, b), stratum in zip(names, strata):
        table = tables.setdefault(stratum, [0, 0, 0, 0])
        table[2 * (a != branch) + (b != branch)] += 1
    return [tuple(table) for table in tables.values()]
