"""scripts/download.sh and scripts/find_model.sh against a server on this machine: good, cut off, wrong, absent."""
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import unittest

import cases
from loopback import CONTENT, SHA256, environment, server

class Download(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.url = self.enterContext(server())

    def fetch(self, tool, path, sha256=SHA256, url=None):
        return subprocess.run([cases.ROOT / "scripts/download.sh", (url or self.url) + path, sha256,
                               self.folder / "new" / "model.onnx"],
                              env=environment(BRANCHSAE_DOWNLOADER=tool), capture_output=True, text=True, check=False)

    def each_tool(self, case):
        """Runs case(tool) for every downloader there is."""
        for tool in filter(shutil.which, ("curl", "wget", "python3")):
            with self.subTest(tool):
                case(tool)
            shutil.rmtree(self.folder / "new", ignore_errors=True)

    def refused(self, done, *words):
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertTrue(done.stderr.startswith("download.sh: error: http://127.0.0.1:"), done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(list((self.folder / "new").iterdir()), [], "something was left behind")

    def test_good_file(self):
        def case(tool):
            for path in ("/good", "/moved"):
                done = self.fetch(tool, path)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertEqual(os.listdir(self.folder / "new"), ["model.onnx"])
                self.assertEqual((self.folder / "new/model.onnx").read_bytes(), CONTENT)

        self.each_tool(case)

    def test_cut_off(self):
        self.each_tool(lambda tool: self.refused(self.fetch(tool, "/cut")))

    def test_wrong_content(self):
        def case(tool):
            self.refused(self.fetch(tool, "/wrong"), "sha256", SHA256)
            self.refused(self.fetch(tool, "/empty"), "sha256")

        self.each_tool(case)

    def test_absent(self):
        self.each_tool(lambda tool: self.refused(self.fetch(tool, "/absent"), "404"))

    def test_no_server(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # bound, never listening
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            self.each_tool(lambda tool: self.refused(self.fetch(tool, "/good", url=url)))

    def test_a_failed_download_keeps_the_old_file(self):
        target = self.folder / "new/model.onnx"
        target.parent.mkdir()
        target.write_bytes(b"old")
        self.assertEqual(self.fetch("python3", "/wrong").returncode, 1)
        self.assertEqual(target.read_bytes(), b"old")


class FindModel(unittest.TestCase):
    def setUp(self):
        self.data = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.url = self.enterContext(server())

    def find(self, **extra):
        return subprocess.run([cases.ROOT / "scripts/find_model.sh"],
                              env=environment(BRANCHSAE_DATA=str(self.data), **extra), capture_output=True, text=True,
                              check=False)

    def test_a_model_that_is_here_is_taken_without_a_download(self):
        model = self.data / "model/googlenet.onnx"
        model.parent.mkdir()
        model.write_bytes(b"a model")
        done = self.find(BRANCHSAE_MODEL_URL=self.url + "/absent")
        self.assertEqual((done.returncode, done.stdout), (0, f"{model}\n"))

    def test_another_address_and_hash(self):
        done = self.find(BRANCHSAE_MODEL_URL=self.url + "/good", BRANCHSAE_MODEL_SHA256=SHA256)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(pathlib.Path(done.stdout.strip()).read_bytes(), CONTENT)

    def test_the_written_hash_holds_for_another_address_too(self):
        done = self.find(BRANCHSAE_MODEL_URL=self.url + "/good")
        self.assertEqual((done.returncode, done.stdout), (3, ""))
        self.assertIn("sha256", done.stderr)

    def test_cut_off_wrong_or_absent_is_no_model(self):
        for path in ("/cut", "/wrong", "/absent"):
            with self.subTest(path):
                done = self.find(BRANCHSAE_MODEL_URL=self.url + path, BRANCHSAE_MODEL_SHA256=SHA256)
                self.assertEqual((done.returncode, done.stdout), (3, ""))
                self.assertEqual(list((self.data / "model").iterdir()), [])

    def test_no_download_wanted(self):
        done = self.find(BRANCHSAE_MODEL_URL="none")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (3, "", ""))


if __name__ == "__main__":
    cases.run()
