"""bench/compare with stand-ins for our programs, for Python and for its packages: what is read off the rounds, which
disagreements stop a case, what is said of what is missing. Nothing is installed and nothing is timed."""
import contextlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import cases

COMPARE = cases.ROOT / "bench/compare"
sys.path.insert(0, str(COMPARE))

import environment  # noqa: E402
import report as report_files  # noqa: E402
import rounds  # noqa: E402
import run  # noqa: E402
import worker  # noqa: E402

OURS = """#!/bin/bash
rate=1200
[ "$BRANCHSAE_SIMD" = avx2 ] && rate=600
[ -z "$OMP_WAIT_POLICY" ] || exit 3
echo '{"tokens_per_s": '$rate', "losses": %s, "gemm_gflops": 100, "fma_gflops": 120, "density": 1,
       "kernels": "stand-in", "peak_process_mib": 9, "sae_mib": 2}' | tr -d '\\n'
"""
LOSSES = "[5, 4, 3, 2, 1]"
# Answers as worker.py does; arrays.py and python -c are run as they are, the first without doing anything.
PYTHON = """#!{python}
import json, os, sys
if sys.argv[1].endswith("arrays.py"):
    sys.exit(0)
if not sys.argv[1].endswith("worker.py"):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
assert "OMP_WAIT_POLICY" not in os.environ
say = lambda value: print(json.dumps(value), flush=True)
say({{"threads": 2}})
for line in sys.stdin:
    request = json.loads(line)
    name = request.get("name")
    if name in {broken!r}:
        say({{"error": "ModuleNotFoundError: no such thing"}})
    elif request["do"] == "losses":
        say({losses})
    elif request["do"] == "time":
        say({{"rate": {rates!r}.get(name, 10), "runs": 3}})
    else:
        say({{"gemm": 80.0, "peak": 777}}.get(request["do"]))
"""


class Rounds(unittest.TestCase):
    def test_the_order_turns_and_slow_ones_leave_after_qualifying(self):
        order = []

        def contender(name, rates, ours=False):
            left = iter(rates)

            def rate():
                order.append(name)
                return next(left)

            return rounds.Contender(name, rate, ours)

        race = [contender("ours", [9, 9, 9], True), contender("fast", [2, 4, 6]), contender("close", [3.1, 1, 5]),
                contender("slow", [1, 1])]
        rates = rounds.take_rounds(race, 3)
        self.assertEqual(order, ["ours", "fast", "close", "slow", "fast", "close", "slow", "ours",  # two rounds
                                 "close", "ours", "fast"])
        self.assertEqual(rates, {"ours": [9, 9, 9], "fast": [2, 4, 6], "close": [3.1, 1, 5], "slow": [1, 1, None]})
        self.assertEqual(rounds.fastest(rates, ["fast", "close", "slow"]), "fast")

    def test_one_that_fails_leaves_and_is_named(self):
        failures = []

        def broken():
            raise KeyError("x")

        rates = rounds.take_rounds([rounds.Contender("ours", lambda: 2.0, True), rounds.Contender("broken", broken)], 2,
                                   failed=lambda name, error: failures.append(name), fail=(KeyError,))
        self.assertEqual((rates, failures), ({"ours": [2.0, 2.0]}, ["broken"]))

    def test_ratios(self):
        found = rounds.ratio([10, 20, 30, 7], [5, 4, 10, None])
        self.assertEqual(found, {"median": 4, "least": 2, "most": 5, "rounds": 3})
        self.assertTrue(rounds.spread_is_wide(found))
        self.assertFalse(rounds.spread_is_wide({"median": 4, "least": 3.9, "most": 4.1}))
        self.assertIsNone(rounds.ratio([], []))

    def test_answers_that_differ_are_refused(self):
        self.assertAlmostEqual(rounds.check_close("x", [1.00001, 2], [1, 2], 1e-4), 1e-5)
        for found in ([1.001, 2], [1], [1, float("nan")], []):
            with self.subTest(found), self.assertRaises(rounds.Disagreement):
                rounds.check_close("x", found, [1, 2], 1e-4)


class Packages(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.commands = []

    def pip(self, *unknown):
        def run_pip(command):
            command = " ".join(map(str, command))
            self.commands.append(command)
            refused = [name for name in unknown if command.endswith(name) or f"{name} " in command]
            return (1, f"No matching distribution found for {refused[0]}") if refused else (0, "")

        return run_pip

    def test_a_library_that_cannot_be_installed_is_named_with_the_reason(self):
        package, version = environment.LIBRARIES["overcomplete"]
        python, missing = environment.make_venv(self.folder, lambda text: None, self.pip(f"{package}=={version}"))
        self.assertEqual(python, self.folder / "bin/python")
        self.assertEqual(list(missing), ["overcomplete"])
        self.assertIn("No matching distribution", missing["overcomplete"])
        for name, number in environment.CORE.items():
            self.assertTrue(any(f"{name}=={number}" in command for command in self.commands), name)
        self.assertTrue(all("--constraint" in command for command in self.commands[-len(environment.LIBRARIES):]))

    def test_without_the_core_there_is_nothing_to_compare(self):
        with self.assertRaisesRegex(environment.SetupError, "pip cannot install .*numpy"):
            unknown = f"onnxruntime=={environment.CORE['onnxruntime']}"
            environment.make_venv(self.folder, lambda text: None, self.pip(unknown))

    def test_a_busy_machine_is_seen(self):
        ticks = iter([(100, 200), (190, 300)])
        self.assertAlmostEqual(environment.busy_share(0, lambda: next(ticks)), 0.9)

        def unknown():
            raise OSError

        self.assertIsNone(environment.busy_share(0, unknown))


class Worker(unittest.TestCase):
    def test_an_error_is_an_answer_and_the_next_request_is_served(self):
        class Contender:
            def time(self, name):
                return {"a": 1}[name]

        said = []
        requests = ['{"do": "time", "name": "b\\n"}', '{"do": "time", "name": "a"}']
        worker.answer_requests(Contender(), requests, said.append)
        self.assertEqual(said[1], 1)
        self.assertIn("KeyError", said[0]["error"])

    def test_a_rate_is_that_of_the_median(self):
        calls = []
        found = worker.rate(calls.append, 100, 0)
        self.assertEqual((found["runs"], calls), (3, [0, 1, 0, 1, 2]))
        self.assertGreater(found["rate"], 0)

    def test_a_process_that_ends_leaves_its_last_words(self):
        import contenders

        with self.assertRaisesRegex(contenders.Failure, "no-such-kind"):
            contenders.Worker(sys.executable, "no-such-kind")


class WholeRun(unittest.TestCase):
    def setUp(self):
        self.top = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.build, self.out = self.top / "build", self.top / "results"
        self.enterContext(unittest.mock.patch.object(run, "data_folder", lambda: None))
        # Of the shell; neither side shall see it.
        self.enterContext(unittest.mock.patch.dict(os.environ, {"OMP_WAIT_POLICY": "active"}))
        self.ours(LOSSES)
        self.python()

    def script(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def ours(self, losses):
        self.script(self.build / "bin/bench_sae_step", OURS % losses)

    def python(self, losses=LOSSES, broken=()):
        rates = {"embedding_bag": 100, "manual csr": 90, "sparsify": 80}
        text = PYTHON.format(python=sys.executable, losses=losses, rates=rates, broken=broken)
        self.script(self.top / "python", text)

    def compare(self, *arguments):
        """Exit code, the results' JSON, the Markdown."""
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
            try:
                code = run.main(["--build", str(self.build), "--python", str(self.top / "python"), "--out",
                                 str(self.out), "--only", "sae", "--case", "4096/64/1024", "--rounds", "3", *arguments])
            except SystemExit as exit_:
                return exit_.code, None, errors.getvalue()
        newest = max(self.out.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        return code, json.loads(newest.read_text()), newest.with_suffix(".md").read_text()

    def test_ratios_reach_both_files(self):
        code, found, text = self.compare()
        self.assertEqual(code, 0)
        (case,) = found["results"]
        self.assertEqual((case["case"], case["best"]), ("normal 4096/64/1024", "PyTorch, embedding_bag"))
        self.assertEqual(case["ratios"]["ours"], {"median": 12, "least": 12, "most": 12, "rounds": 3})
        self.assertEqual(case["ratios"]["ours, AVX2"]["median"], 6)
        self.assertEqual(case["theirs_mib"], 777)
        self.assertAlmostEqual(case["percent_of_gemm"], 100 * 1200 * 2e-9 * 64 * 1024 / 100)
        self.assertEqual((case["rates"]["PyTorch, manual csr"], case["rates"]["PyTorch, gather"]),
                         ([90, 90, 90], [10, 10, None]))
        self.assertIn("12.00x (12.00-12.00)", text)
        self.assertIn("| PyTorch, gather | 10.0 |", text)
        self.assertNotIn(str(self.top), text)
        self.assertIn("--shape 4096,64,1024", text)

    def test_results_are_never_overwritten(self):
        self.compare()
        self.compare()
        self.assertEqual(len(list(self.out.glob("*.md"))), 2)

    def test_losses_that_differ_are_an_error_and_show_no_ratio(self):
        self.ours("[5, 4, 3, 2, 1.001]")
        code, found, text = self.compare()
        self.assertEqual((code, found["results"]), (1, []))
        self.assertRegex(text, r"4096/64/1024 failed: .*losses of PyTorch .* differ by 1\.0e-03")

    def test_what_cannot_take_part_is_named(self):
        self.python(broken=("compiled", "sparsify"))
        with unittest.mock.patch.object(run, "machine_of", lambda python: [
                environment.describe(), {"sae_lens": "sae-lens is not installed"}]):
            code, found, text = self.compare()
        self.assertEqual(code, 0)
        self.assertIn("left out: sae-lens is not installed", text)
        self.assertIn("PyTorch, compiled left out: ModuleNotFoundError: no such thing", text)
        self.assertIn("sparsify left out: ModuleNotFoundError", text)
        self.assertIn("overcomplete", found["results"][0]["medians"])
        self.assertNotIn("sae_lens", found["results"][0]["medians"])

    def test_a_part_without_its_data_says_so(self):
        code, found, text = self.compare("--case", "mixed4c")
        self.assertEqual((code, found["results"]), (1, []))
        self.assertIn("no real tokens: --model and --images are needed", text)

    def test_our_program_failing_is_one_note(self):
        self.script(self.build / "bin/bench_sae_step", "#!/bin/bash\necho it broke >&2\nexit 1\n")
        code, _, text = self.compare()
        self.assertEqual(code, 1)
        self.assertIn("failed: bench_sae_step: exit code 1: it broke", text)

    def test_what_was_measured_before_an_interruption_is_kept(self):
        def compare(context):
            yield "first", lambda: {"part": "scaling", "case": "first", "n": 9, "d": 1, "tokens_per_s": 7, "gflops": 1,
                                    "gemm_gflops": 2, "sae_mib": 3}
            try:
                yield "second", lambda: os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)  # again, while it tidies up

        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        with unittest.mock.patch.object(run.sae_part, "compare", compare):
            code, found, text = self.compare()
        self.assertEqual((code, [result["case"] for result in found["results"]]), (1, ["first"]))
        self.assertIn("interrupted", text)

    def test_a_run_that_is_killed_has_left_the_cases_before(self):
        left = []

        def compare(context):
            for case in ("first", "second"):
                yield case, lambda case=case: {"part": "scaling", "case": case, "n": 9, "d": 1, "tokens_per_s": 7,
                                               "gflops": 1, "gemm_gflops": 2, "sae_mib": 3}
                (path,) = self.out.glob("*.json")
                found = json.loads(path.read_text())
                left.append(([result["case"] for result in found["results"]], found["finished"],
                             "not finished" in path.with_suffix(".md").read_text()))

        with unittest.mock.patch.object(run.sae_part, "compare", compare):
            code, found, text = self.compare()
        self.assertEqual(left, [(["first"], False, True), (["first", "second"], False, True)])
        self.assertEqual((code, found["finished"]), (0, True))
        self.assertNotIn("not finished", text)
        self.assertEqual(len(list(self.out.iterdir())), 2)

    def test_wrong_usage(self):
        for arguments, said in ((["--only", "sae,speed"], "--only has no part 'speed'"),
                                (["--rounds", "0"], "positive"),
                                (["--only", "forward"], "bench_forward is not there"),
                                (["--model", "absent.onnx"], "--model: absent.onnx is not there")):
            with self.subTest(arguments):
                code, _, text = self.compare(*arguments)
                self.assertEqual(code, 2)
                self.assertIn(said, text)


class Reports(unittest.TestCase):
    def test_every_part_has_a_section(self):
        ratio = {"median": 2.5, "least": 2, "most": 3, "rounds": 3}
        forward = {"part": "forward", "case": "logits, batch 8", "ratios": {"ours": {"ONNX Runtime": ratio}},
                   "medians": {"ours": 90, "ONNX Runtime": 36}, "percent_of_fma": {"ours": 120}, "fma_gflops": 230,
                   "memory": {"ours": {"peak_mib": 200}, "ONNX Runtime": {"peak_mib": 290, "imported_mib": 50}},
                   "errors": {"ours": 1e-6}, "direct_difference": 2e-6}
        jobs = {"ours": [{"seconds": 30, "peak_mib": 400, "fvu": {"mixed4c.5x5": fvu}} for fvu in (0.01, 0.05, 0.02)],
                "theirs": [{"seconds": 240, "peak_mib": 1800, "fvu": {"mixed4c.5x5": 0.02}, "decode_forward_s": 30,
                            "training_s": 200}]}
        whole = {"part": "end-to-end", "tokens": 3_000_000, "ratios": {"ours": ratio}, **jobs}
        width = {"part": "scaling", "d": 64, "n": 1024, "tokens_per_s": 1e6, "gflops": 131, "gemm_gflops": 200,
                 "sae_mib": 4}
        images = {"part": "scaling", "images": 1000, "seconds": 20, "images_per_s": 50, "peak_mib": 300,
                  "timings": {"wait": 1, "total": 20}}
        text = report_files.markdown({"machine": environment.describe(), "threads": 2, "rounds": 3, "seconds": 1,
                                      "command": "run.py", "results": [forward, whole, width, images],
                                      "notes": ["a note"], "commands": []})
        for wanted in ("| logits, batch 8: ours | 90.0 | 120 % | 2.50x (2.00-3.00) |", "290 MiB (50)",
                       "30.0, PyTorch 240.0", "| ours | 0.0200 (0.0100-0.0500) |", "| PyTorch | 0.0200 |", "| 64 | 1,024 | 1,000,000 | 131 | 66 % |",
                       "| 1,000 | 20.0 | 50.0 | 300 MiB | 5.0 % |", "- a note"):
            self.assertIn(wanted, text)


class Scripts(unittest.TestCase):
    def test_help_needs_no_packages(self):
        done = subprocess.run([sys.executable, COMPARE / "run.py", "--help"], capture_output=True, text=True,
                              check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for option in ("--build", "--model", "--images", "--shards", "--only", "--quick", "--python", "--venv",
                       "--out"):
            self.assertIn(option, done.stdout)


if __name__ == "__main__":
    cases.run()
