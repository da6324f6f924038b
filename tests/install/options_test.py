"""What configuring says about CUDA: chosen, left out, or demanded and missing.

usage: options_test.py CMAKE
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

import cases

CMAKE = sys.argv[1] if len(sys.argv) > 1 else "cmake"
NO_NVCC = "-DBRANCHSAE_NVCC="  # set and empty: not searched for


class CudaOption(unittest.TestCase):
    def configure(self, *options):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        done = subprocess.run([CMAKE, "-S", cases.ROOT, "-B", folder, "-DBRANCHSAE_TESTS=OFF", "-DBRANCHSAE_BENCH=OFF",
                               *options], capture_output=True, text=True, check=False)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def test_auto_without_nvcc_builds_for_the_cpu_and_says_what_is_missing(self):
        code, said = self.configure(NO_NVCC)
        self.assertEqual(code, 0, said)
        self.assertIn("CUDA backend: not built, CPU only; missing: nvcc", said)

    def test_on_without_nvcc_fails_and_names_it(self):
        code, said = self.configure(NO_NVCC, "-DBRANCHSAE_CUDA=ON")
        self.assertNotEqual(code, 0)
        self.assertIn("BRANCHSAE_CUDA=ON, but missing: nvcc", said)

    def test_off_asks_for_nothing(self):
        code, said = self.configure("-DBRANCHSAE_CUDA=OFF")
        self.assertEqual(code, 0, said)
        self.assertIn("CUDA backend: not built (BRANCHSAE_CUDA=OFF)", said)

    def test_another_value_is_refused(self):
        code, said = self.configure("-DBRANCHSAE_CUDA=PERHAPS")
        self.assertNotEqual(code, 0)
        self.assertIn("must be AUTO, ON or OFF", said)


if __name__ == "__main__":
    cases.run()
