"""Installs the build into a fresh folder, then builds and runs a project of a user's that finds it there.

usage: package_test.py CMAKE BUILD_FOLDER COMPILER
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import cases

CMAKE, BUILD, COMPILER = sys.argv[1:4] if len(sys.argv) > 3 else ("cmake", str(cases.ROOT / "build"), "c++")


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="branchsae-install-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.prefix = cls.folder / "prefix"
        cls.run_command(CMAKE, "--install", BUILD, "--prefix", cls.prefix)

    @classmethod
    def run_command(cls, *command):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def configure(self, *options):
        source = cases.ROOT / "tests/install/consumer"
        self.run_command(CMAKE, "-S", source, "-B", self.folder / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}",
                         f"-DCMAKE_CXX_COMPILER={COMPILER}", *options)

    def test_a_user_finds_it_builds_and_runs(self):
        self.configure()
        self.run_command(CMAKE, "--build", self.folder / "build")
        said = self.run_command(self.folder / "build/consumer", self.folder)
        self.assertIn("mixed4c.5x5: 196 tokens of 8 channels", said)
        self.assertIn("trained 2 steps", said)

    def test_nothing_points_back_into_the_source_or_build_folder(self):
        for path in self.prefix.rglob("*.cmake"):
            text = path.read_text(encoding="utf-8")
            self.assertNotIn(str(cases.ROOT) + "/", text, path.name)
            self.assertNotIn(BUILD + "/", text, path.name)

    def test_another_version_is_refused(self):
        with self.assertRaisesRegex(AssertionError, "version"):
            self.configure("-DWANTED_VERSION=99.0")

    def test_the_program_is_installed_and_runs_from_there(self):
        program = self.prefix / "bin/branchsae"
        self.assertTrue(os.access(program, os.X_OK))
        self.run_command(program, "--version")


if __name__ == "__main__":
    cases.run()
