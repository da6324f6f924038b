"""docs/findings.md: what was run, what came out, claim by claim."""
from findings import claims, concept_sections, match_section, plan, rules, runner, sections
from findings.tables import MISSING, duration, figure, probability, table, with_interval


def asked_of_concepts(results):
    """Every test of features of a concept, in the page's order: [(the test with all beside it, what writes it)]."""
    settings, asked = results.settings, []
    for claim, text, concept, branch in (("C1", claims.C1, "animal", "5x5"), ("C4", claims.C4, "colour", "1x1")):
        for images, steps in plan.looks(settings).items():
            if images == plan.ALL_IMAGES and concept not in settings.full_concepts:
                continue
            question = claims.Question(claim, text, concept, branch, steps, images)
            asked += [(claims.whole_layers(results, question), concept_sections.whole_layers),
                      (claims.own_autoencoders(results, question), concept_sections.own_autoencoders)]
    return asked


def looked_at(asked):
    """{(which of plan.looks(), kind of effect)} of all tests of which anything was measured."""
    return {(one.question.images, one.test.effect)
            for one, _ in asked if any(cell.says != rules.OPEN for cell in one.test.cells)}


def write(settings, results, path):
    """The whole page."""
    asked = asked_of_concepts(results)
    kept = claims.kept_branches(results)
    otherwise = [(images, *claims.by_enrichment(results, images), claims.by_shares(results, images))
                 for images in plan.matched(settings)]
    tests = [one.test for one, _ in asked] + [route.test for route in kept]
    tests += [test for _, enriched, _, shares in otherwise for test in (enriched, shares)]
    parts = [
        head(settings, results),
        summary(tests),
        not_measured(settings, tests), "## Rules of the verdicts\n\n" + rules.RULES,
        sections.training(results)
    ]
    for claim in dict.fromkeys(one.question.claim for one, _ in asked):
        mine = [(one, show) for one, show in asked if one.question.claim == claim]
        parts += [
            f"## {claim}: {mine[0][0].question.text}\n",
            concept_sections.side_by_side([one for one, _ in mine])
        ]
        parts += [show(results, one, path) for one, show in mine]
    parts += [
        match_section.matches(results, kept, path),
        match_section.other_ways(otherwise),
        sections.other_concepts(results),
        sections.neurons(results),
        sections.limits(looked_at(asked)),
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
            ("trained on photos alone", trained_on_photos(results)),
            ("k", ", ".join(map(str, settings.ks)) + f"; neighbouring layers are compared at "
             f"{', '.join(map(str, settings.match_ks))}"), ("seeds", "0; 1 where it says two seeds"),
            ("program", f"branchsae {versions.get('branchsae', MISSING)}; {info.get('device', MISSING)}"),
            ("time", f"{duration(total)} of the program, all steps whose time is known")]
    return (
        "# Findings\n\nWhat the autoencoders of InceptionV1 say about three claims of Bozoukov 2025 "
        "([arXiv 2504.11489](https://arxiv.org/abs/2504.11489)). Written by `scripts/findings.py`, not by hand:\n\n"
        "    scripts/findings.py --branchsae build/bin/branchsae --model googlenet.onnx "
        "--images photos/ train-00{0..3}.tar \\\n        --work work/ --out docs/findings.md" +
        "".join(f" {word}" for word in unusual(settings)) + "\n\n" + table(("", ""), rows))


def unusual(settings):
    """Options that were not the usual ones."""
    usual = plan.Settings(settings.program, settings.model, settings.images, settings.work)
    names = {
        "layers": "--layers",
        "ks": "--k",
        "full_ks": "--full-k",
        "full_concepts": "--full-concepts",
        "photos_ks": "--photos-k",
        "match_ks": "--match-k",
        "match_positions": "--match-positions",
        "second_seed": "--second-seed",
        "tokens": "--tokens",
        "positions": "--positions",
        "batch": "--batch",
        "joined_expansion": "--joined-expansion"
    }
    for name, flag in names.items():
        value = getattr(settings, name)
        if value != getattr(usual, name):
            yield f"{flag} {','.join(map(str, value)) or repr('')}" if isinstance(value,
                                                                                  tuple) else f"{flag} {value}"


def trained_on_photos(results):
    """The second training, from its own record."""
    seen = []
    for k in results.settings.photos_ks:
        info = results.run(f"photos-k{k}")
        if info:
            tokens = info.get("step", 0) * (info.get("options") or {}).get("batch", 0)
            count = (info.get("images") or {}).get("count")
            seen.append(f"k = {k}: {figure(tokens or None)} tokens a tap of {figure(count)} images")
    return "; ".join(seen) or MISSING


def held_out_images(results):
    for tap in results.settings.taps():
        count = results.evaluation(results.settings.ks[-1], tap).get("images")
        if count:
            return count
    return None


def analysed(results):
    """Images and tokens of the analyses, from their own records."""
    settings, seen = results.settings, {}
    for images, steps in plan.looks(settings).items():
        for k, step in steps.items():
            about = next((found.about() for tap in settings.taps() if (found := results.branches(step, tap))), None)
            if about:
                counts = f"{figure(about.get('images'))} images, {figure(about.get('tokens'))} tokens"
                seen.setdefault(f"{images}: {counts}, {figure(about.get('labelled'))} labelled", []).append(str(k))
    return "; ".join(f"{what}, k = {', '.join(ks)}" for what, ks in seen.items()) or MISSING


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
    cells = [cell.says for test in tests for cell in test.cells]
    says = [one for one in cells if one != rules.OPEN]
    if not says:
        return ""
    counts = [
        f"{says.count(one)} {one}" for one in (rules.FOR, rules.AGAINST, rules.NEITHER, rules.VOID)
        if says.count(one)
    ]
    known = f"{len(says)} cells" if len(says) == len(cells) else f"{len(says)} of {len(cells)} cells measured"
    return f" ({known}: {', '.join(counts)})"


def summary(tests):
    """The claims' table: at the largest k, the paper's, with all k in one column."""
    rows = []
    for test in tests:
        k, effect = next(((k, one) for k in reversed(test.ks()) if (one := test.pooled(k))), (None, None))
        p = f"{probability(effect.p)} (n = {figure(effect.n)})" if effect else MISSING
        rows.append(
            (f"**{test.claim}**", test.how, f"{test.effect} {with_interval(effect)}" if effect else MISSING, p,
             test.controls.get(k, MISSING), test.correction, by_k(test), f"**{test.verdict()}**"))
    text = "## The claims\n\n"
    for claim in dict.fromkeys(test.claim for test in tests):
        mine = [test for test in tests if test.claim == claim]
        verdict = rules.together([test.verdict() for test in mine])
        text += f"- **{claim}**, {mine[0].text}: **{verdict}**{tally(mine)}.\n"
    return (text +
            "\nEffects with 95 % intervals and p are of the largest k that was measured, the layers' effects "
            "as one (random effects of DerSimonian and Laird, z test); no effect is AUROC 0.5, odds ratio 1, r 0. "
            "Controls are of the same k, and by name the other branches. The cells behind the verdicts, layer by "
            "layer with their own q, are below.\n\n" + table(
                ("claim", "our test", "effect", "p", "controls", "q of a cell", "k: layers for / against",
                 "verdict"), rows))


def not_measured(settings, tests):
    """What the verdicts lack: cells that are open, and what was never to be asked."""
    lines = []
    for test in tests:
        parts = []
        for k in test.ks():
            cells = test.at(k)
            missing = [cell.where for cell in cells if cell.says == rules.OPEN]
            if missing:
                parts.append(f"k = {k}" + ("" if len(missing) == len(cells) else f" ({'; '.join(missing)})"))
        if parts:
            lines.append(f"- {test.claim}, {test.how}: {', '.join(parts)}")
    said = "\n".join(lines) if lines else "Every cell of the claims was measured."
    text = f"### Not measured\n\n{said}\n"
    if settings.has_more_than_photos():
        without = [] if "colour" in settings.full_concepts else [
            "colour (C4) of the shards, which would have cost "
            "another pass over them"
        ]
        without.append("C5 of the autoencoders that were trained on the photos alone")
        text += f"\nNot asked at all: {'; '.join(without)}.\n"
    return text


def steps_table(settings):
    rows = [(step.name, f"`branchsae {step.arguments[0]}`", duration(runner.seconds_of(settings, step)),
             runner.version_of(settings, step) or MISSING) for step in plan.all_steps(settings)]
    kept = [(step.name, "all taps" if len(taps) == len(runner.option(step, "--tap").split(",")) else ", ".join(taps))
            for step in plan.all_steps(settings) if (taps := runner.kept_of(settings, step))]
    said = "".join(f" Of {name}, {taps} had been written by earlier calls, cut off since or of these taps alone, "
                   "whose time is not known here; the version is that of the program which went on from there."
                   for name, taps in kept)
    return ("## Steps\n\nWall time of each call of the program, whatever else the machine did; of a run that was "
            f"stopped and resumed its last part. All taps and k of `train-layers` train in one pass.{said}\n\n" +
            table(("step", "command", ">time", "version"), rows))
