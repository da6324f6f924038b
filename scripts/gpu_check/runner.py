"""Commands with time limits, and the parts made of them."""
import dataclasses
import os
import pathlib
import signal
import subprocess
import time

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
LAST_LINES = 15  # of a failed command, for the report


@dataclasses.dataclass
class Done:
    """A command that ended, or was ended."""
    command: list
    code: int
    output: str  # standard output
    errors: str  # standard error
    seconds: float
    timed_out: bool = False

    def last_lines(self):
        return "\n".join((self.output + self.errors).splitlines()[-LAST_LINES:])

    def why(self):
        """One line: how it failed."""
        name = pathlib.Path(self.command[0]).name
        if self.timed_out:
            return f"{name}: ended after its {self.seconds:.0f} s"
        if self.code < 0:
            return f"{name}: ended by signal {-self.code}"
        lines = [line for line in self.errors.splitlines() if line.strip()]
        return f"{name}: exit code {self.code}" + (f" ({lines[-1][:200]})" if lines else "")


@dataclasses.dataclass
class Part:
    name: str
    status: str
    summary: str  # one line
    seconds: float = 0
    details: list = dataclasses.field(default_factory=list)  # what the part found, as JSON
    log: str = ""  # the end of what a failed command printed


class Failure(Exception):
    """A part failed; the message is one line."""

    def __init__(self, message, log="", details=()):
        super().__init__(message)
        self.log, self.details = log, list(details)


class Skip(Exception):
    """A part cannot run here; the message says why, in one line."""


def run(command, limit, environment=None):
    """Runs a command in a process group of its own, which is killed whole after `limit` seconds."""
    begin = time.monotonic()
    command = [str(word) for word in command]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                   text=True, errors="replace", start_new_session=True,
                                   env=os.environ | (environment or {}))
    except OSError as error:
        return Done(command, 127, "", f"{error.strerror}\n", 0)
    timed_out = False
    try:
        output, errors = process.communicate(timeout=max(limit, 0.1))
    except subprocess.TimeoutExpired:
        timed_out = True
        end_group(process)
        output, errors = process.communicate()
    except BaseException:
        end_group(process)
        process.communicate()
        raise
    return Done(command, process.returncode, output, errors, time.monotonic() - begin, timed_out)


def end_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Clock:
    """The time of one part: its own limit or what is left of the whole, whichever is less."""

    def __init__(self, limit, deadline):
        self.end = min(time.monotonic() + limit, deadline)

    def left(self):
        return self.end - time.monotonic()

    def run(self, command, limit=float("inf"), environment=None):
        if self.left() <= 0:
            raise Failure("its time was up before everything had run")
        return run(command, min(limit, self.left()), environment)


def run_part(name, function, limit, deadline, check):
    """One part, whatever happens in it."""
    begin = time.monotonic()
    if deadline <= begin:
        return Part(name, FAILED, "not run: the time for all parts is up")
    try:
        summary, details = function(check, Clock(limit, deadline))
        part = Part(name, PASSED, summary, details=details)
    except Skip as skip:
        part = Part(name, SKIPPED, str(skip))
    except Failure as failure:
        part = Part(name, FAILED, str(failure), details=failure.details, log=failure.log)
    except Exception as error:  # a fault of the part's own must not lose the others
        part = Part(name, FAILED, f"{type(error).__name__}: {error}".splitlines()[0])
    part.seconds = time.monotonic() - begin
    return part
