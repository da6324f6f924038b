"""Sources are formatted as .clang-format says; needs clang-format 14, since versions differ in detail."""
import shutil
import subprocess
import unittest

import cases


def version():
    if shutil.which("clang-format") is None or shutil.which("git") is None:
        return ""
    return subprocess.run(["clang-format", "--version"], capture_output=True, text=True, check=False).stdout


class Format(unittest.TestCase):
    @unittest.skipUnless(" 14." in version() and (cases.ROOT / ".git").exists(), "needs clang-format 14 and git")
    def test_every_source_is_formatted(self):
        done = subprocess.run([cases.ROOT / "scripts/format.sh", "--check"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))


if __name__ == "__main__":
    cases.run()
