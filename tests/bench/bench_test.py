"""Benchmarks refuse a device that is not there in one line, and check, time and print JSON on the CPU."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

import cases

FOLDER = pathlib.Path(sys.argv.pop(1)) if len(sys.argv) > 1 else cases.ROOT / "build/bin"
SMALL = ["--shape", "64,24,200", "--k", "8", "--seconds", "0.01", "--threads", "1", "--json"]


def run(name, *arguments):
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
    return subprocess.run([FOLDER / name, *arguments], capture_output=True, text=True, env=environment, check=False)


class Benchmarks(unittest.TestCase):
    def test_a_device_that_is_not_there_is_one_line(self):
        for name in ("bench_sae_step", "bench_encode_topk", "bench_forward", "bench_train"):
            with self.subTest(name):
                model = ["absent.onnx"] if name in ("bench_forward", "bench_train") else []
                done = run(name, *model, "--device", "cuda:99")
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertRegex(done.stderr, rf"^{name}: [^\n]*(cannot be used|no device cuda:99)[^\n]*\n$")

    def test_the_step_and_the_encode_are_checked_and_timed(self):
        for name, case, error in (("bench_sae_step", "sae_step", "gradient_difference"),
                                  ("bench_encode_topk", "encode_topk", "difference")):
            with self.subTest(name):
                done = run(name, *SMALL)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                result = json.loads(done.stdout)
                self.assertEqual((result["case"], result["batch"], result["d"], result["n"], result["k"]),
                                 (case, 64, 24, 200, 8))
                self.assertLess(result[error], 1e-5)
                self.assertGreaterEqual(result["runs"], 5)
                for field in ("tokens_per_s", "ms_median", "percent_of_gemm", "gemm_gflops"):
                    self.assertGreater(result[field], 0, field)

    def test_decoding_at_a_fraction_is_faster_where_photos_are_large(self):
        done = run("bench_decode", "--pictures", "2", "--seconds", "1", "--json")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        small, _, large = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(small["mean_difference"], 0)
        self.assertLess(large["mean_difference"], 2)
        self.assertGreater(large["images_per_s"], large["images_per_s_full"])

    def test_what_cannot_work_is_bad_input(self):
        self.assertEqual(run("bench_sae_step", "--shape", "64,24").returncode, 2)
        self.assertEqual(run("bench_sae_step", *SMALL, "--precision", "bf16").returncode, 2)
        self.assertEqual(run("bench_forward", "absent.onnx").returncode, 2)


if __name__ == "__main__":
    cases.run()
