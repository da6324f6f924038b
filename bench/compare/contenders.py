"""The programs that are timed: ours, started anew each time, and theirs, each in a process that stays and waits."""
import json
import os
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
# Every program shall choose these itself, ours too (cpu/waiting.h): a shell's must not decide a comparison.
THREAD_SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS", "KMP_BLOCKTIME", "OMP_PROC_BIND",
                   "MKL_NUM_THREADS", "BRANCHSAE_SIMD")


class Failure(Exception):
    """A program did not do its work; one line."""


def environment(extra=None):
    kept = {name: value for name, value in os.environ.items() if name not in THREAD_SETTINGS}
    return kept | (extra or {})


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no message"


class Ours:
    """One of our benchmarks; `last` and `results` are its JSON."""

    def __init__(self, command, field, settings=None):
        self.command, self.field = [str(part) for part in command], field
        self.settings = settings
        self.results = []

    @property
    def last(self):
        return self.results[-1]

    def run(self, *more):
        """The JSON of one run."""
        done = subprocess.run([*self.command, *map(str, more)], capture_output=True, text=True, check=False,
                              env=environment(self.settings))
        if done.returncode != 0:
            name = pathlib.Path(self.command[0]).name
            raise Failure(f"{name}: exit code {done.returncode}: {last_line(done.stderr)}")
        try:
            return json.loads(last_line(done.stdout))
        except json.JSONDecodeError:
            raise Failure(f"{self.command[0]}: no JSON: {last_line(done.stdout)}") from None

    def rate(self):
        self.results.append(self.run())
        return self.last[self.field]



class Worker:
    """worker.py in a process of its own: asked one thing at a time, asleep in between."""

    def __init__(self, python, kind, **options):
        self.name = kind
        self.messages = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # a pipe would fill up
        self.process = subprocess.Popen([str(python), str(HERE / "worker.py"), kind, json.dumps(options)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.messages,
                                        env=environment())
        try:
            self.about = self.answer()
        except Failure:
            self.close()
            raise

    def ask(self, what, **arguments):
        try:
            print(json.dumps({"do": what} | arguments), file=self.process.stdin, flush=True)
        except OSError:
            raise Failure(f"{self.name}: {self.last_words()}") from None
        return self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"{self.name}: {self.last_words()}")
        found = json.loads(line)
        if isinstance(found, dict) and "error" in found:
            raise Failure(found["error"])
        return found

    def last_words(self):
        code = self.process.wait()
        self.messages.seek(0)
        return f"its process ended ({code}): {last_line(self.messages.read())}"

    def close(self):
        for stream in (self.process.stdin, self.process.stdout, self.messages):
            try:
                stream.close()
            except OSError:
                pass
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
