"""scripts/findings.py: which steps run, which are done, which go on."""
import contextlib
import hashlib
import io
import json
import os
import pathlib
import sys
import tempfile
import unittest

import cases
import invented_findings as invented

sys.path.insert(0, str(cases.ROOT / "scripts"))
from findings import plan, runner  # noqa: E402

PROGRAM = """#!{python}
import json, os, pathlib, sys
sys.path[:0] = [{here!r}]
import invented_findings as invented
words = sys.argv[1:]
if words == ["--version"]:
    print("branchsae 0.1.0 (commit 456)")
    sys.exit()
with open({log!r}, "a") as log:
    log.write(json.dumps(words) + "\\n")
if pathlib.Path({broken!r}).exists() and pathlib.Path({broken!r}).read_text() == words[0]:
    print("branchsae: error: the disk is full", file=sys.stderr)
    sys.exit(1)
if words[0] == "train" and "--resume" in words:
    path = pathlib.Path(words[words.index("--resume") + 1]) / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {{"status": "finished"}}))
elif words[0] == "train":
    first = next(i for i, word in enumerate(words) if word.startswith("--"))
    flags = [word for word in words if word.startswith("--") and word != "--no-progress"]
    line = {{flag[2:]: words[words.index(flag) + 1] for flag in flags}}
    invented.training_run(line["out"], line, words[1], words[2:first], int(line.get("tokens", 0)))
else:
    print(json.dumps({{"command": words[0]}}))
"""


class Running(unittest.TestCase):

    def setUp(self):
        self.top = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.log = self.top / "calls"
        self.broken = self.top / "broken"
        program = self.top / "branchsae"
        program.write_text(
            PROGRAM.format(python=sys.executable,
                           here=str(pathlib.Path(__file__).parent),
                           log=str(self.log),
                           broken=str(self.broken)))
        program.chmod(0o755)
        for name in ("m.onnx", "photos", "x.tar"):
            (self.top / name).touch()

    def call(self, *more):
        import importlib.util
        spec = importlib.util.spec_from_file_location("findings_command", cases.ROOT / "scripts/findings.py")
        command = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(command)
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            try:
                code = command.main([
                    "--branchsae", f"{self.top}/branchsae", "--model", f"{self.top}/m.onnx", "--images",
                    f"{self.top}/photos", f"{self.top}/x.tar", "--work", f"{self.top}/work", "--out",
                    f"{self.top}/findings.md", "--k", "8", "--match-k", "8", "--full-k", "8", "--photos-k", "8",
                    *more
                ])
            except SystemExit as end:
                code = end.code
        calls = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return code, calls, errors.getvalue()

    def test_each_step_runs_once(self):
        code, calls, _ = self.call()
        self.assertEqual(code, 0)
        self.assertEqual([call[0] for call in calls].count("train"), 4)
        self.assertEqual(set(call[0] for call in calls), {"train", "eval", "branches", "match"})
        self.assertRegex((self.top / "findings.md").read_text(), r"\| eval-k8 .*commit 456")
        self.assertEqual(self.call(), (0, [], f"findings: {self.top}/findings.md\n"))

    def test_a_training_that_was_cut_off_goes_on(self):
        self.call()
        for name in ("layers", "second"):
            path = self.top / f"work/runs/{name}/run.json"
            info = json.loads(path.read_text())
            path.write_text(json.dumps(info | {"status": "running"}))
            (self.top / f"work/done/train-{name}.json").unlink()
        _, calls, _ = self.call()
        self.assertEqual([call[:2] for call in calls if call[0] == "train"], [["train", "--resume"]] * 2)
        self.assertIn("branches", [call[0] for call in calls])  # what hangs on the training is measured anew

    def test_a_run_whose_name_begins_alike(self):
        """What reads runs/photos-k32 is no older for what happened to runs/photos-k3."""
        settings = plan.Settings(self.top / "branchsae", self.top / "m.onnx", (), self.top / "work")
        step = plan.Step("look", ("branches", str(settings.work / "runs/photos-k32")))
        runner.write_text(runner.marker(settings, step), json.dumps({"arguments": list(step.arguments)}))
        for name, outdated in (("photos-k3", False), ("photos-k32", True)):
            invented.training_run(settings.work / "runs" / name, {})
            later = runner.marker(settings, step).stat().st_mtime_ns + 10**9
            os.utime(settings.work / "runs" / name / "run.json", ns=(later, later))
            self.assertEqual(runner.outdated(settings, step), outdated)

    def test_a_finished_training_that_was_made_by_hand_is_taken(self):
        self.call()
        (self.top / "work/done/train-layers.json").unlink()
        _, calls, _ = self.call()
        self.assertNotIn("train", [call[0] for call in calls])

    def left_behind(self, taps, **other):
        """What a call of branches-all-k8 has written of these taps; `other`: where it was another call."""
        run = self.top / "work" / "runs/layers/sweep/k=8"
        for tap in taps:
            sae = run / tap / "sae.safetensors"
            sae.parent.mkdir(parents=True, exist_ok=True)
            sae.write_text(tap)
            document = invented.branches(tap, 8) | {"left_out": ["dog: 0 of 9 labelled images show it", "bird: all"]}
            document["about"] |= {"run": str(run), "seed": 0, "rounds": 10000, "images_sha256": "cd" * 32}
            document["about"] |= {"sae_sha256": hashlib.sha256(tap.encode()).hexdigest(), **other}
            invented.write(self.top / f"work/results/branches-all-k8/{tap}/branches.json", document)

    def test_taps_of_an_analysis_that_was_cut_off_are_kept(self):
        self.call("--steps", "train-layers")
        self.left_behind(["mixed4a"])
        for tap, other in (("mixed4b", {"seed": 1}), ("mixed4c", {"images_sha256": "ef" * 32}),
                           ("mixed4d", {"sae_sha256": "12" * 32}), ("mixed4e", {"rounds": 99})):
            self.left_behind([tap], **other)
        _, calls, errors = self.call("--steps", "branches-all-k8")
        self.assertIn("branches-all-k8 ... without mixed4a, which are there", errors)
        self.assertEqual(calls[0][calls[0].index("--tap") + 1], "mixed4b,mixed4c,mixed4d,mixed4e")
        self.assertIn("Of branches-all-k8, mixed4a had been written by earlier", (self.top / "findings.md").read_text())
        self.assertEqual(self.call("--steps", "branches-all-k8")[1], [])

    def test_an_analysis_of_which_all_is_there(self):
        self.call("--steps", "train-layers")
        self.left_behind(["mixed4a", "mixed4b", "mixed4c", "mixed4d", "mixed4e"])
        self.assertEqual(self.call("--steps", "branches-all-k8")[1], [])
        text = (self.top / "findings.md").read_text()
        self.assertIn("| branches-all-k8 | `branchsae branches` | – | 0.1.0 (commit 456) |", text)
        self.assertIn("Of branches-all-k8, all taps had been written by earlier calls", text)
        self.left_behind(["mixed4c"])
        _, calls, _ = self.call("--steps", "branches-all-k8", "--full-concepts", "animal,cat")
        self.assertEqual(calls[0][calls[0].index("--tap") + 1], "mixed4a,mixed4b,mixed4c,mixed4d,mixed4e")

    def test_a_run_with_other_options_or_images_is_refused(self):
        self.call()
        for more in (("--positions", "5"), ("--tokens", "99"), ("--images", f"{self.top}/photos")):
            code, calls, errors = self.call(*more)
            self.assertEqual((code, calls), (1, []))
            self.assertIn("other options", errors)

    def test_a_step_that_fails_leaves_the_rest(self):
        self.broken.write_text("match")
        code, calls, errors = self.call()
        self.assertEqual(code, 1)
        self.assertIn("the disk is full", errors)
        self.assertTrue((self.top / "findings.md").exists())
        self.broken.unlink()
        code, calls, _ = self.call()
        self.assertEqual((code, set(call[0] for call in calls)), (0, {"match"}))

    def test_some_steps_only(self):
        _, calls, _ = self.call("--steps", "train-layers,eval-k8")
        self.assertEqual([call[0] for call in calls], ["train", "eval"])

    def test_a_training_that_fails_ends_it(self):
        self.broken.write_text("train")
        code, calls, _ = self.call()
        self.assertEqual((code, len(calls)), (1, 1))
        self.assertFalse((self.top / "findings.md").exists())

    def test_wrong_usage(self):
        for more, said in ((("--k", "4,x"), "whole numbers"), (("--k", "0"), "at least 1"),
                           (("--match-k", "5"), "[5]"), (("--full-concepts", ","),
                                                         "at least one"), (("--second-seed", "mixed9z"), "mixed9z"),
                           (("--steps", "eval-k9"), "there are train-layers"), (("--images", "/nowhere"),
                                                                                "/nowhere is not there")):
            code, calls, errors = self.call(*more)
            self.assertEqual((code, calls), (2, []), more)
            self.assertIn(said, errors)


if __name__ == "__main__":
    cases.run()
