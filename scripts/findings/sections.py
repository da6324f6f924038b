"""The sections of docs/findings.md below the table of claims."""
from findings import claims, figures, plan, rules, runner, statistics
from findings.tables import MISSING, figure, percent, probability, table, with_interval


def training(results):
    rows = []
    for k in results.settings.ks:
        for tap in results.settings.taps():
            found = results.evaluation(k, tap)
            spliced = found.get("splicing") or found.get("spliced") or {}
            if "." in tap and k not in (results.settings.ks[0], results.settings.ks[-1]):
                continue  # branches at the ends of the range only
            rows.append((tap, k, figure(found.get("fvu")), percent(found.get("dead")), figure(found.get("l0")),
                         figure(spliced.get("loss_recovered_zero")), figure(spliced.get("loss_recovered_mean"))))
    return (
        "## Training\n\nHeld-out images. FVU: share of the variance that is not reconstructed; dead: latents that never "
        "fire there; loss recovered: of the cross-entropy that is lost when the layer is replaced by zero (by its "
        "mean), what the reconstruction gives back.\n\n" + table(
            ("tap", ">k", ">FVU", ">dead", ">L0", ">loss recovered, zero", ">mean"), rows))


def save_figure(page, name, text, caption):
    """Writes a chart beside the page; the Markdown that shows it."""
    if not text:
        return ""
    folder = page.parent / page.stem
    runner.write_text(folder / name, text)
    return f"![{caption}]({page.stem}/{name})\n\n"


def concept_claim(results, tests, found, claim, concept, branch, page):
    mine = [test for test in tests if test.claim == claim]
    title = f"## {claim}: {mine[0].text}\n\n"
    shares, odds = found[concept]
    return (title + whole_layer_part(results, mine[0], shares, concept, branch, page) + "\n" +
            autoencoder_part(results, mine[1], odds, concept, branch, page))


def whole_layer_part(results, test, shares, concept, branch, page):
    settings = results.settings
    rows, panels = [], []
    for k in settings.ks:
        panels.append((f"k = {k}", [(layer, {
            name: shares.effects[k, layer, name]
            for name in plan.BRANCHES
        }) for layer in settings.layers]))
        for cell in test.at(k):
            found = results.branches(f"branches-k{k}", cell.where)
            if found:
                rows.append(whole_layer_row(found, cell, shares, concept, branch))
    text = (
        f"### Latents of whole layers\n\nAUROC of the share of a latent's decoder that lies in a branch, {concept} latents "
        "against the other live ones, near copies counted once: 0.5 is no preference. lead: by how much "
        f"{branch} is ahead of another branch. \"neurons\" is the same test on single channels, \"random\" on a random "
        "dictionary: what is found there is no finding about features. channels, energy: the branch's share of the "
        "layer's channels and of its activations' energy.\n\n")
    if not rows:
        return text + "Not measured.\n"
    chart = figures.forest(f"{concept} latents' share of each branch", "AUROC, 95 % interval", 0.5, panels)
    rival = main_rival(branch)
    columns = ("layer", ">k", ">features / live", *(f">{name}" for name in plan.BRANCHES), f">q of {branch}",
               f">lead over {rival}, q", ">neurons", ">random", ">channels, energy", "says")
    return text + save_figure(page, f"{test.claim.lower()}-whole-layers.svg", chart,
                              f"{concept} latents and branches, by layer and k") + table(columns, rows)


def main_rival(branch):
    """The other large kernel beside 5x5; 3x3 has most channels."""
    return "3x3" if branch != "3x3" else "5x5"


def whole_layer_row(found, cell, shares, concept, branch):
    of_concept = (found.document.get("concepts") or {}).get(concept) or {}
    lead = shares.direct[cell.k, cell.where, main_rival(branch)]
    return (cell.where, cell.k, f"{figure(of_concept.get('positives'))} / {figure(of_concept.get('live'))}",
            *(with_interval(shares.effects[cell.k, cell.where, name], 2)
              for name in plan.BRANCHES), probability(cell.effect.q) if cell.effect else MISSING,
            f"{figure(lead.value)}, {probability(lead.q)}" if lead else MISSING,
            with_interval(found.test(concept, branch, "neurons"),
                          2), with_interval(shares.control[cell.k, cell.where], 2),
            f"{figure(found.null(branch, 'channels'), 2)}, {figure(found.null(branch, 'activation_energy'), 2)}",
            cell.says)


def autoencoder_part(results, test, odds, concept, branch, page):
    settings = results.settings
    rivals = claims.others(branch)
    rows, panels = [], []
    for k in settings.ks:
        row_effects = []
        for layer in settings.layers:
            shares = {name: share_of(results, f"branches-k{k}", layer, name, concept) for name in plan.BRANCHES}
            effects = {rival: odds.get((k, layer, (rival, ))) for rival in rivals}
            row_effects.append((layer, effects))
            cell = next(c for c in test.cells if (c.where, c.k) == (layer, k))
            if any(shares.values()):
                rows.append((layer, k, *(shares[name] or MISSING for name in plan.BRANCHES),
                             *(f"{with_interval(effects[rival], 2)}, {probability(effects[rival].q)}"
                               if effects[rival] else MISSING
                               for rival in rivals), with_interval(cell.effect, 2), cell.says))
        panels.append((f"k = {k}", row_effects))
    text = (
        f"### Autoencoders of single branches\n\nShare of live latents that are {concept} features, and the odds ratio of "
        f"{branch} against each other branch (q beside it) and against the three together, within tenths of firing "
        f"density (Mantel and Haenszel).\n\n")
    if not rows:
        return text + "Not measured.\n"
    chart = figures.forest(f"{concept} features: {branch} against the other branches",
                           "odds ratio, 95 % interval",
                           1.0,
                           panels,
                           logarithm=True)
    columns = ("layer", ">k", *(f">{name}" for name in plan.BRANCHES), *(f">against {rival}"
                                                                         for rival in rivals), ">all three", "says")
    return text + save_figure(page, f"{test.claim.lower()}-branches.svg", chart,
                              f"odds ratios of {concept} features, {branch} against the others") + table(
                                  columns, rows)


def share_of(results, step, layer, branch, concept):
    found = results.branches(step, f"{layer}.{branch}")
    marked = found.marked(concept) if found else None
    if not marked:
        return None
    return f"{percent(sum(m for _, m in marked) / len(marked))} of {figure(len(marked))}"


def matches(results, tests, page):
    settings = results.settings
    rows = []
    for k in settings.match_ks:
        for step, pairs, kind in ((f"match-k{k}", settings.pairs(), ""),
                                  (f"seeds-k{k}", [(tap, tap) for tap in settings.second_seed], "two seeds: ")):
            for a, b in pairs:
                document = results.match(step, a, b)
                for similarity in ("correlation", "class profile"):
                    rows += match_rows(document, k, f"{kind}{a}" if kind else f"{a}, {b}", similarity)
    verdicts = "; ".join(f"{t.how}: {t.verdict()}" for t in tests if t.claim == "C5")
    text = (
        f"## C5: {claims.C5}\n\nTwo latents are a pair when each is the other's best and their similarity is above the 99.9th "
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


def other_concepts(results):
    """Whole layers, largest k: every concept and branch, the layers as one."""
    settings = results.settings
    k = settings.ks[-1]
    found = [results.branches(f"branches-k{k}", layer) for layer in settings.layers]
    found = [one for one in found if one]
    concepts = list(dict.fromkeys(name for one in found for name in one.concepts()))
    if not concepts:
        return ""
    rows = [(name, *(with_interval(statistics.pooled([one.test(name, branch) for one in found]), 2)
                     for branch in plan.BRANCHES)) for name in concepts]
    return (
        f"## Every concept and branch\n\nWhole layers, k = {k}: AUROC of the branch's share for being a feature of the "
        "concept, the layers as one. Nothing was chosen after the fact: these are all that were computed.\n\n" +
        table(("concept", *(f">{branch}" for branch in plan.BRANCHES)), rows))


def neurons(results):
    settings = results.settings
    rows, flagged = [], []
    for tap in settings.taps():
        shares = [results.branches(f"branches-k{k}", tap) for k in settings.ks]
        values = [one.neuron_share() if one else None for one in shares]
        if any(value is not None for value in values):
            rows.append((tap, *(percent(value) for value in values)))
        flagged += [
            f"{tap} at k = {k}" for k, value in zip(settings.ks, values) if value is not None and value > 0.5
        ]
    if not rows:
        return ""
    said = (
        f"More than half are, so results there are about neurons as much as about latents: {', '.join(flagged)}."
        if flagged else "Nowhere are more than half, so what stands above is about latents.")
    return (
        "## Latents or neurons\n\nShare of latents whose decoder lies within cosine 0.9 of one channel, by k. " +
        said + "\n\n" + table(("tap", *(f">k = {k}" for k in settings.ks)), rows))


def limits(results):
    return """\
## What these photos can and cannot show

The thousand photos have one image of each class and the twenty thousand others are 64 pixels wide, enlarged, of 200
classes: enough to tell latents that follow a wide group such as animals from those that do not, at every layer and
branch, but a latent for one breed or one texture has a handful of images at most, so what is called an animal feature
here is a latent that prefers animals on the whole, not one that was seen to show an animal. Enlarged photos hold no
fine detail, so features of fur, eyes or small patterns may be missing from these autoencoders or counted in the wrong
place, and training saw a small part of the tokens that the paper's did; what we do not find may be there with more and
sharper photos. All of it is correlation on photos of one collection in one trained network: animals come with grass,
fur colours and centred poses, and nothing here shows that a branch causes what its features respond to.
"""
