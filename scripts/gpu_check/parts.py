"""What is checked, one function a part: (check, clock) -> (summary, details); Failure and Skip say what else there was."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile

from gpu_check.runner import Failure, Skip

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Tokens, width, latents: the shapes whose times the design names.
SHAPES = ["65536,48,768", "65536,128,2048", "32768,256,4096", "16384,512,8192", "16384,768,32768"]
FORWARD = ["--to", "mixed4e", "--batch", "256"]
SANITIZERS = ["memcheck", "racecheck", "synccheck", "initcheck"]


def doctest_counts(text):
    """(passed, failed, skipped) test cases of a doctest program's output; None without a summary."""
    if found := re.search(r"^\[cases\] (\d+) passed, (\d+) failed, (\d+) skipped", text, re.MULTILINE):
        return tuple(map(int, found.groups()))
    found = re.search(r"test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed", text)
    if found is None:
        return None
    noted = re.search(r"^\[skipped\] (\d+) of", text, re.MULTILINE)
    skipped = int(noted.group(1)) if noted else 0
    return int(found.group(2)) - skipped, int(found.group(3)), skipped


def device_tests(build):
    """Programs that test the device: those named *_device, and those that ctest labels gpu."""
    folder = build / "tests"
    names = {path.name for path in folder.glob("*_device") if path.is_file()}
    for listing in folder.rglob("CTestTestfile.cmake"):
        text = listing.read_text(encoding="utf-8", errors="replace")
        for name, properties in re.findall(r"set_tests_properties\((\S+) PROPERTIES (.*)\)", text):
            labels = re.search(r'LABELS "([^"]*)"', properties)
            if labels and "gpu" in labels.group(1).split(";"):
                names.add(re.sub(r"^\[=*\[|\]=*\]$", "", name))
    return sorted(folder / name for name in names if (folder / name).is_file())


def tests(check, clock):
    """Every test program of the device, one after the other."""
    programs = device_tests(check.build)
    if not programs:
        raise Skip(f"{check.build}/tests has no test programs for the device; build with -DBRANCHSAE_TESTS=ON and CUDA")
    details, bad, log = [], [], ""
    for number, program in enumerate(programs):
        if clock.left() <= 0:
            bad.append(f"no time for {len(programs) - number} of {len(programs)} programs")
            break
        done = clock.run([program])
        counts = doctest_counts(done.output)
        passed, failed, skipped = counts or (0, 0, 0)
        details.append({"program": program.name, "exit": done.code, "passed": passed, "failed": failed,
                        "skipped": skipped, "seconds": round(done.seconds, 2)})
        if done.code != 0 or counts is None or failed or not passed:
            reason = done.why() if done.code not in (0, 77) else f"{program.name}: {passed} passed, {skipped} skipped"
            bad.append(reason)
            log += f"--- {program.name}\n{done.last_lines()}\n"
    total = {key: sum(item[key] for item in details) for key in ("passed", "failed", "skipped")}
    summary = ", ".join(f"{count} {key}" for key, count in total.items()) + f" in {len(details)} programs"
    if bad:
        raise Failure(f"{summary}; {'; '.join(bad)}", log, details)
    return summary, details


def digests(done):
    if done.code != 0:
        raise Failure(done.why(), done.last_lines())
    return dict(re.findall(r"^\[digest\] (.+) ([0-9a-f]{64})$", done.output, re.MULTILINE))


def emulator(check, clock):
    """The same source on integer data, on the device and emulated: the same bits."""
    on_device = digests(clock.run([check.test("cuda_integer_digest_device")]))
    emulated = digests(clock.run([check.test("cuda_integer_digest")]))
    if not on_device or on_device.keys() != emulated.keys():
        raise Failure(f"{len(on_device)} digests on the device, {len(emulated)} emulated, or of different cases")
    different = [name for name, digest in on_device.items() if emulated[name] != digest]
    details = [{"case": name, "device": digest, "emulated": emulated[name]} for name, digest in on_device.items()]
    if different:
        raise Failure(f"{len(different)} of {len(on_device)} outputs differ: {', '.join(different)}", details=details)
    return f"{len(on_device)} outputs equal, bit for bit", details


def sanitizers(check, clock):
    """compute-sanitizer's tools over the same small cases."""
    tool = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if tool is None:
        raise Skip("compute-sanitizer is not installed")
    program = check.test("cuda_integer_digest_device")
    details, bad, log = [], [], ""
    for number, kind in enumerate(SANITIZERS):
        done = clock.run([tool, "--tool", kind, "--error-exitcode", "99", program],
                         clock.left() / (len(SANITIZERS) - number))
        text = done.output + done.errors
        found = re.search(r"(?:ERROR|RACECHECK) SUMMARY: (\d+)", text)
        if found is None and re.search(r"not supported|Unable to find|LibraryNotLoaded", text):
            raise Skip(f"compute-sanitizer does not work here: {done.why()}")
        errors = int(found.group(1)) if found else None
        details.append({"tool": kind, "errors": errors, "seconds": round(done.seconds, 1)})
        if done.code != 0 or errors != 0:
            bad.append(f"{kind}: {errors} errors" if errors else f"{kind}: {done.why()}")
            log += f"--- {kind}\n{done.last_lines()}\n"
    if bad:
        raise Failure("; ".join(bad), log, details)
    return "clean: " + ", ".join(SANITIZERS), details


def json_lines(done):
    found = []
    for line in done.output.splitlines():
        if line.startswith("{"):
            try:
                found.append(json.loads(line))
            except ValueError:
                pass  # a line that was cut off when the time was up
    return found


def run_all(clock, commands, environment=None):
    """Runs each command for an equal share of what is left; (JSON objects, complaints, log)."""
    details, bad, log = [], [], ""
    for number, command in enumerate(commands):
        if clock.left() <= 0:
            bad.append(f"no time for {len(commands) - number} of {len(commands)} commands")
            break
        done = clock.run(command, clock.left() / (len(commands) - number), environment)
        details += json_lines(done)
        if done.code != 0:
            bad.append(done.why())
            log += f"--- {' '.join(done.command)}\n{done.last_lines()}\n"
    return details, bad, log


def figures(what, details, bad, log):
    if not details and not bad:
        raise Failure(f"no {what} printed a figure")
    if bad:
        raise Failure(f"{len(details)} figures; {'; '.join(bad)}", log, details)
    return f"{len(details)} figures", details


def benches(check, clock):
    """Our programs; each checks its answer before it times. A command a shape: one that fails loses no other."""
    model = [check.model] if check.model else []
    wanted = [(name, [*model, *arguments]) for name, arguments in (("bench_forward", FORWARD), ("bench_train", []))
              if model]
    wanted += [(name, ["--shape", shape]) for shape in SHAPES for name in ("bench_sae_step", "bench_encode_topk")]
    programs = {name: check.build / "bin" / name for name, _ in wanted}
    missing = [name for name, program in programs.items() if not program.is_file()]
    commands = [[programs[name], *arguments, "--device", "cuda", "--json", "--seconds", "1"] for name, arguments in wanted
                if name not in missing]
    if not commands:
        raise Skip(f"{check.build}/bin has no benchmarks")
    details, bad, log = run_all(clock, commands)
    if missing:
        bad.append(f"not built: {', '.join(missing)}")
    return figures("benchmark", details, bad, log)


def baselines(check, clock):
    """PyTorch and Triton on the same shapes."""
    probe = clock.run([check.python, "-c", "import torch; print(torch.cuda.is_available())"], 60)
    if probe.output.strip() != "True":
        raise Skip(f"{check.python} has no PyTorch that sees the GPU (--python names another)")
    folder = ROOT / "bench/baselines"
    # The networks first: it is one command, and torch.compile of the shapes takes what is left.
    commands = [[check.python, folder / "gpu_forward.py", "--onnx", check.model, *FORWARD, "--seconds", "1"]] \
        if check.model else []
    commands += [[check.python, folder / "gpu_sae_step.py", "--shape", shape, "--seconds", "0.5", "--variant",
                  "dense,triton,openai,compiled"] for shape in SHAPES]
    details, bad, log = run_all(clock, commands, {"OMP_WAIT_POLICY": "passive"})
    bad += [f"{item.get('baseline')}: {item['error']}" for item in details if "error" in item]
    return figures("baseline", details, bad, log)


def file_hashes(run):
    """{path: sha256} of what a run must end in."""
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(run.rglob("*.safetensors"))}


def repeats(check, clock):
    """Two trainings from one seed: weights and optimiser state must be the same bytes."""
    hashes = []
    model = ["--model", check.model] if check.model else []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first", "second"):
            run = pathlib.Path(folder, name)
            done = clock.run([check.program("branchsae"), "demo", *model, "--synthetic", pathlib.Path(folder, "data"),
                              "--tokens", "200000", "--seed", "7", "--device", "cuda", "--out", run])
            if done.code != 0:
                raise Failure(done.why(), done.last_lines())
            hashes.append(file_hashes(run))
    first, second = hashes
    if not first:
        raise Failure("the runs left no .safetensors files")
    different = [name for name in first.keys() | second.keys() if first.get(name) != second.get(name)]
    details = [{"file": name, "sha256": value} for name, value in first.items()]
    if different:
        raise Failure(f"{len(different)} of {len(first)} files differ: {', '.join(sorted(different))}", details=details)
    return f"{len(first)} files equal", details


# Name, function, seconds at most.
PARTS = [("tests", tests, 120), ("emulator", emulator, 40), ("sanitizers", sanitizers, 100),
         ("benches", benches, 140), ("baselines", baselines, 150), ("repeats", repeats, 50)]


class Check:
    """What the parts work on."""

    def __init__(self, build, model, python, gpu):
        self.build, self.model, self.gpu = build, model, gpu
        self.python = python or os.environ.get("BRANCHSAE_PYTHON") or "python3"

    def program(self, name):
        return self.need(self.build / "bin" / name)

    def test(self, name):
        return self.need(self.build / "tests" / name)

    @staticmethod
    def need(path):
        if not path.is_file():
            raise Failure(f"{path} is not built")
        return path
