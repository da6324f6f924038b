"""scripts/quickstart.sh: what it takes, downloads or makes up. CMake and the program are stand-ins that note how they
were called; installing, building and training for real is not repeated here."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import cases
from loopback import CONTENT, SHA256, environment, server

PROGRAM = """#!/bin/bash
printf '%s\\n' "$@" >"$BRANCHSAE_BUILD_DIR/arguments"
while [[ $# -gt 0 ]]; do [[ $1 == --out ]] && run=$2; shift; done
mkdir -p "$run"
printf '{\\n  "seconds": {\\n    "evaluating": 1.5,\\n    "training": 7.25\\n  }\\n}\\n' >"$run/run.json"
echo "the table"
exit "${PROGRAM_EXIT:-0}"
"""
CMAKE = """#!/bin/bash
printf '%s\\n' "$*" >>"$BRANCHSAE_BUILD_DIR.cmake"
exit "${CMAKE_EXIT:-0}"
"""


class Quickstart(unittest.TestCase):
    def setUp(self):
        """A copy of the scripts in a folder of its own, so that no real data is near."""
        self.top = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.root = self.top / "checkout"
        shutil.copytree(cases.ROOT / "scripts", self.root / "scripts")
        self.build = self.top / "build"
        self.executable(self.build / "bin/branchsae", PROGRAM)
        self.executable(self.top / "tools/cmake", CMAKE)
        self.executable(self.top / "tools/dpkg-query", "#!/bin/bash\nprintf installed\n")
        self.executable(self.top / "tools/apt-get", "#!/bin/bash\nexit 1\n")
        self.url = self.enterContext(server())

    def executable(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def run_script(self, *arguments, **extra):
        extra = {"BRANCHSAE_MODEL_URL": "none", "BRANCHSAE_BUILD_DIR": str(self.build)} | extra
        path = f"{self.top / 'tools'}:{os.environ['PATH']}"
        return subprocess.run([self.root / "scripts/quickstart.sh", *arguments], env=environment(PATH=path, **extra),
                              cwd=self.top, capture_output=True, text=True, check=False)

    def arguments(self):
        """What the program was called with: {option: value}, images."""
        words = (self.build / "arguments").read_text().splitlines()
        self.assertEqual(words[0], "demo")
        options, images, at = {}, [], 1
        while at < len(words):
            if words[at].startswith("--"):
                options[words[at]] = words[at + 1]
                at += 2
            else:
                images.append(words[at])
                at += 1
        return options, images

    def data(self, folder, model=True, images=True):
        if model:
            (folder / "model").mkdir(parents=True)
            (folder / "model/googlenet.onnx").write_bytes(b"a model")
        if images:
            (folder / "images").mkdir(parents=True)

    def test_model_and_photos_beside_the_checkout(self):
        self.data(self.top / "shared")
        done = self.run_script()
        self.assertEqual(done.returncode, 0, done.stderr)
        options, images = self.arguments()
        self.assertTrue(os.path.samefile(options["--model"], self.top / "shared/model/googlenet.onnx"))
        self.assertTrue(os.path.samefile(images[0], self.top / "shared/images"))
        self.assertNotIn("--synthetic", options)
        self.assertNotIn("NO ", done.stderr)
        self.assertIn("the table", done.stdout)
        self.assertRegex(done.stdout, r"total \d+ s: .* of which training 7.2 s")

    def test_the_data_variable_wins_and_nothing_else_is_searched(self):
        self.data(self.top / "shared")
        self.data(self.top / "mine")
        done = self.run_script(BRANCHSAE_DATA=str(self.top / "mine"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.arguments()[0]["--model"], str(self.top / "mine/model/googlenet.onnx"))
        (self.top / "empty").mkdir()
        self.run_script(BRANCHSAE_DATA=str(self.top / "empty"))
        self.assertNotIn("--model", self.arguments()[0])

    def test_own_photos(self):
        self.data(self.root / "data")
        (self.top / "my photos").mkdir()
        done = self.run_script("my photos")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.arguments()[1], ["my photos"])

    def test_a_model_is_downloaded_when_none_is_there(self):
        self.data(self.root / "data", model=False)
        done = self.run_script(BRANCHSAE_MODEL_URL=self.url + "/good", BRANCHSAE_MODEL_SHA256=SHA256)
        self.assertEqual(done.returncode, 0, done.stderr)
        model = pathlib.Path(self.arguments()[0]["--model"])
        self.assertEqual(model.parent, self.root / "data/model")
        self.assertEqual(model.read_bytes(), CONTENT)
        self.assertNotIn("NO MODEL", done.stderr)

    def test_no_download_that_is_good_means_a_random_network_said_loudly(self):
        self.data(self.root / "data", model=False)
        for path in ("/cut", "/wrong", "/absent"):
            with self.subTest(path):
                done = self.run_script(BRANCHSAE_MODEL_URL=self.url + path, BRANCHSAE_MODEL_SHA256=SHA256)
                self.assertEqual(done.returncode, 0, done.stderr)
                options, images = self.arguments()
                self.assertNotIn("--model", options)
                self.assertEqual(options["--synthetic"], str(self.root / "data/synthetic"))
                self.assertEqual(images, [str(self.root / "data/images")])
                self.assertIn("NO MODEL", done.stderr)
                self.assertNotIn("NO PHOTOS", done.stderr)

    def test_a_model_without_photos(self):
        self.data(self.root / "data", images=False)
        done = self.run_script()
        options, images = self.arguments()
        self.assertEqual(images, [])
        self.assertIn("--model", options)
        self.assertIn("--synthetic", options)
        self.assertIn("NO PHOTOS", done.stderr)
        self.assertNotIn("NO MODEL", done.stderr)

    def test_nothing_at_all(self):
        done = self.run_script()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(set(self.arguments()[0]), {"--out", "--synthetic"})
        self.assertIn("NO MODEL", done.stderr)
        self.assertIn("NO PHOTOS", done.stderr)

    def test_photos_that_do_not_exist_are_refused_before_anything_is_built(self):
        done = self.run_script("absent-folder")
        self.assertEqual(done.returncode, 1)
        self.assertIn("absent-folder", done.stderr)
        self.assertFalse((self.top / "build.cmake").exists())

    def test_what_fails_is_not_called_done(self):
        self.data(self.root / "data")
        for extra in ({"CMAKE_EXIT": "1"}, {"PROGRAM_EXIT": "1"}):
            with self.subTest(extra):
                done = self.run_script(**extra)
                self.assertNotEqual(done.returncode, 0)
                self.assertNotIn("total", done.stdout)


if __name__ == "__main__":
    cases.run()
