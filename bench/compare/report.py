"""What is written: Markdown for readers, JSON with everything."""
import statistics


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] + ["---:"] * (len(head) - 1)) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def count(value):
    """1,234,567; small rates with a decimal."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def ratio_text(ratio):
    """3.1x (2.9-3.3)"""
    if not ratio:
        return "-"
    return f"{ratio['median']:.2f}x ({ratio['least']:.2f}-{ratio['most']:.2f})"


def mib(value):
    return f"{value:,.0f} MiB" if value else "-"


def sae_section(results):
    head = ["case (B/d/n, k 32)", "ours", "fastest other", "ratio", "of sgemm", "ours, AVX2", "ratio", "memory"]
    summary = table(head, [
        [f"{r['case']}" + ("" if r["case"].startswith("normal") else f" {r['batch']}/{r['d']}/{r['n']}")
         + (f", {100 * r['density']:.0f} % nonzero" if r["density"] < 0.995 else ""),
         count(r["medians"]["ours"]),
         f"{count(r['medians'][r['best']])} ({r['best']})" if r["best"] else "-", ratio_text(r["ratios"].get("ours")),
         f"{r['percent_of_gemm']:.0f} % of {r['gemm_gflops']:.0f}", count(r["medians"].get("ours, AVX2")),
         ratio_text(r["ratios"].get("ours, AVX2")), f"{mib(r['ours_mib'])} / {mib(r.get('theirs_mib'))}"]
        for r in results])
    names = list(dict.fromkeys(name for r in results for name in r["medians"] if not name.startswith("ours")))
    every = table(["tokens/s"] + [r["case"].removeprefix("normal ") for r in results],
                  [[name] + [count(r["medians"].get(name)) for r in results] for name in names])
    worst = max(r["loss_difference"] for r in results)
    return "\n\n".join(["## Training step of an autoencoder", "Tokens/s, medians of the rounds.", summary,
                        "Of sgemm: the encode's product alone, GFLOP/s of the best run of oneDNN's and PyTorch's, is "
                        "the limit that the whole step is set against. Memory: peak of a process that does only "
                        "this, ours / the fastest other; ours holds the benchmark's own arrays too.",
                        f"The plain ways in PyTorch show our losses of the first five steps within {worst:.0e}. The "
                        "libraries' formulas differ (bench/compare/sae_libraries.py): only their speed is "
                        "compared.\n\nEvery way, tokens/s; only the fastest were timed in every round:", every])


def forward_section(results):
    rows = []
    for r in results:
        for mode, ratios in r["ratios"].items():
            others = [name for name in r["medians"] if not name.startswith("ours")]
            rows.append([f"{r['case']}: {mode}", count(r["medians"][mode]), f"{r['percent_of_fma'][mode]:.0f} %"]
                        + [f"{ratio_text(ratios.get(name))}" for name in others])
    others = list(dict.fromkeys(name for r in results for name in r["medians"] if not name.startswith("ours")))
    theirs = table(["images/s"] + others, [[r["case"]] + [count(r["medians"].get(name)) for name in others]
                                           for r in results])
    memory = table(["peak memory"] + [f"{r['case']}" for r in results],
                   [[name] + [memory_text(r["memory"].get(name)) for r in results]
                    for name in dict.fromkeys(name for r in results for name in r["memory"])])
    errors = {}
    for r in results:
        for name, error in r["errors"].items():
            errors[name] = max(error, errors.get(name, 0))
    said = ", ".join(f"{name} {error:.0e}" for name, error in errors.items())
    direct = max(r["direct_difference"] for r in results)
    peak = max(r["fma_gflops"] for r in results)
    return "\n\n".join(["## Forward pass", "Images/s, medians of the rounds; ratios of ours to each.",
                        table(["case", "ours", "of FMA peak"] + others, rows), "Theirs:", theirs,
                        f"FMA peak: {peak:.0f} GFLOP/s, measured between the runs. Largest error against ONNX Runtime "
                        f"over the largest value: {said}; ours with direct convolutions differs from our default by "
                        f"{direct:.0e} (norms).", memory,
                        "Peak memory of a process that reads one batch and runs it; in brackets what importing the "
                        "libraries took of it."])


def memory_text(found):
    if not found:
        return "-"
    imported = f" ({found['imported_mib']:,.0f})" if found.get("imported_mib") else ""
    return mib(found["peak_mib"]) + imported


def end_to_end_section(results):
    parts = []
    for r in results:
        ours, theirs = r["ours"][-1], r["theirs"][-1]
        seconds = {who: ", ".join(f"{job['seconds']:.1f}" for job in r[who]) for who in ("ours", "theirs")}
        parts.append(f"{r['tokens']:,} tokens for each of five autoencoders; seconds of the whole processes: ours "
                     f"{seconds['ours']}, PyTorch {seconds['theirs']} (last one: decoding and network "
                     f"{theirs['decode_forward_s']:.1f}, training {theirs['training_s']:.1f}). Ratio "
                     f"{ratio_text(r['ratios']['ours'])}. Peak memory: ours {mib(ours['peak_mib'])}, PyTorch "
                     f"{mib(theirs['peak_mib'])} (its decoding processes not counted).")
        parts.append(f"Held-out FVU, median of {len(r['ours'])} seeds, with the least and the largest:")
        parts.append(table(["tap"] + list(ours["fvu"]),
                           [["ours"] + [fvu_text(r["ours"], tap) for tap in ours["fvu"]],
                            ["PyTorch"] + [fvu_text(r["theirs"], tap) for tap in ours["fvu"]]]))
    return "\n\n".join(["## From photos to five autoencoders", *parts])


def fvu_text(jobs, tap):
    found = sorted(job["fvu"][tap] for job in jobs)
    spread = f" ({found[0]:.4f}-{found[-1]:.4f})" if len(found) > 1 else ""
    return f"{statistics.median(found):.4f}{spread}"


def scaling_section(results):
    widths = [r for r in results if "n" in r]
    images = [r for r in results if "images" in r]
    parts = ["## How cost grows"]
    if widths:
        parts.append(table(["d", "n", "tokens/s", "encode's GFLOP/s", "of sgemm", "autoencoder"], [
            [str(r["d"]), f"{r['n']:,}", count(r["tokens_per_s"]), f"{r['gflops']:.0f}",
             f"{100 * r['gflops'] / r['gemm_gflops']:.0f} %", mib(r["sae_mib"])] for r in widths]))
    if images:
        parts.append(table(["images", "seconds", "images/s", "peak memory", "waiting"], [
            [f"{r['images']:,}", f"{r['seconds']:.1f}", count(r["images_per_s"]), mib(r["peak_mib"]),
             waiting(r["timings"])] for r in images]))
    return "\n\n".join(parts)


def waiting(timings):
    """Share of the time that the forward pass waited for decoded images, where run.json says."""
    wait, total = timings.get("wait"), timings.get("total")
    return f"{100 * wait / total:.1f} %" if wait is not None and total else "-"


SECTIONS = {"sae": sae_section, "forward": forward_section, "end-to-end": end_to_end_section,
            "scaling": scaling_section}


def heading(report):
    machine = report["machine"]
    processor = machine["processor"]
    commit = f"commit {machine['commit']}" + (" with changes" if machine["dirty"] else "") \
        if machine["commit"] else "no git checkout"
    packages = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    kind = f" (family {processor['family']}, model {processor['model']})" if processor["family"] else ""
    return (f"{machine['date']}, {commit}. {processor['name']}{kind}, {processor['cores']} processors, "
            f"{' '.join(processor['isa'])}; {report['threads']} threads, {report['rounds']} rounds of "
            f"{report['seconds']:g} s.\n"
            f"{packages}.\n\n    {report['command']}\n\n"
            "Programs take turns within a round and the order turns from round to round. A ratio is that of the "
            "medians; in brackets the least and the largest of a round.")


def markdown(report):
    parts = ["# CPU: ours beside others", heading(report)]
    for part, section in SECTIONS.items():
        results = [result for result in report["results"] if result["part"] == part]
        if results:
            parts.append(section(results))
    if report["notes"]:
        parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in report["notes"]))
    if report["commands"]:
        parts.append("## Our commands\n\n" + "\n".join(f"    {command}" for command in report["commands"]))
    return "\n\n".join(parts) + "\n"
