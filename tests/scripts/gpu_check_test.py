"""scripts/gpu_check.sh with stand-ins for the build's programs, the driver's tools and Python: what each part makes of
what it meets, and that no part loses the others."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import cases

SMI = "echo 'NVIDIA Pretend 9000, 580.1, 12345 MiB'"
DOCTEST = "echo '[doctest] test cases:  {0} |  {1} passed | {2} failed | 0 skipped'"
ZEROS, ONES = 64 * "0", 64 * "1"
DIGEST = f"echo '[digest] encode 64/1024 {ZEROS}'; echo '[digest] step, untied {ONES}'"
FORWARD = '"case": "forward", "to": "mixed4e", "batch": 256, "images_per_s":'
STEP = ('{{"case": "sae_step", "batch": 64, "d": 16, "n": 256, "tokens_per_s": {0}, "percent_of_gemm": 41.5}}')
TRAINING = """while [ $# -gt 0 ]; do [ "$1" = --out ] && out=$2; shift; done
mkdir -p "$out/tap"; printf weights >"$out/tap/sae.safetensors"; printf '%s' "$EXTRA_$out" >"$out/run.json"
"""
BRANCHSAE = "case $1 in --version) echo 'branchsae 0.1.0 (commit abc)'; exit 0 ;; esac\n"
PYTHON = f"""case "$*" in
  *is_available*) echo True ;;
  *gpu_sae_step*) echo '{STEP.format(500)[:-1]}, "baseline": "dense"}}'
                  echo '{STEP.format(800)[:-1]}, "baseline": "triton"}}' ;;
  *gpu_forward*) echo '{{{FORWARD} 9000, "baseline": "pytorch"}}' ;;
esac"""


class GpuCheck(unittest.TestCase):
    def setUp(self):
        self.top = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.root = self.top / "checkout"
        shutil.copytree(cases.ROOT / "scripts", self.root / "scripts")
        self.build, self.model = self.top / "build", self.top / "model.onnx"
        self.model.write_bytes(b"a model")
        self.tool("nvidia-smi", SMI)
        self.tool("torch-python", PYTHON)
        self.tool("compute-sanitizer", 'shift 4; "$@" >/dev/null; echo "========= ERROR SUMMARY: 0 errors"')
        self.bin("branchsae", BRANCHSAE + TRAINING)
        self.bin("bench_sae_step", f"echo '{STEP.format(2000)}'")
        self.bin("bench_encode_topk", """echo '{"case": "encode_topk", "batch": 8, "tokens_per_s": 8000,
                 "gemm_gflops": 5e5, "copy_gb_s": 4100}' | tr -d '\\n'""")
        self.bin("bench_forward", f"echo '{{{FORWARD} 27000}}'")
        self.bin("bench_train", "echo '{\"case\": \"train\", \"batch\": 8, \"tokens_per_s\": 3}'")
        self.program("encode_test_device", DOCTEST.format(5, 5, 0))
        self.program("cuda_integer_digest_device", DOCTEST.format(2, 2, 0) + "\n" + DIGEST)
        self.program("cuda_integer_digest", DOCTEST.format(2, 2, 0) + "\n" + DIGEST)

    def script(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/bash\n" + text + "\n")
        path.chmod(0o755)

    def tool(self, name, text):
        self.script(self.top / "tools" / name, text)

    def bin(self, name, text):
        self.script(self.build / "bin" / name, text)

    def program(self, name, text):
        self.script(self.build / "tests" / name, text)

    def run_script(self, *arguments):
        path = f"{self.top / 'tools'}:{os.environ['PATH']}"
        return subprocess.run(
            [self.root / "scripts/gpu_check.sh", "--build", self.build, "--model", self.model, "--python",
             self.top / "tools/torch-python", "--out", self.top / "out/report", *arguments],
            cwd=self.top, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)

    def report(self, *arguments, code=0):
        """{part: its JSON}, the whole JSON, the Markdown."""
        done = self.run_script(*arguments)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        whole = json.loads((self.top / "out/report.json").read_text())
        return {part["name"]: part for part in whole["parts"]}, whole, (self.top / "out/report.md").read_text()

    def test_everything_passes(self):
        parts, whole, text = self.report()
        self.assertEqual([part["status"] for part in parts.values()], 6 * ["passed"], text)
        self.assertEqual(list(parts), ["tests", "emulator", "sanitizers", "benches", "baselines", "repeats"])
        self.assertEqual(whole["gpu"], {"name": "NVIDIA Pretend 9000", "driver": "580.1", "memory": "12345 MiB"})
        self.assertEqual(whole["version"], "branchsae 0.1.0 (commit abc)")
        self.assertIn("scripts/gpu_check.sh --build", whole["command"])
        self.assertEqual(parts["tests"]["summary"], "7 passed, 0 failed, 0 skipped in 2 programs")
        self.assertEqual(parts["emulator"]["summary"], "2 outputs equal, bit for bit")
        self.assertEqual(parts["repeats"]["details"][0]["file"], "tap/sae.safetensors")
        self.assertIn("| 64/16/256 | 2,000 | 32.000 | 42 % of gemm | dense 500; triton 800 | 2.50 |", text)
        self.assertIn("| to mixed4e, batch 256 | 27,000 |", text)
        self.assertIn("| 3.00 |", text)
        self.assertIn("copy 4,100 GB/s, matrix product 500 to 500 TFLOP/s", text)

    def test_targets_are_held_against_what_was_measured(self):
        step = '"case": "sae_step", "batch": 65536, "d": 128, "n": 2048, "tokens_per_s":'
        self.bin("bench_sae_step", f"echo '{{{step} 1e8}}'")
        self.bin("bench_encode_topk", f"echo '{{{step.replace('sae_step', 'encode_topk')} 1e9, \"ms_median\": 0.18}}'")
        self.tool("torch-python", PYTHON.replace("*gpu_sae_step*) ", f"""*gpu_sae_step*)
            echo '{{{step} 2e7, "baseline": "dense"}}'; echo '{{{step} 8e7, "baseline": "openai"}}' ;;
            another) """))
        _, _, text = self.report("--only", "benches,baselines")
        for line in ("| encode_topk 65536/128/2048 | at most 170 us | 180 us | **no** |",
                     "| sae_step 65536/128/2048 | at most 520 us | 655 us | **no** |",
                     "| sae_step 65536/128/2048 over dense | at least 3x | 5.00x | yes |",
                     "| sae_step 65536/128/2048 over openai | at least 2x | 1.25x | **no** |",
                     "| forward to mixed4e, batch 256 | at least 20,000 images/s | 27,000 images/s | yes |"):
            self.assertIn(line, text)

    def test_no_gpu_is_one_line_and_no_files(self):
        for smi in ("exit 9", "echo", "echo 'No devices were found' >&2; exit 6"):
            self.tool("nvidia-smi", smi)
            done = self.run_script()
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1), done.stderr)
            self.assertIn("no GPU answers here", done.stderr)
        self.assertFalse((self.top / "out").exists())

    def test_wrong_usage(self):
        for arguments, text in ((["--only", "tests,dance"], "no part 'dance'"), (["--minutes", "0"], "--minutes"),
                                (["--model", "absent.onnx"], "absent.onnx: no such file"),
                                (["--build", "nowhere"], "no build")):
            done = self.run_script(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(text, done.stderr)

    def test_a_failing_part_does_not_lose_the_others(self):
        self.program("encode_test_device", DOCTEST.format(5, 4, 1) + "; echo 'bits differ at 17' >&2; exit 1")
        self.bin("bench_encode_topk", "echo 'bench_encode_topk: wrong result' >&2; exit 1")
        parts, _, text = self.report(code=1)
        self.assertEqual({name: part["status"] for name, part in parts.items()},
                         {"tests": "failed", "emulator": "passed", "sanitizers": "passed", "benches": "failed",
                          "baselines": "passed", "repeats": "passed"})
        self.assertIn("6 passed, 1 failed", parts["tests"]["summary"])
        self.assertIn("bits differ at 17", text)
        self.assertIn("bench_encode_topk: wrong result", parts["benches"]["log"])
        self.assertEqual(len(parts["benches"]["details"]), 7)  # what the others measured is kept

    def test_tests_that_skip_on_a_machine_with_a_gpu_are_failures(self):
        self.program("encode_test_device", "echo '[cases] 0 passed, 0 failed, 5 skipped'; exit 77")
        parts, _, _ = self.report("--only", "tests", code=1)
        self.assertIn("encode_test_device: 0 passed, 5 skipped", parts["tests"]["summary"])

    def test_programs_labelled_gpu_are_run_too(self):
        self.program("memory_test", DOCTEST.format(3, 3, 0))
        self.program("host_test", "exit 1")
        self.script(self.build / "tests/cuda/CTestTestfile.cmake",
                    'set_tests_properties([=[memory_test]=] PROPERTIES  LABELS "gpu;slow" SKIP_RETURN_CODE "77")\n'
                    'set_tests_properties(host_test PROPERTIES  LABELS "slow" SKIP_RETURN_CODE "77")')
        parts, _, _ = self.report("--only", "tests")
        self.assertEqual(parts["tests"]["summary"], "10 passed, 0 failed, 0 skipped in 3 programs")

    def test_a_part_that_hangs_is_ended_with_its_children(self):
        mark = self.top / "child"
        self.program("encode_test_device", f"(sleep 3; touch {mark}) & sleep 60")
        parts, whole, _ = self.report("--only", "tests,repeats", "--minutes", "0.02", code=1)
        self.assertIn("encode_test_device: ended after its", parts["tests"]["summary"])
        self.assertEqual(parts["repeats"]["summary"], "not run: the time for all parts is up")
        self.assertLess(whole["seconds"], 3)
        subprocess.run(["sleep", "3"], check=True)
        self.assertFalse(mark.exists())

    def test_bits_that_differ_from_the_emulator_are_named(self):
        self.program("cuda_integer_digest", DIGEST.replace(ONES, 64 * "2"))
        parts, _, _ = self.report("--only", "emulator", code=1)
        self.assertEqual(parts["emulator"]["summary"], "1 of 2 outputs differ: step, untied")
        self.program("cuda_integer_digest", DIGEST.split(";")[0])
        parts, _, _ = self.report("--only", "emulator", code=1)
        self.assertIn("2 digests on the device, 1 emulated", parts["emulator"]["summary"])
        self.program("cuda_integer_digest", "true")
        self.program("cuda_integer_digest_device", "true")
        parts, _, _ = self.report("--only", "emulator", code=1)
        self.assertIn("0 digests", parts["emulator"]["summary"])

    def test_sanitizers(self):
        self.tool("compute-sanitizer", '[ "$2" = racecheck ] && { echo "===== RACECHECK SUMMARY: 3 hazards displayed"; '
                                       'exit 99; }; echo "===== ERROR SUMMARY: 0 errors"')
        parts, _, _ = self.report("--only", "sanitizers", code=1)
        self.assertEqual(parts["sanitizers"]["summary"], "racecheck: 3 errors")
        self.tool("compute-sanitizer", "echo 'Device not supported' >&2; exit 1")
        parts, _, _ = self.report("--only", "sanitizers")
        self.assertEqual(parts["sanitizers"]["status"], "skipped")
        self.tool("compute-sanitizer", "echo crashed; exit 1")
        parts, _, _ = self.report("--only", "sanitizers", code=1)
        self.assertIn("memcheck: compute-sanitizer: exit code 1", parts["sanitizers"]["summary"])

    def test_what_is_not_installed_is_left_out_and_said(self):
        self.tool("torch-python", "exit 1")
        parts, _, _ = self.report("--only", "baselines,tests")
        self.assertIn("has no PyTorch that sees the GPU", parts["baselines"]["summary"])
        self.assertEqual(parts["baselines"]["status"], "skipped")

    def test_runs_that_differ(self):
        self.bin("branchsae", BRANCHSAE + TRAINING + 'printf "%s" "$out" >>"$out/tap/sae.safetensors"')
        parts, _, _ = self.report("--only", "repeats", code=1)
        self.assertEqual(parts["repeats"]["summary"], "1 of 1 files differ: tap/sae.safetensors")
        self.bin("branchsae", BRANCHSAE + "echo 'error: cuda: out of memory' >&2; exit 1")
        parts, _, _ = self.report("--only", "repeats", code=1)
        self.assertIn("cuda: out of memory", parts["repeats"]["summary"])

    def test_a_benchmark_that_is_not_built_is_a_failure_and_the_others_run(self):
        (self.build / "bin/bench_train").unlink()
        parts, _, _ = self.report("--only", "benches", code=1)
        self.assertEqual(parts["benches"]["summary"], "11 figures; not built: bench_train")


if __name__ == "__main__":
    cases.run()
