#!/usr/bin/env python3
"""Counts test cases over everything that ctest ran, and prints "N passed, N failed, N skipped" as the last line.

usage: count_tests.py LastTest.log CTEST_EXIT_CODE

A doctest program reports its own cases, and "[skipped] X of Y test cases" for those that lacked something; a script
reports "[cases] P passed, F failed, S skipped". An entry that reports nothing counts as one case, by ctest's verdict.
Exit code 1 when a case failed, when ctest failed, or when nothing ran.
"""
import re
import sys

ENTRY = re.compile(r"^\d+/\d+ Testing: (.*)$")
END_OF_OUTPUT = "<end of output>"
VERDICT = re.compile(r"^Test (Passed|Failed|Skipped|Timeout)", re.MULTILINE)
DOCTEST = re.compile(r"^\[doctest\] test cases: *\d+ *\| *(\d+) passed *\| *(\d+) failed *\| *(\d+) skipped", re.MULTILINE)
SKIPPED = re.compile(r"^\[skipped\] (\d+) of (\d+) test cases", re.MULTILINE)
SCRIPT = re.compile(r"^\[cases\] (\d+) passed, (\d+) failed, (\d+) skipped", re.MULTILINE)


def entries(log):
    """(name, output, verdict) of each test in ctest's log; the verdict is "" when the log breaks off."""
    name, lines, output, found = None, [], "", []
    for line in log.splitlines():
        start = ENTRY.match(line)
        if start:
            if name is not None:
                found.append((name, output or "\n".join(lines), "\n".join(lines) if output else ""))
            name, lines, output = start.group(1), [], ""
        elif line.rstrip() == END_OF_OUTPUT and not output:
            output, lines = "\n".join(lines) + "\n", []
        else:
            lines.append(line)
    if name is not None:
        found.append((name, output or "\n".join(lines), "\n".join(lines) if output else ""))
    for name, output, rest in found:
        verdict = VERDICT.search(rest)
        yield name, output, verdict.group(1) if verdict else ""


def count(output, verdict):
    """(passed, failed, skipped) cases of one entry."""
    ok = verdict in ("Passed", "Skipped")
    passed = failed = skipped = 0
    for report in DOCTEST.findall(output) + SCRIPT.findall(output):
        passed, failed, skipped = (a + int(b) for a, b in zip((passed, failed, skipped), report))
    for lacking, _ in SKIPPED.findall(output):
        moved = min(int(lacking), passed)
        passed, skipped = passed - moved, skipped + moved
    if passed + failed + skipped == 0:
        return (int(verdict == "Passed"), int(not ok), int(verdict == "Skipped"))
    # A program that reports success and then crashes, or runs out of time, failed nevertheless.
    return passed, max(failed, int(not ok)), skipped


def main(arguments):
    if len(arguments) != 2:
        sys.exit(__doc__)
    try:
        with open(arguments[0], encoding="utf-8", errors="replace") as file:
            log = file.read()
    except OSError as error:
        log = ""
        print(f"no test log: {error}", file=sys.stderr)
    total, broken = [0, 0, 0], []
    for name, output, verdict in entries(log):
        counts = count(output, verdict)
        total = [a + b for a, b in zip(total, counts)]
        if counts[1]:
            broken.append(name)
    ctest_failed = int(arguments[1]) != 0
    if ctest_failed and total[1] == 0:
        total[1] = 1  # ctest itself failed: nothing ran, or a test could not be started
    if broken:
        print("failed: " + ", ".join(broken))
    print("{} passed, {} failed, {} skipped".format(*total))
    return 1 if total[1] or ctest_failed or sum(total) == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
