"""docs/findings.md: what was run, what came out, claim by claim."""
from findings import claims, concept_sections, match_section, plan, rules, runner, sections
from findings.tables import MISSING, duration, figure, probability, table, with_interval


def asked_of_concepts(results):
    """Every test of features of a concept, in the page's order: [(the test with all beside it, what writes it)]. Of
    all images only the single branches are analysed: whole layers would take an hour."""
    settings = results.settings
    photos = {k: f"branches-k{k}" for k in settings.ks}
    animals = claims.Question("C1", claims.C1, "animal", "5x5", photos, "photos")
    colours = claims.Question("C4", claims.C4, "colour", "1x1", photos, "photos")
    own = (claims.own_autoencoders, concept_sections.own_autoencoders)
    questions = [(animals, claims.whole_layers, concept_sections.whole_layers), (animals, *own)]
    if settings.has_more_than_photos():
        everything = {k: f"branches-all-k{k}" for k in settings.full_ks}
        questions.append((claims.Question("C1", claims.C1, "animal", "5x5", everything, "all images"), *own))
    questions += [(colours, claims.whole_layers, concept_sections.whole_layers), (colours, *own)]
    return [(ask(results, question), show) for question, ask, show in questions]


def write(settings, results, path):
    """The whole page."""
    asked = asked_of_concepts(results)
    kept = claims.kept_branches(results)
    enriched, same = claims.by_enrichment(results)
    shares = claims.by_shares(results)
    tests = [one.test for one, _ in asked] + [test for test, _ in kept] + [enriched, shares]
    parts = [head(settings, results), summary(tests), "## Rules of the verdicts\n\n" + rules.RULES,
             sections.training(results)]
    title = None
    for one, show in asked:
        if title != (title := f"## {one.question.claim}: {one.question.text}\n"):
            parts.append(title)
        parts.append(show(results, one, path))
    parts += [match_section.matches(results, kept, path), match_section.other_ways(enriched, same, shares),
              sections.other_concepts(results), sections.neurons(results), sections.limits(settings),
              steps_table(settings)]
    runner.write_text(path, "\n".join(part for part in parts if part))


def head(settings, results):
    info = results.run()
    model, images = info.get("model") or {}, info.get("images") or {}
    versions, options = info.get("versions") or {}, info.get("options") or {}
    total = sum(runner.seconds_of(settings, step) or 0 for step in plan.all_steps(settings))
    rows = [("model", f"sha256 {model.get('sha256', MISSING)}"),
            ("images", f"{figure(images.get('count'))}, of which {figure(held_out_images(results))} held out; "
             f"fingerprint {images.get('fingerprint', MISSING)}"), ("analysed", analysed(results)),
            ("tokens trained on", f"{figure(info.get('step', 0) * options.get('batch', 0) or None)} a tap, "
             f"{settings.positions} positions of an image, batches of {settings.batch}"),
            ("k", ", ".join(map(str, settings.ks)) + f"; neighbouring layers are compared at "
             f"{', '.join(map(str, settings.match_ks))}"), ("seeds", "0; 1 where it says second seed"),
            ("program", f"branchsae {versions.get('branchsae', MISSING)}; {info.get('device', MISSING)}"),
            ("time", f"{duration(total)} of the program, all steps")]
    return (
        "# Findings\n\nWhat the autoencoders of InceptionV1 say about three claims of Bozoukov 2025 "
        "([arXiv 2504.11489](https://arxiv.org/abs/2504.11489)). Written by `scripts/findings.py`, not by hand:\n\n"
        "    scripts/findings.py --branchsae build/bin/branchsae --model googlenet.onnx "
        "--images photos/ train-00{0..3}.tar \\\n        --work work/ --out docs/findings.md" +
        "".join(f" {word}" for word in unusual(settings)) + "\n\n" + table(("", ""), rows))


def unusual(settings):
    """Options that were not the usual ones."""
    usual = plan.Settings(settings.program, settings.model, settings.images, settings.work)
    names = {"layers": "--layers", "ks": "--k", "full_ks": "--full-k", "match_ks": "--match-k",
             "second_seed": "--second-seed", "tokens": "--tokens", "positions": "--positions", "batch": "--batch",
             "joined_expansion": "--joined-expansion"}
    for name, flag in names.items():
        value = getattr(settings, name)
        if value != getattr(usual, name):
            yield f"{flag} {','.join(map(str, value)) or repr('')}" if isinstance(value, tuple) else f"{flag} {value}"


def held_out_images(results):
    for tap in results.settings.taps():
        count = results.evaluation(results.settings.ks[-1], tap).get("images")
        if count:
            return count
    return None


def analysed(results):
    """Images and tokens of the analyses, from their own records."""
    settings, seen = results.settings, []
    tap = f"{settings.layers[0]}.{plan.BRANCHES[0]}"
    steps = [(f"branches-k{k}", f"k = {k}") for k in settings.ks]
    steps += [(f"branches-all-k{k}", f"single branches at k = {k} again") for k in settings.full_ks]
    for step, what in steps:
        found = results.branches(step, tap)
        if found:
            about = found.about()
            seen.append(f"{what}: {figure(about.get('images'))} images, {figure(about.get('tokens'))} tokens, "
                        f"{figure(about.get('labelled'))} labelled")
    return "; ".join(seen) or MISSING


def by_k(test):
    """"4: 3/0 of 5 ..." layers for / against at each k."""
    parts = []
    for k in test.ks():
        says = [cell.says for cell in test.at(k)]
        measured = len(says) - says.count(rules.OPEN)
        parts.append(f"{k}: {says.count(rules.FOR)} / {says.count(rules.AGAINST)} of {measured}"
                     if measured else f"{k}: {MISSING}")
    return "; ".join(parts)


def tally(tests):
    """How the cells of all tests of a claim speak."""
    says = [cell.says for test in tests for cell in test.cells if cell.says != rules.OPEN]
    if not says:
        return ""
    counts = [f"{says.count(one)} {one}" for one in (rules.FOR, rules.AGAINST, rules.NEITHER, rules.VOID)
              if says.count(one)]
    return f" ({len(says)} cells: {', '.join(counts)})"


def summary(tests):
    """The claims' table: at the largest k, the paper's, with all k in one column."""
    rows = []
    for test in tests:
        effect = next((one for one in (test.pooled(k) for k in reversed(test.ks())) if one), None)
        p = f"{probability(effect.p)} (n = {figure(effect.n)})" if effect else MISSING
        rows.append((f"**{test.claim}**", test.how, f"{test.effect} {with_interval(effect)}", p, test.correction,
                     by_k(test), f"**{test.verdict()}**"))
    text = "## The claims\n\n"
    for claim in dict.fromkeys(test.claim for test in tests):
        mine = [test for test in tests if test.claim == claim]
        verdict = rules.together([test.verdict() for test in mine])
        text += f"- **{claim}**, {mine[0].text}: **{verdict}**{tally(mine)}.\n"
    return (text + "\nEffects with 95 % intervals and p are of the largest k that was measured, the layers' effects "
            "as one (random effects of DerSimonian and Laird, z test); no effect is AUROC 0.5, odds ratio 1, r 0. "
            "The cells "
            "behind the verdicts, layer by layer with their own q, are below.\n\n" +
            table(("claim", "our test", "effect", "p", "q of a cell", "k: layers for / against", "verdict"), rows))


def steps_table(settings):
    rows = [(step.name, f"`branchsae {step.arguments[0]}`", duration(runner.seconds_of(settings, step)),
             runner.version_of(settings, step) or MISSING) for step in plan.all_steps(settings)]
    return (
        "## Steps\n\nWall time of each call of the program, whatever else the machine did; of a run that was "
        "stopped and resumed its "
        "last part. All taps and k of `train-layers` train in one pass.\n\n" + table(
            ("step", "command", ">time", "version"), rows))
