#!/usr/bin/env python3
"""Ours beside ONNX Runtime, PyTorch and the libraries that train TopK autoencoders, on this CPU, in one command.

    python3 bench/compare/run.py --model googlenet.onnx --images photos/
    python3 bench/compare/run.py --only sae --case 4096/64/1024

Makes a virtual environment in the build folder with pinned versions of what is compared with (--python: uses that one
and installs nothing). All sides get the same arrays and threads; their answers are compared before their speed is.
Prints Markdown and leaves it with a JSON file in --out. Exit code 1 when answers disagree or a case failed, 2 for wrong usage.
"""
import argparse
import json
import pathlib
import shlex
import signal
import subprocess
import sys
import tempfile

import contenders
import end_to_end_part
import environment
import forward_part
import rounds
import sae_part
import scaling_part
from context import Context
from results_file import ResultsFile

PARTS = {"sae": sae_part, "forward": forward_part, "end-to-end": end_to_end_part, "scaling": scaling_part}
USUAL = ("sae", "forward", "end-to-end")
NEEDED = {"sae": ("bench_sae_step",), "forward": ("bench_forward", "branchsae"), "end-to-end": ("branchsae",),
          "scaling": ("bench_sae_step",)}


def data_folder():
    """Where the model and photos may lie."""
    import os

    for folder in (os.environ.get("BRANCHSAE_DATA"), environment.ROOT / "data", environment.ROOT.parent / "shared"):
        if folder and pathlib.Path(folder, "model/googlenet.onnx").is_file():
            return pathlib.Path(folder)
    return None


def parse(arguments):
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--build", type=pathlib.Path, default=environment.ROOT / "build", help="our build folder")
    add("--model", type=pathlib.Path, help="ONNX file; else googlenet.onnx of $BRANCHSAE_DATA, data/ or ../shared")
    add("--images", type=pathlib.Path, help="folder of photos; else images/ there")
    add("--shards", type=pathlib.Path, nargs="+", default=[], help="tar shards, for --only scaling")
    add("--threads", type=int, default=2, help="of every program")
    add("--only", default=",".join(USUAL), help=f"parts, of {','.join(PARTS)} (default: all but scaling)")
    add("--case", default="", help="only cases whose name contains this: 4096/64/1024, mixed4c.5x5, batch 8")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=1.0, help="of each program in a round")
    add("--quick", action="store_true", help="few cases and rounds: does it all work here?")
    add("--python", type=pathlib.Path, help="Python that has the packages already; nothing is installed")
    add("--venv", type=pathlib.Path, help="where to install them (default: compare-venv in the build folder)")
    add("--out", type=pathlib.Path, default=environment.ROOT / "bench/results", help="folder of the results")
    add("--name", help="last part of the results' names (default: the processor)")
    options = parser.parse_args(arguments)
    options.only = options.only.split(",")
    unknown = [part for part in options.only if part not in PARTS]
    if unknown:
        parser.error(f"--only has no part '{unknown[0]}'; they are {', '.join(PARTS)}")
    if options.threads < 1 or options.rounds < 1 or options.seconds <= 0:
        parser.error("--threads, --rounds and --seconds must be positive")
    if options.quick:
        options.rounds, options.seconds = min(options.rounds, 2), min(options.seconds, 0.2)
    check_files(parser, options)
    return options


def check_files(parser, options):
    for part in options.only:
        for name in NEEDED[part]:
            if not (options.build / "bin" / name).is_file():
                parser.error(f"{options.build / 'bin' / name} is not there: build it, or give --build")
    for what, path, there in (("--model", options.model, pathlib.Path.is_file), ("--images", options.images,
                                                                               pathlib.Path.is_dir),
                              ("--python", options.python, pathlib.Path.is_file),
                              *(("--shards", shard, pathlib.Path.is_file) for shard in options.shards)):
        if path is not None and not there(path):
            parser.error(f"{what}: {path} is not there")
    data = data_folder()
    if data is not None:
        options.model = options.model or data / "model/googlenet.onnx"
        if options.images is None and (data / "images").is_dir():
            options.images = data / "images"


def python_with_packages(options, say):
    """The Python that runs theirs, and {library: why it is missing}."""
    if options.python is not None:
        return options.python.absolute(), {}
    python, missing = environment.make_venv(options.venv or options.build.absolute() / "compare-venv", say)
    return python.absolute(), missing


def machine_of(python):
    """environment.describe() and what is missing, as that Python sees them."""
    code = "import environment, json; print(json.dumps([environment.describe(), environment.missing_libraries()]))"
    done = subprocess.run([python, "-c", code], cwd=pathlib.Path(__file__).parent, capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise environment.SetupError(f"{python} cannot be used: {contenders.last_line(done.stderr)}")
    return json.loads(contenders.last_line(done.stdout))


def warn_when_busy(context):
    share = environment.busy_share()
    if share is not None and share > environment.BUSY:
        context.note(f"the machine was busy: other work took {100 * share:.0f} % of the processors before a part began")


def wide_ratios(result):
    """The ratios of a case whose rounds lie far apart, as text."""
    for name, found in result.get("ratios", {}).items():
        pairs = {name: found} if not found or "median" in found else {f"{name} / {other}": ratio
                                                                      for other, ratio in found.items()}
        for pair, ratio in pairs.items():
            if ratio and rounds.spread_is_wide(ratio):
                yield f"{pair} {ratio['least']:.2f} to {ratio['most']:.2f}"


def warn_when_wide(context, result):
    wide = list(wide_ratios(result))
    if wide:
        context.note(f"{result['case']}: ratios of the rounds lie far apart ({'; '.join(wide)}): measure again on a "
                     "quiet machine")


def run_part(context, name):
    """Yields the part's results; None for a case that failed, which leaves a note."""
    warn_when_busy(context)
    try:
        for case, work in PARTS[name].compare(context):
            try:
                result = work()
            except (contenders.Failure, rounds.Disagreement) as error:
                context.note(f"{case} failed: {error}")
                yield None
                continue
            warn_when_wide(context, result)
            yield result
    except (contenders.Failure, rounds.Disagreement) as error:
        context.note(f"{name} failed: {error}")
        yield None


def run_parts(context, names, so_far=lambda results: None):
    """All results, and whether all went well. so_far(results) after each; what was measured before an interruption is
    kept."""
    results = []

    def stop(*_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one is enough: the results are to be written yet
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        for name in names:
            for result in run_part(context, name):
                results.append(result)
                so_far([result for result in results if result is not None])
    except KeyboardInterrupt:
        context.note("interrupted: what was left is missing")
        results.append(None)
    return [result for result in results if result is not None], None not in results


def shown(command, scratch):
    """A command as others can read it: paths of the checkout from its root on, others by their last part."""
    def part(text):
        if not text.startswith("/"):
            return text
        path = pathlib.Path(text)
        for folder, name in ((pathlib.Path(scratch), "SCRATCH"), (environment.ROOT, "")):
            if path.is_relative_to(folder):
                return str(pathlib.Path(name, path.relative_to(folder)))
        return path.name

    return shlex.join(part(str(text)) for text in command)


def main(arguments=None):
    options = parse(arguments)
    said = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    with tempfile.TemporaryDirectory(prefix="branchsae-compare-") as scratch:
        try:
            python, missing = python_with_packages(options, said)
            machine, absent = machine_of(python)
        except environment.SetupError as error:
            sys.exit(f"run.py: {error}")
        missing = absent | missing
        context = Context(options.build.absolute(), pathlib.Path(scratch), python, options.model, options.images,
                          options.shards, options.threads, options.seconds, options.rounds, options.quick, options.case,
                          [name for name in environment.LIBRARIES if name not in missing])
        for why in missing.values():
            context.note(f"left out: {why}")
        command = shown(["python3", "bench/compare/run.py", *(sys.argv[1:] if arguments is None else arguments)],
                        scratch)
        name = environment.slug(options.name or machine["processor"]["name"])
        file = ResultsFile(options.out, f"{machine['date']}-cpu-{name}")

        def write(results, finished=False):
            return file.write({"machine": machine, "threads": options.threads, "rounds": options.rounds,
                               "seconds": options.seconds, "command": command, "results": results,
                               "notes": context.notes,
                               "commands": [shown(parts, scratch) for parts in context.commands]}, finished)

        results, well = run_parts(context, options.only, write)
        print(write(results, finished=True))
    print(f"written: {file.path.with_suffix('.md')} and {file.path}", file=sys.stderr)
    return 0 if well and results else 1


if __name__ == "__main__":
    sys.exit(main())
