"""docs/findings.md: what was run, what came out, claim by claim."""
from findings import claims, concept_sections, match_section, plan, rules, runner, sections
from findings.tables import MISSING, duration, figure, probability, table, with_interval


def questions(settings):
    """What is asked of features of a concept, over which images."""
    photos = {k: f"branches-k{k}" for k in settings.ks}
    everything = {k: f"branches-all-k{k}" for k in settings.full_ks}
    asked = [
        claims.Question("C1", claims.C1, "animal", "5x5", photos, "photos"),
        claims.Question("C4", claims.C4, "colour", "1x1", photos, "photos")
    ]
    if settings.has_more_than_photos():
        asked.insert(1, claims.Question("C1", claims.C1, "animal", "5x5", everything, "all images"))
    return asked


def write(settings, results, path):
    """The whole page."""
    asked = [(claims.whole_layers(results, one), claims.own_autoencoders(results, one))
             for one in questions(settings)]
    kept = claims.kept_branches(results)
    enriched, same = claims.by_enrichment(results)
    more = [enriched, claims.by_shares(results)]
    tests = [one.test for pair in asked for one in pair] + [test for test, _ in kept] + more
    parts = [
        head(settings, results),
        summary(tests), "## Rules of the verdicts\n\n" + rules.RULES,
        sections.training(results)
    ]
    title = None
    for layers, own in asked:
        if title != (title := f"## {layers.question.claim}: {layers.question.text}\n"):
            parts.append(title)
        parts += [
            concept_sections.whole_layers(results, layers, path),
            concept_sections.own_autoencoders(results, own, path)
        ]
    parts += [
        match_section.matches(results, kept, path),
        match_section.other_ways(enriched, same, more[1]),
        sections.other_concepts(results),
        sections.neurons(results),
        sections.limits(settings),
        steps_table(settings)
    ]
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
    seen = []
    settings = results.settings
    for step, what in ((f"branches-k{settings.ks[-1]}", "every k"), *((f"branches-all-k{k}", f"k = {k} again")
                                                                      for k in settings.full_ks)):
        found = results.branches(step, settings.layers[0])
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
    return (text + "\nEffects with 95 % intervals and p are of the largest k that was measured, the layers' effects as one "
            "(random effects of DerSimonian and Laird, z test); no effect is AUROC 0.5, odds ratio 1, r 0. The cells "
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
