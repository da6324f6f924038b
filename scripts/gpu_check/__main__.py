"""scripts/gpu_check.sh, which has the usage text."""
import argparse
import dataclasses
import datetime
import pathlib
import shlex
import sys
import time

from gpu_check import parts, report, runner


def say(text):
    print(text, file=sys.stderr, flush=True)


def find_gpu():
    """Name, driver and memory of the first GPU; exits when none answers."""
    done = runner.run(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"], 30)
    fields = [field.strip() for field in done.output.splitlines()[0].split(",")] if done.output.strip() else []
    if done.code != 0 or len(fields) != 3:
        why = done.why() if done.code else "nvidia-smi lists none"
        sys.exit(f"gpu_check: no GPU answers here ({why}); nothing was measured")
    return dict(zip(("name", "driver", "memory"), fields))


def parse():
    parser = argparse.ArgumentParser(prog="gpu_check.sh", add_help=False, usage="see gpu_check.sh --help")
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("gpu-check"))
    parser.add_argument("--python")
    parser.add_argument("--only")
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    names = [name for name, _, _ in parts.PARTS]
    options.only = options.only.split(",") if options.only else names
    if unknown := [name for name in options.only if name not in names]:
        parser.error(f"no part '{unknown[0]}'; there are {', '.join(names)}")
    if options.model and not options.model.is_file():
        parser.error(f"--model {options.model}: no such file")
    if not (options.build / "bin/branchsae").is_file():
        parser.error(f"--build {options.build}: no build; bin/branchsae is not there")
    if not options.minutes > 0:
        parser.error("--minutes must be positive")
    return options


def version(check):
    """The lines that `branchsae --version` prints; exits when it does not run."""
    done = runner.run([check.program("branchsae"), "--version"], 30)
    if done.code != 0:
        sys.exit(f"gpu_check: {done.why()}")
    return done.output.splitlines()


def main():
    options = parse()
    check = parts.Check(options.build.resolve(), options.model and options.model.resolve(), options.python, find_gpu())
    built = version(check)
    say(f"{check.gpu['name']}, driver {check.gpu['driver']}; at most {options.minutes:g} minutes")
    begin = time.monotonic()
    deadline = begin + 60 * options.minutes
    found, interrupted = [], False
    for name, function, limit in parts.PARTS:
        if name not in options.only:
            continue
        say(f"== {name}")
        try:
            part = runner.run_part(name, function, limit, deadline, check)
        except KeyboardInterrupt:
            interrupted = True
            part = runner.Part(name, runner.FAILED, "interrupted")
        found.append(part)
        say(f"   {part.status}, {part.seconds:.0f} s: {part.summary}")
        if interrupted:
            break
    now = datetime.datetime.now().astimezone()
    command = shlex.join(["scripts/gpu_check.sh", *sys.argv[1:]])
    report.write(options.out, {
        "gpu": check.gpu, "version": built[0], "built": built, "date": now.isoformat(timespec="seconds"),
        "command": command, "seconds": round(time.monotonic() - begin, 1),
        "parts": [dataclasses.asdict(part) for part in found]})
    counts = {status: sum(part.status == status for part in found)
              for status in (runner.PASSED, runner.FAILED, runner.SKIPPED)}
    print(report.table(["part", "result", "seconds", ""],
                       [[part.name, part.status, f"{part.seconds:.0f}", part.summary] for part in found]))
    total = ", ".join(f"{count} {status}" for status, count in counts.items())
    print(f"\n{total}; {options.out}.md, {options.out}.json")
    sys.exit(130 if interrupted else 1 if counts[runner.FAILED] else 0)


if __name__ == "__main__":
    main()
