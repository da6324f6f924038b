"""bench/analysis_cost.py with a stand-in for the program."""
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

import cases

sys.path.insert(0, str(cases.ROOT / "bench"))
import analysis_cost  # noqa: E402

PROGRAM = """#!/bin/bash
lines=$(wc -l <"$3")
printf '%s %s %s\\n' "$1" "$lines" "${*:4}" >>CALLS
[[ $1 == FAILS ]] && { echo "branchsae: error: no such tap" >&2; exit 2; }
sleep 0.0$lines
"""


class AnalysisCost(unittest.TestCase):
    def setUp(self):
        self.top = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        for i in range(9):
            (self.top / f"photo{i}.JPEG").touch()
        (self.top / "notes.txt").touch()

    def call(self, *more, fails="none"):
        program = self.top / "branchsae"
        program.write_text(PROGRAM.replace("CALLS", str(self.top / "calls")).replace("FAILS", fails))
        program.chmod(0o755)
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            try:
                code = analysis_cost.main([
                    "--branchsae",
                    str(program), "--run", "run", "--tap", "mixed4d", "--images",
                    str(self.top), "--counts", "2,4,8", *more
                ])
            except SystemExit as end:
                code = end.code
        return code, out.getvalue(), errors.getvalue()

    def test_every_command_at_every_count(self):
        code, out, errors = self.call()
        self.assertEqual(code, 0, errors)
        calls = [line.split()[:2] for line in (self.top / "calls").read_text().splitlines()]
        self.assertEqual(calls, [[c, n] for c in ("eval", "features", "branches") for n in "248"])
        self.assertIn("--all",
                      (self.top / "calls").read_text().splitlines()[0])  # eval: not the held-out images only
        self.assertEqual(len(out.strip().splitlines()), 6)
        self.assertIn("within bounds", errors)

    def test_bounds(self):
        for bound in ("--most-seconds", "--most-memory"):
            code, _, errors = self.call(bound, "0.001")
            self.assertEqual(code, 1)
            self.assertIn("over: ", errors)

    def test_numbers_of_the_table(self):
        times = {2: (1.0, 100.0, 2.0), 4: (1.5, 120.0, 3.0), 8: (2.5, 130.0, 5.0)}
        table, seconds, memory = analysis_cost.report({"eval": times, "branches": times}, [2, 4, 8])
        self.assertEqual((seconds, memory), (5.0, 130.0))
        self.assertIn("| `eval` | 1.0 | 1.5 | 2.5 | 250.0 | 250.0 | 5 | 130 |", table)
        self.assertIn("| all | 2.0 | 3.0 | 5.0 | 500.0 | 500.0 | 10 | 130 |", table)

    def test_json(self):
        _, out, _ = self.call("--json", "--commands", "eval")
        self.assertEqual(set(json.loads(out)["eval"]), {"2", "4", "8"})

    def test_what_is_wrong_is_said(self):
        code, _, _ = self.call("--commands", "features", fails="features")
        self.assertIn("no such tap", code)
        self.assertIn("holds 9 photos", self.call("--counts", "10")[0])
        self.assertEqual(self.call("--counts", "0")[0], 2)
        self.assertEqual(self.call("--commands", "umap")[0], 2)


if __name__ == "__main__":
    cases.run()
