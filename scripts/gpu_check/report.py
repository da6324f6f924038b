"""The two files: everything as JSON, what a reader wants as Markdown."""
import json

from gpu_check import targets
from gpu_check.targets import shape


def milliseconds(item):
    """Time of a step, from whichever figure there is."""
    if "ms_median" in item:
        return item["ms_median"]
    rate = item.get("tokens_per_s") or item.get("images_per_s")
    return 1e3 * item["batch"] / rate if rate else None


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] + ["---:"] * (len(head) - 1)) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def percents(item):
    """What the program itself says of its limits."""
    return "; ".join(f"{value:.0f} % of {key.removeprefix('percent_of_').replace('_', ' ')}"
                     for key, value in item.items()
                     if key.startswith("percent_of_") and isinstance(value, (int, float)))


def beside_baselines(case, unit, amount, ours, theirs, label):
    """Rows of one kind of work: ours, each baseline's figure, the ratio to the fastest."""
    ours = [item for item in ours if item.get("case") == case]
    theirs = [item for item in theirs if item.get("case") == case and item.get(amount)]
    if not ours and not theirs:
        return None
    rows = []
    for key in dict.fromkeys(map(label, ours + theirs)):
        mine = next((item for item in ours if label(item) == key), None)
        others = {item["baseline"]: item for item in theirs if label(item) == key}
        best = max((item[amount] for item in others.values()), default=None)
        rate = mine.get(amount) if mine else None
        rows.append([key, f"{rate:,.0f}" if rate else "-", f"{milliseconds(mine):.3f}" if mine and rate else "-",
                     percents(mine) if mine else "",
                     "; ".join(f"{name} {item[amount]:,.0f}" for name, item in others.items()) or "-",
                     f"{rate / best:.2f}" if rate and best else "-"])
    return table([case.replace("_", " "), unit, "ms", "limits", f"baselines, {unit}", "ours / best baseline"], rows)


def sae_label(item):
    return "/".join(str(value) for value in shape(item))


def forward_label(item):
    return f"to {item.get('to')}, batch {item.get('batch')}"


def train_label(item):
    return f"{len(item.get('taps', []))} taps, batch {item.get('batch')}"


def ceilings(ours):
    """One line of what the benchmarks measured of the machine beside their own work; empty when none did."""
    copies = [item["copy_gb_s"] for item in ours if item.get("copy_gb_s")]
    products = [item["gemm_gflops"] for item in ours if item.get("gemm_gflops")]
    found = [f"copy {max(copies):,.0f} GB/s"] if copies else []
    found += [f"matrix product {min(products) / 1e3:,.0f} to {max(products) / 1e3:,.0f} TFLOP/s by shape"] if products else []
    return f"Ceilings measured in the same runs: {', '.join(found)}." if found else ""


def target_table(ours, theirs):
    rows = [[what, wanted, found, "yes" if met else "**no**"]
            for what, wanted, found, met in targets.rows(ours, theirs, milliseconds)]
    return table(["on an H200", "target", "found", "met"], rows) if rows else ""


def details_of(report, name):
    return next((part["details"] for part in report["parts"] if part["name"] == name), [])


def markdown(report):
    gpu = report["gpu"]
    text = [f"# {gpu['name']}", "",
            f"{report['date']}, {report['version']}; driver {gpu['driver']}, {gpu['memory']}.", "",
            f"    {report['command']}", "",
            table(["part", "result", "seconds", ""],
                  [[part["name"], part["status"], f"{part['seconds']:.0f}", part["summary"].replace("|", "/")]
                   for part in report["parts"]])]
    ours, theirs = details_of(report, "benches"), details_of(report, "baselines")
    for section in (beside_baselines("sae_step", "tokens/s", "tokens_per_s", ours, theirs, sae_label),
                    beside_baselines("encode_topk", "tokens/s", "tokens_per_s", ours, [], sae_label),
                    beside_baselines("forward", "images/s", "images_per_s", ours, theirs, forward_label),
                    beside_baselines("train", "tokens/s", "tokens_per_s", ours, [], train_label),
                    ceilings(ours), target_table(ours, theirs)):
        if section:
            text += ["", section]
    for part in report["parts"]:
        if part["log"]:
            text += ["", f"## {part['name']}", "", "```", part["log"].rstrip().replace("```", "'''"), "```"]
    return "\n".join(text) + "\n"


def write(path, report):
    """path.json and path.md"""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(path.name + ".json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    path.with_name(path.name + ".md").write_text(markdown(report), encoding="utf-8")
