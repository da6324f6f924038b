"""The Python packages that are compared with, in a virtual environment of their own, and what the machine is."""
import datetime
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Without these nothing can be compared; what a library below needs must fit them.
CORE = {"numpy": "2.4.6", "onnx": "1.23.2", "onnxruntime": "1.32.0", "torch": "2.15.0", "torchvision": "0.29.2",
        "pillow": "13.0.0", "safetensors": "0.8.0"}
# Libraries that train TopK autoencoders: {what is imported: (name on PyPI, version)}.
LIBRARIES = {"sparsify": ("eai-sparsify", "1.3.3"), "sae_lens": ("sae-lens", "6.54.12"),
             "overcomplete": ("overcomplete", "0.3.0"), "dictionary_learning": ("dictionary-learning", "0.1.0")}
# Their index has PyTorch without its gigabytes of CUDA; PyPI has the same version with them.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
BUSY = 0.05  # of the processors' time, by others, before a run


class SetupError(Exception):
    """The comparison cannot start; one line."""


def run_quietly(command):
    """Exit code and the last line that was printed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return done.returncode, lines[-1] if lines else ""


def make_venv(folder, say=print, run=run_quietly):
    """A virtual environment with CORE and as many of LIBRARIES as can be installed, made when it is missing; what is
    installed already is left alone. Returns its Python and {library: why it is not there}."""
    folder = pathlib.Path(folder)
    python = folder / "bin/python"
    if not python.exists():
        code, why = run([sys.executable, "-m", "venv", folder])
        if code != 0:
            raise SetupError(f"cannot make a virtual environment in {folder}: {why}")
    pinned = [f"{name}=={version}" for name, version in CORE.items()]
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(pinned) + "\n")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    say(f"installing into {folder}: {', '.join(pinned)}")
    torch_packages = [text for text in pinned if text.startswith("torch")]
    if run([*pip, "--dry-run", "--no-index", *torch_packages])[0] != 0:
        run([*pip, "--index-url", CPU_INDEX, *torch_packages])  # where it fails, the next line takes PyPI's
    code, why = run([*pip, *pinned])
    if code != 0:
        raise SetupError(f"pip cannot install {', '.join(pinned)} into {folder}: {why}")
    missing = {}
    for module, (package, version) in LIBRARIES.items():
        say(f"installing {package}=={version}")
        code, why = run([*pip, "--constraint", constraints, f"{package}=={version}"])
        if code != 0:
            missing[module] = f"{package} {version} cannot be installed: {why}"
    return python, missing


def there(module):
    return importlib.util.find_spec(module) is not None


def missing_libraries():
    """{library: why} of those this Python cannot import."""
    return {module: f"{package} is not installed" for module, (package, _) in LIBRARIES.items() if not there(module)}


def versions():
    """Of everything that takes part; missing ones are left out."""
    found = {"python": platform.python_version()}
    for name in (*CORE, *(package for package, _ in LIBRARIES.values())):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def processor():
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    name = found.get("model name") or platform.processor() or platform.machine()
    flags = set((found.get("flags") or found.get("Features") or "").split())
    wide = [flag for flag in ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve")
            if flag in flags]
    return {"name": name, "family": found.get("cpu family"), "model": found.get("model"), "isa": wide,
            "cores": os.cpu_count()}


def commit():
    """{"commit", "dirty"} of the checkout; None where it is no git repository."""
    def git(*arguments):
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    return {"commit": git("rev-parse", "--short=12", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}


def processor_times():
    """(busy, all) ticks of every processor so far."""
    numbers = [int(text) for text in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = numbers[3] + numbers[4]
    return sum(numbers) - idle, sum(numbers)


def busy_share(seconds=0.5, times=processor_times, sleep=time.sleep):
    """Share of the processors that other work takes right now; None where /proc does not say."""
    try:
        before = times()
        sleep(seconds)
        after = times()
    except (OSError, ValueError, IndexError):
        return None
    return (after[0] - before[0]) / max(1, after[1] - before[1])


def describe():
    """What a result's reader has to know of where it comes from."""
    return {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"), "processor": processor(),
            "kernel": platform.release(), "versions": versions(), **commit()}


def slug(text):
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
