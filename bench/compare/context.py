"""What every part of a comparison is given, and how it runs things."""
import dataclasses
import json
import pathlib
import subprocess
import sys

import contenders

HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass
class Context:
    """Options of run.py, made absolute."""
    build: pathlib.Path
    scratch: pathlib.Path
    python: pathlib.Path
    model: pathlib.Path | None = None
    images: pathlib.Path | None = None
    shards: list = dataclasses.field(default_factory=list)
    threads: int = 2
    seconds: float = 1.0
    rounds: int = 5
    quick: bool = False
    case: str = ""
    libraries: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)
    commands: list = dataclasses.field(default_factory=list)

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    def note(self, text):
        """Something that a reader of the results has to know."""
        if text not in self.notes:
            self.notes.append(text)
            self.say(f"note: {text}")

    def wanted(self, case):
        return self.case in case

    def program(self, name):
        return self.build / "bin" / name

    def command(self, parts):
        """Our command, for the report."""
        parts = [str(part) for part in parts]
        if parts not in self.commands:
            self.commands.append(parts)

    def folder(self, name):
        path = self.scratch / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def run(self, command, settings=None):
        """Standard output; raises contenders.Failure."""
        command = [str(part) for part in command]
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              env=contenders.environment(settings))
        if done.returncode != 0:
            name = " ".join(pathlib.Path(part).name for part in command[:2])
            raise contenders.Failure(f"{name}: exit code {done.returncode}: {contenders.last_line(done.stderr)}")
        return done.stdout

    def arrays(self, *arguments):
        """arrays.py: makes files that both sides read."""
        self.run([self.python, HERE / "arrays.py", *arguments])

    def branchsae(self, *arguments):
        return self.run([self.program("branchsae"), *arguments])

    def measured(self, command, settings=None):
        """Standard output, and {"seconds", "peak_mib"} of the whole process."""
        result = self.scratch / "peak.json"
        output = self.run([sys.executable, HERE / "peak.py", result, *command], settings)
        return output, json.loads(result.read_text())

    def worker(self, kind, **options):
        return contenders.Worker(self.python, kind, **options)
