"""C1 and C4 on the page: tables and charts of the tests of one concept and one branch."""
import re

from findings import claims, figures, plan, rules, runner
from findings.tables import MISSING, figure, percent, probability, table, with_interval


def save_figure(page, name, text, caption):
    """Writes a chart beside the page; the Markdown that shows it."""
    if not text:
        return ""
    runner.write_text(page.parent / page.stem / name, text)
    return f"![{caption}]({page.stem}/{name})\n\n"


def chart_name(question, what):
    images = re.sub("[^a-z]+", "-", question.images)
    return f"{question.claim.lower()}-{what}-{images}.svg"


def side_by_side(asked):
    """The same claim by what was looked at and what trained: `asked` are all its tests."""
    kinds = {}
    for one in asked:
        kinds.setdefault(one.test.effect, []).append(one)
    columns, rows = [], {}
    for kind, tests in kinds.items():
        for one in tests:
            columns.append(f"{kind}: {one.question.images}")
            for cell in one.test.cells:
                if cell.says != rules.OPEN:
                    rows.setdefault((cell.k, cell.where),
                                    {})[columns[-1]] = (f"{with_interval(cell.effect, 2)} {cell.says}")
    if len({one.question.images for one in asked}) < 2 or not rows:
        return ""
    question = asked[0].question
    return (
        "### Does it depend on the images?\n\n"
        f"{question.concept} and {question.branch}: AUROC of latents of whole layers, odds ratio of autoencoders of "
        "single branches, both explained below. The columns differ in the images that were looked at; all images "
        "trained where it does not say that only photos did.\n\n" + table(
            ("layer", ">k", *columns), [(layer, k, *(row.get(name, MISSING) for name in columns))
                                        for (k, layer), row in sorted(rows.items())]))


def whole_layers(results, asked, page):
    question, rows, panels = asked.question, [], []
    for k, step in question.steps.items():
        panels.append((f"k = {k}", [(layer, {
            name: asked.effects[k, layer, name]
            for name in plan.BRANCHES
        }) for layer in results.settings.layers]))
        for cell in asked.test.at(k):
            found = results.branches(step, cell.where)
            if found:
                rows.append(whole_layer_row(found, cell, asked))
    branch, rival = question.branch, main_rival(question.branch)
    text = (
        f"### Latents of whole layers, {question.images}\n\n"
        f"AUROC of the share of a latent's decoder that lies in a branch, {question.concept} latents against the "
        "other live ones, near copies counted once: 0.5 is no preference. lead: by how much "
        f"{branch} is ahead of {rival}. \"neurons\" is the same test on single channels, \"random\" on a random "
        "dictionary: what is found there is no finding about features. channels, energy: the branch's share of "
        "the layer's channels and of its activations' energy. Intervals are DeLong's, as if latents were "
        "independent; p, and with it q, exchanges shares among latents of equal density.\n\n")
    if not rows:
        return text + "Not measured.\n"
    chart = figures.forest(f"{question.concept} latents' share of each branch, {question.images}",
                           "AUROC, 95 % interval", 0.5, panels)
    columns = ("layer", ">k", ">features / live", *(f">{name}" for name in plan.BRANCHES), f">q of {branch}",
               f">lead over {rival}, q", ">neurons", ">random", ">channels, energy", "says")
    caption = f"{question.concept} latents and branches, by layer and k"
    shown = save_figure(page, chart_name(question, "whole-layers"), chart, caption)
    return text + shown + table(columns, rows) + channels_too(results, asked)


def channels_too(results, asked):
    """In how many cells that speak single channels show as much: then the finding is not one of features alone."""
    question = asked.question
    cells = [cell for cell in asked.test.cells if cell.says in (rules.FOR, rules.AGAINST)]
    as_much = 0
    for cell in cells:
        found = results.branches(question.steps[cell.k], cell.where)
        neurons = found.test(question.concept, question.branch, "neurons")
        side = 1 if cell.says == rules.FOR else -1
        as_much += neurons is not None and side * (neurons.value - cell.effect.value) >= 0
    if not cells:
        return ""
    if as_much == 0:
        return f"\nIn none of the {len(cells)} cells that speak do single channels show as large an effect.\n"
    return (
        f"\nIn {as_much} of the {len(cells)} cells that speak single channels show at least as large an effect: "
        "there it is one of the branch's neurons, whatever the latents add.\n")


def main_rival(branch):
    """The kernel with most channels; of that one the other large kernel."""
    return "3x3" if branch != "3x3" else "5x5"


def whole_layer_row(found, cell, asked):
    question, at = asked.question, (cell.k, cell.where)
    of_concept = (found.document.get("concepts") or {}).get(question.concept) or {}
    lead = asked.direct[(*at, main_rival(question.branch))]
    nulls = [figure(found.null(question.branch, name), 2) for name in ("channels", "activation_energy")]
    return (cell.where, cell.k, f"{figure(of_concept.get('positives'))} / {figure(of_concept.get('live'))}",
            *(with_interval(asked.effects[(*at, name)], 2)
              for name in plan.BRANCHES), probability(cell.effect.q) if cell.effect else MISSING,
            f"{figure(lead.value, 2)}, {probability(lead.q)}" if lead else MISSING,
            with_interval(found.test(question.concept, question.branch, "neurons"),
                          2), with_interval(asked.control[at], 2), ", ".join(nulls), cell.says)


def own_autoencoders(results, asked, page):
    question, rows, panels = asked.question, [], []
    rivals = claims.others(question.branch)
    for k, step in question.steps.items():
        panels.append((f"k = {k}", [(layer, {
            rival: asked.odds[k, layer, (rival, )]
            for rival in rivals
        }) for layer in results.settings.layers]))
        rows += [
            row for row in (own_autoencoder_row(results, cell, asked, step) for cell in asked.test.at(k)) if row
        ]
    text = (f"### Autoencoders of single branches, {question.images}\n\n"
            f"Share of live latents that are {question.concept} features, and the odds ratio of {question.branch} "
            "against each other branch and against the three together, q beside it, within tenths of "
            "firing density.\n\n")
    if not rows:
        return text + "Not measured.\n"
    chart = figures.forest(f"{question.concept} features, {question.images}: {question.branch} against the others",
                           "odds ratio, 95 % interval",
                           1.0,
                           panels,
                           logarithm=True)
    columns = ("layer", ">k", *(f">{name}" for name in plan.BRANCHES), *(f">against {one}"
                                                                         for one in rivals), ">all three", "says")
    return text + save_figure(page, chart_name(question, "own-autoencoders"), chart,
                              f"odds ratios of {question.concept} features, by layer and k") + table(columns, rows)


def own_autoencoder_row(results, cell, asked, step):
    """None when nothing was measured."""
    shares = [share_of(results, step, f"{cell.where}.{name}", asked.question.concept) for name in plan.BRANCHES]
    if not any(shares):
        return None
    odds = [asked.odds[cell.k, cell.where, (rival, )] for rival in claims.others(asked.question.branch)]
    return (cell.where, cell.k, *(share or MISSING for share in shares),
            *(f"{with_interval(one, 2)}, {probability(one.q)}" if one else MISSING
              for one in (*odds, cell.effect)), cell.says)


def share_of(results, step, tap, concept):
    found = results.branches(step, tap)
    marked = found.marked(concept) if found else None
    if not marked:
        return None
    return f"{percent(sum(is_one for _, is_one in marked) / len(marked))} of {figure(len(marked))}"
