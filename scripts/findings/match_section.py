"""C5 on the page: pairs of latents of neighbouring layers, of two seeds, and the joined layers."""
from findings import claims, figures, plan, statistics
from findings.concept_sections import save_figure
from findings.tables import MISSING, figure, probability, table, with_interval

COLUMNS = ("layers", "images", ">k", "by", ">pairs", ">5x5: odds ratio", ">Fisher p", ">kappa", ">Cramér's V",
           ">Spearman of s (p)", ">same branch / exchanged", ">p", ">random dictionary", ">hold on other half")


def matches(results, routes, page):
    """routes: of claims.kept_branches()."""
    rows = []
    for route in routes:
        for cell in route.test.cells:
            at = (cell.where, route.images, cell.k, route.by)
            rows += row(route.matchings[cell.k, cell.where], at, cell.says)
    ceiling = [
        one for k in results.settings.match_ks for tap in results.settings.second_seed for by in claims.SIMILARITIES
        for one in row(results.matching(f"seeds-k{k}", tap, tap, by), (tap, plan.PHOTOS, k, by), "ceiling")
    ]
    text = (
        f"## C5: {claims.C5}\n\n"
        "Two latents are a pair when each is the other's best and their similarity is above the 99.9th percentile of "
        "pairs of shuffled images; features of the joined layers are pairs with themselves. Virtual weight: cosine of "
        "what one latent writes and the other reads, through the opened network, above that of shuffled channels; it "
        "depends on the images by which latents fire alone, and has no halves. Odds ratio: of being "
        "dominated by 5x5 on both sides. kappa: agreement of the four branches beyond chance. same branch: how many "
        "pairs, and how many on average when branches are exchanged among latents of equal density; the same with "
        "the decoders of a random dictionary. hold: pairs of the even images that are above the threshold on the "
        f"odd ones. Two seeds of one layer are the ceiling.{positions(results)}\n\n")
    if not rows:
        return text + "Not measured.\n"
    return text + chart(results, routes, page) + table((*COLUMNS, "says"), rows + ceiling) + beside_shuffled(routes)


def beside_shuffled(routes):
    """Of virtual weights: what pairs by shuffled channels show."""
    rows = []
    for route in (one for one in routes if one.by == claims.WEIGHT):
        for cell in route.test.cells:
            entry = route.matchings[cell.k, cell.where]
            sides = [claims.agreement(entry, "5x5"), claims.of_shuffled(entry, "5x5")]
            if all(sides):
                rows.append((cell.where, cell.k, *(shown for one in sides for shown in (figure(one.get("pairs")),
                             with_interval(claims.odds_of(one), 2), same_branch(one))), cell.says))
    if not rows:
        return ""
    columns = ("layers", ">k", ">pairs", ">5x5: odds ratio", ">same branch / exchanged", ">pairs by shuffled channels",
               ">5x5: odds ratio", ">same branch / exchanged", "says")
    return (
        "\n### Virtual weights beside shuffled channels\n\nHere pairs and branches come from the same decoder rows. So the "
        "channels of the first layer are exchanged inside each branch, in the same way for all of its latents: their "
        "shares stay, and with them the weights between whole branches, but not which channel is which. What pairs by "
        "these show as well is how branches are wired, not what features do.\n\n" + table(columns, rows))


def positions(results):
    """Where not all of an image was read."""
    for images, steps in plan.matched(results.settings).items():
        for step in steps.values():
            for a, b in results.settings.pairs():
                about = results.matching_about(step, a, b)
                if about.get("positions") != about.get("of_positions"):
                    return (f" Of {images} {figure(about['positions'])} positions of {figure(about['of_positions'])} "
                            f"are read, the same ones of every image: {figure(about.get('tokens'))} tokens.")
    return ""


def row(entry, at, says):
    """One line, or none where nothing was measured. at: layers, images, k, similarity."""
    mine = claims.agreement(entry, "5x5")
    if not mine:
        return []
    interval = statistics.Effect(mine.get("odds_ratio"), mine.get("low"), mine.get("high"), null=1.0)
    spearman = f"{figure(mine.get('spearman'), 2)} ({probability(mine.get('spearman_p'))})"
    beside = [same_branch(mine), probability(mine.get("permutation_p")), same_branch(entry.get("random_dictionary"))]
    halves = entry.get("split_halves") or {}
    held = f"{figure(halves.get('hold'))} of {figure(halves.get('pairs'))}" if halves else MISSING
    return [(*at, figure(mine.get("pairs")), with_interval(interval, 2), probability(mine.get("fisher_p")),
             figure(mine.get("kappa"), 2), figure(mine.get("cramers_v"), 2), spearman, *beside, held, says)]


def same_branch(entry):
    """Pairs of one branch, and how many exchange gives."""
    if not entry or entry.get("same_branch") is None:
        return MISSING
    return f"{figure(entry['same_branch'])} / {figure(entry.get('expected_same'))}"


def chart(results, routes, page):
    """Odds ratios of all four branches, by the first similarity."""
    rows = [f"{a}, {b}" for a, b in results.settings.pairs()]
    panels = [(f"k = {k}, {route.images}", [(where, {
        branch: claims.odds_of(claims.agreement(route.matchings[k, where], branch))
        for branch in plan.BRANCHES
    }) for where in rows]) for route in routes if route.by == claims.SIMILARITIES[0] for k in route.test.ks()]
    drawn = figures.forest("Are both of a pair in the branch?",
                           "odds ratio, 95 % interval",
                           1.0,
                           panels,
                           logarithm=True)
    return save_figure(page, "c5-pairs.svg", drawn, "odds ratios of pairs that share a branch, by layers and k")


def other_ways(otherwise):
    """The tests that do not ask which branch has the largest share: [(which images, test of the most enriched branch,
    pairs of one branch beyond chance, test of the shares)]."""
    rows = []
    for images, enriched, same, shares in otherwise:
        for one, other in zip(enriched.cells, shares.cells):
            beyond = same[one.k, one.where]
            if one.effect or other.effect:
                rows.append((one.where, images, one.k, figure((one.effect or other.effect).n),
                             with_interval(one.effect, 2), probability(one.effect.q) if one.effect else MISSING,
                             with_interval(beyond, 3), probability(beyond.q) if beyond else MISSING, one.says,
                             with_interval(other.effect, 2),
                             probability(other.effect.q) if other.effect else MISSING, other.says))
    if not rows:
        return ""
    columns = ("layers", "images", ">k", ">pairs", ">5x5 most enriched: odds ratio", ">q",
               ">pairs of one branch beyond chance", ">q", "says", ">Spearman of 5x5 shares", ">q", "says")
    return (
        "### The same pairs, asked otherwise\n\nWhere nearly every latent's largest share is that of the branch "
        "with most channels, few pairs can speak above. Here a latent belongs to the branch whose share is "
        "largest beside "
        "its number of channels (odds ratio within tenths of density), and the shares themselves are "
        "correlated.\n\n" +
        table(columns, rows))
