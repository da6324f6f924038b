"""Runs steps and remembers those that are done, so that a run that was cut off goes on where it stopped."""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time


class StepFailed(Exception):
    """The program ended with an error; the text names step, command and log."""


def write_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def read_json(path):
    """The document, or None where there is no file or one that is cut off."""
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def say(text):
    print(f"findings: {text}", file=sys.stderr, flush=True)


def marker(settings, step):
    return settings.work / "done" / f"{step.name}.json"


def same_training(info, arguments):
    """Whether a finished run's own record of its command line holds what the step would ask for."""
    recorded = info.get("command_line") or {}
    options = list(arguments)
    images = options[2:next((i for i, word in enumerate(options) if word.startswith("--")), len(options))]
    if (info.get("images") or {}).get("paths") != images or (info.get("model") or {}).get("path") != options[1]:
        return False
    if "--tokens" in options:  # the options: a run that goes on may have another number than its command line had
        if (info.get("options") or {}).get("tokens") != int(options[options.index("--tokens") + 1]):
            return False
    for flag in ("--tap", "--sweep", "--k", "--expansion", "--positions-per-image", "--batch", "--holdout",
                 "--seed"):
        if flag not in options:
            continue
        asked, kept = options[options.index(flag) + 1], recorded.get(flag[2:])
        if kept is None or flatten(kept) != flatten(asked):
            return False
    return True


def flatten(text):
    """'["a","b"]' and 'a,b' alike; numbers by their value."""
    try:
        value = json.loads(str(text))
    except ValueError:
        value = text
    if isinstance(value, (int, float)):
        return float(value)
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def finished_training(step):
    """Seconds that a complete run of these options took, or None."""
    info = read_json(step.run / "run.json") if step.run else None
    if not info or info.get("status") != "finished" or not same_training(info, step.arguments):
        return None
    return (info.get("timings") or {}).get("total", 0.0)


def is_done(settings, step):
    done = read_json(marker(settings, step))
    if step.run is not None:
        return finished_training(step) is not None
    return bool(done) and done.get("arguments") == list(step.arguments) and not outdated(settings, step)


def outdated(settings, step):
    """Whether a run that the step reads was trained on since."""
    made = marker(settings, step).stat().st_mtime_ns
    runs = (settings.work / "runs").glob("*/run.json")
    return any(run.stat().st_mtime_ns > made for run in runs if any(
        pathlib.PurePath(argument).is_relative_to(run.parent) for argument in step.arguments))


def option(step, flag):
    """Its value on the step's command line, or None."""
    words = step.arguments
    return words[words.index(flag) + 1] if flag in words else None


def sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def same_analysis(settings, step, tap):
    """Whether an earlier call wrote what this step of `branches` would write of one tap, by the file's own word."""
    document = read_json(pathlib.Path(option(step, "--out")) / tap / "branches.json")
    sae = pathlib.Path(step.arguments[1]) / tap / "sae.safetensors"
    if not document or not sae.is_file():
        return False
    about, images = document.get("about") or {}, option(step, "--images").split(",")
    trained = [(read_json(run) or {}).get("images") or {} for run in (settings.work / "runs").glob("*/run.json")]
    known = {one.get("fingerprint") for one in trained if one.get("paths") == images} - {None}
    decided = {*(document.get("concepts") or {}), *(one.split(":")[0] for one in document.get("left_out") or ())}
    return (about.get("images_sha256") in known and set(option(step, "--concepts").split(",")) <= decided
            and [str(about.get(name)) for name in ("run", "tap", "seed", "rounds")
                 ] == [step.arguments[1], tap,
                       option(step, "--seed"), option(step, "--rounds")] and about.get("sae_sha256") == sha256(sae))


def taps_kept(settings, step):
    """Taps of the step that need not be looked at again: a call of `branches` that is cut off has written some."""
    if step.arguments[0] != "branches" or not option(step, "--tap"):
        return []
    return [tap for tap in option(step, "--tap").split(",") if same_analysis(settings, step, tap)]


def without_taps(arguments, kept):
    """The command line for the other taps."""
    if not kept:
        return arguments
    place = arguments.index("--tap") + 1
    taps = [tap for tap in arguments[place].split(",") if tap not in kept]
    return (*arguments[:place], ",".join(taps), *arguments[place + 1:])


def arguments_to_run(step):
    """A training run that was cut off goes on."""
    if step.run is not None and (step.run / "run.json").exists():
        info = read_json(step.run / "run.json")
        if info and info.get("status") != "finished" and same_training(info, step.arguments):
            return ("train", "--resume", str(step.run), "--no-progress")
        raise StepFailed(
            f"{step.name}: {step.run} holds a run with other options or images; move it away, or give another --work"
        )
    return step.arguments


def run_step(settings, step):
    """Runs what is not done yet. Raises StepFailed."""
    if is_done(settings, step):
        return
    kept = taps_kept(settings, step)
    record = {"arguments": list(step.arguments), "kept": kept}
    if kept and len(kept) == len(option(step, "--tap").split(",")):
        write_text(marker(settings, step), json.dumps(record | {"version": version(settings)}, indent=1))
        return
    say(f"{step.name} ..." + (f" without {', '.join(kept)}, which are there" if kept else ""))
    arguments = without_taps(arguments_to_run(step), kept)
    log = settings.work / "logs" / f"{step.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with log.open("w", encoding="utf-8") as errors:
        done = subprocess.run([str(settings.program), *arguments],
                              stdout=subprocess.PIPE,
                              stderr=errors,
                              text=True,
                              check=False)
    seconds = time.monotonic() - begin
    if done.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise StepFailed(f"{step.name}: exit code {done.returncode}: {lines[-1] if lines else 'no message'} "
                         f"({settings.program} {' '.join(arguments)}; {log})")
    ending = "json" if "--json" in arguments else "txt"
    write_text(settings.work / "results" / f"{step.name}.{ending}", done.stdout)
    record |= {"seconds": seconds, "version": version(settings)}
    write_text(marker(settings, step), json.dumps(record, indent=1))
    say(f"{step.name}: {seconds:.0f} s")


def version(settings):
    """First line of what the program says of itself; "" when it does not."""
    said = subprocess.run([str(settings.program), "--version"], capture_output=True, text=True, check=False).stdout
    return said.splitlines()[0].removeprefix("branchsae ") if said else ""


def version_of(settings, step):
    """The version that made a step's results; "" when it is not known."""
    done = read_json(marker(settings, step)) or {}
    info = read_json(step.run / "run.json") if step.run else None
    return ((info or {}).get("versions") or {}).get("branchsae") or done.get("version") or ""


def kept_of(settings, step):
    """Taps whose results an earlier call had written."""
    return (read_json(marker(settings, step)) or {}).get("kept") or []


def seconds_of(settings, step):
    """What a step took; None when it was not run."""
    done = read_json(marker(settings, step))
    trained = finished_training(step)
    return trained if trained is not None else (done or {}).get("seconds")
