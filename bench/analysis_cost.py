#!/usr/bin/env python3
"""What the analysis of one whole-layer autoencoder costs: wall time and peak memory of eval, features and branches.

    bench/analysis_cost.py --branchsae build/bin/branchsae --run runs/mixed4d --tap mixed4d --images photos/

Each command runs over the first 250, 500 and all 1,000 photos (--counts), results to a scratch folder. The sum over the
commands at the largest count is held against --most-seconds and --most-memory, and the time of an image added between two
counts against that between the others: a cost that is not linear shows there. Exit code 1: over a bound, or a command failed.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

KINDS = {".jpg", ".jpeg", ".png", ".bmp"}
COMMANDS = {"eval": ("--all", ), "features": (), "branches": ()}
MIB = 1024.0


def photos(folder, counts):
    """Byte-sorted paths: as many as the largest count."""
    found = sorted((path for path in folder.rglob("*") if path.suffix.lower() in KINDS), key=os.fsencode)
    if len(found) < max(counts):
        sys.exit(f"analysis_cost: {folder} holds {len(found)} photos, --counts asks for {max(counts)}")
    return found[:max(counts)]


def measure(words):
    """(seconds, peak MiB, seconds of processor time) of a process; ends the script when it fails."""
    begin = time.monotonic()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        text = errors.read().decode(errors="replace").strip()
    if process.returncode:
        sys.exit(f"analysis_cost: {' '.join(words)}: exit code {process.returncode}: {text.splitlines()[-1:]}")
    return time.monotonic() - begin, usage.ru_maxrss / MIB, usage.ru_utime + usage.ru_stime


def measure_all(a, scratch):
    """{command: {count: what measure() gives}}"""
    images, results = photos(a.images, a.counts), {}
    for command in a.commands:
        results[command] = {}
        for count in a.counts:
            listed = scratch / f"{count}.txt"
            listed.write_text("".join(f"{path.resolve()}\n" for path in images[:count]))
            words = [
                str(a.branchsae), command,
                str(a.run),
                str(listed), "--tap", a.tap, "--threads",
                str(a.threads), "--no-progress", "--json", "--out",
                str(scratch / command), *COMMANDS[command]
            ]
            results[command][count] = measure(words)
            print(f"analysis_cost: {command} {count}: {results[command][count][0]:.1f} s",
                  file=sys.stderr,
                  flush=True)
    return results


def slopes(times, counts):
    """Milliseconds that each added image takes, between neighbouring counts."""
    return [1000 * (times[b] - times[a]) / (b - a) for a, b in zip(counts, counts[1:])]


def report(results, counts):
    """A Markdown table and (seconds, MiB) of all commands at the largest count."""
    totals = {count: sum(results[command][count][0] for command in results) for count in counts}
    most = max(results[command][counts[-1]][1] for command in results)
    steps = [f"{a} to {b}" for a, b in zip(counts, counts[1:])]
    lines = [[
        "command", *(f"{count} photos, s" for count in counts), *(f"ms an image, {step}" for step in steps),
        f"processor s at {counts[-1]}", f"peak at {counts[-1]}, MiB"
    ]]
    lines.append(["---", *["---:"] * (len(lines[0]) - 1)])
    for command, by_count in results.items():
        times = {count: by_count[count][0] for count in counts}
        lines.append([
            f"`{command}`", *(f"{times[count]:.1f}" for count in counts),
            *(f"{slope:.1f}" for slope in slopes(times, counts)), f"{by_count[counts[-1]][2]:.0f}",
            f"{by_count[counts[-1]][1]:.0f}"
        ])
    lines.append([
        "all", *(f"{totals[count]:.1f}" for count in counts), *(f"{slope:.1f}" for slope in slopes(totals, counts)),
        f"{sum(by_count[counts[-1]][2] for by_count in results.values()):.0f}", f"{most:.0f}"
    ])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines), totals[counts[-1]], most


def counts_of(text):
    try:
        values = sorted({int(word) for word in text.split(",")})
    except ValueError:
        values = []
    if not values or values[0] < 1:
        raise argparse.ArgumentTypeError(f"takes numbers above 0 and commas, as 250,500,1000, not '{text}'")
    return values


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--branchsae", type=pathlib.Path, required=True, metavar="PROGRAM")
    parser.add_argument("--run", type=pathlib.Path, required=True)
    parser.add_argument("--tap", required=True)
    parser.add_argument("--images", type=pathlib.Path, required=True, help="a folder of photos")
    parser.add_argument("--counts", type=counts_of, default=[250, 500, 1000])
    parser.add_argument("--commands", type=lambda text: text.split(","), default=list(COMMANDS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--most-seconds", type=float, default=180)
    parser.add_argument("--most-memory", type=float, default=2048, help="MiB")
    parser.add_argument("--json", action="store_true", help="the figures as JSON instead of a table")
    a = parser.parse_args(arguments)
    unknown = set(a.commands) - set(COMMANDS)
    if unknown:
        parser.error(f"--commands takes {', '.join(COMMANDS)}, not {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as scratch:
        results = measure_all(a, pathlib.Path(scratch))
    table, seconds, memory = report(results, a.counts)
    print(json.dumps(results) if a.json else table)
    over = [
        text for text, wrong in ((f"{seconds:.0f} s, bound {a.most_seconds:.0f}", seconds > a.most_seconds),
                                 (f"{memory:.0f} MiB, bound {a.most_memory:.0f}", memory > a.most_memory)) if wrong
    ]
    print(f"analysis_cost: {'over: ' + '; '.join(over) if over else 'within bounds'}", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
