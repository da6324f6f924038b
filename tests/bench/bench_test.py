"""Benchmarks refuse a device that is not there in one line, and check, time and print JSON on the CPU."""
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unittest

import cases

FOLDER = pathlib.Path(sys.argv.pop(1)) if len(sys.argv) > 1 else cases.ROOT / "build/bin"
SMALL = ["--shape", "64,24,200", "--k", "8", "--seconds", "0.01", "--threads", "1", "--json"]


def run(name, *arguments):
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
    return subprocess.run([FOLDER / name, *arguments], capture_output=True, text=True, env=environment, check=False)


def write_npy(path, rows, width, seed=1):
    """Half of the numbers are zero."""
    draw = random.Random(seed)
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}".ljust(117) + "\n"
    numbers = [max(0, draw.gauss(0, 1)) for _ in range(rows * width)]
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
                     + struct.pack(f"<{len(numbers)}f", *numbers))


def write_sae(path, n, d, seed=2):
    """A tied autoencoder with short rows."""
    draw = random.Random(seed)
    tensors = {"W": ([n, d], [draw.gauss(0, 0.1) for _ in range(n * d)]), "b_enc": ([n], [0] * n),
               "b_pre": ([d], [0] * d)}
    header, data = {"__metadata__": {"scale": "1", "k": "8", "tap": "none", "tied": "true", "decoder_norm": "free",
                                     "model_sha256": "", "preprocess": ""}}, b""
    for name, (shape, values) in tensors.items():
        packed = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


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

    def test_tokens_and_a_start_from_files(self):
        with tempfile.TemporaryDirectory() as folder:
            tokens, start = pathlib.Path(folder, "tokens.npy"), pathlib.Path(folder, "start.safetensors")
            write_npy(tokens, 130, 24)
            write_sae(start, 200, 24)
            done = run("bench_sae_step", *SMALL, "--tokens", tokens, "--start", start, "--losses", "30")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            result = json.loads(done.stdout)
            self.assertAlmostEqual(result["density"], 0.5, delta=0.05)
            losses = result["losses"]
            self.assertEqual(len(losses), 30)
            # Two batches take turns: the third step is the first one's batch again, a little better.
            self.assertLess(losses[2], losses[0])
            self.assertLess(losses[-2], 0.99 * losses[0])
            self.assertNotEqual(losses[0], losses[1])
            other = run("bench_sae_step", *SMALL, "--tokens", tokens, "--losses", "1")
            self.assertNotEqual(json.loads(other.stdout)["losses"][0], losses[0])
            for arguments, said in ((["--tokens", tokens, "--shape", "64,25,200"], "shape [130, 24]"),
                                    (["--tokens", tokens, "--shape", "131,24,200"], "130 tokens, fewer than"),
                                    (["--start", start, "--shape", "64,24,201"], "n 200, d 24"),
                                    (["--start", start, "--untied"], "is tied"), (["--start", tokens], "tokens.npy")):
                done = run("bench_sae_step", *SMALL[2:], *SMALL[:0 if "--shape" in arguments else 2], *arguments)
                self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1), done.stderr)
                self.assertIn(said, done.stderr)

    def test_what_cannot_work_is_bad_input(self):
        self.assertEqual(run("bench_sae_step", "--shape", "64,24").returncode, 2)
        self.assertEqual(run("bench_sae_step", *SMALL, "--precision", "bf16").returncode, 2)
        self.assertEqual(run("bench_forward", "absent.onnx").returncode, 2)


if __name__ == "__main__":
    cases.run()
