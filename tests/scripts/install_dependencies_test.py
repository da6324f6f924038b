"""scripts/install_dependencies.sh with stand-ins for apt, sudo and dpkg: nothing is really installed."""
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import cases

SCRIPT = cases.ROOT / "scripts/install_dependencies.sh"


class InstallDependencies(unittest.TestCase):
    def setUp(self):
        self.bin = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.log = self.bin / "apt.log"
        # The script's PATH holds these alone, so that it can never reach the real apt-get or sudo.
        for tool in ("bash", "dirname", "basename", "cat", "env", "id"):
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.tool("apt-get", f'echo "$@" >>{self.log}')

    def tool(self, name, body):
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def run_script(self, *arguments):
        return subprocess.run(["/bin/bash", SCRIPT, *arguments], capture_output=True, text=True, check=False,
                              env={"PATH": str(self.bin)})

    def test_nothing_missing(self):
        self.tool("dpkg-query", "printf installed")
        done = self.run_script("--tests")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertFalse(self.log.exists())

    def test_as_root_installs_exactly_what_is_missing(self):
        self.tool("dpkg-query", '[[ "${@: -1}" == libpng-dev ]] || printf installed')
        self.tool("id", "echo 0")
        done = self.run_script()
        self.assertEqual(done.returncode, 0, done.stderr)
        update, install = self.log.read_text().splitlines()
        self.assertTrue(update.endswith(" update"))
        self.assertTrue(install.endswith(" install -y --no-install-recommends libpng-dev"))

    def test_tests_need_more(self):
        self.tool("dpkg-query", "exit 1")
        build = self.run_script("--dry-run").stdout.split()
        everything = self.run_script("--dry-run", "--tests").stdout.split()
        self.assertIn("libonnx-dev", build)
        self.assertNotIn("doctest-dev", build)
        self.assertLess(set(build), set(everything))
        self.assertIn("doctest-dev", everything)

    def test_without_rights_prints_the_one_line_to_run(self):
        self.tool("dpkg-query", '[[ "${@: -1}" == libpng-dev ]] || printf installed')
        self.tool("id", "echo 1000")
        self.tool("sudo", "exit 1")
        done = self.run_script()
        self.assertEqual(done.returncode, 1)
        self.assertIn("sudo apt-get install -y --no-install-recommends libpng-dev", done.stderr.splitlines()[-1])
        self.assertFalse(self.log.exists())

    def test_passwordless_sudo_is_used(self):
        self.tool("dpkg-query", '[[ "${@: -1}" == libpng-dev ]] || printf installed')
        self.tool("id", "echo 1000")
        self.tool("sudo", '[[ $1 == -n ]] && exit 0; "$@"')
        done = self.run_script()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("libpng-dev", self.log.read_text())

    def test_apt_that_fails(self):
        self.tool("dpkg-query", "exit 1")
        self.tool("id", "echo 0")
        self.tool("apt-get", "exit 100")
        done = self.run_script()
        self.assertEqual(done.returncode, 1)
        self.assertIn("apt-get could not install", done.stderr.splitlines()[-1])

    def test_no_apt_names_the_libraries(self):
        (self.bin / "apt-get").unlink()
        done = self.run_script()
        self.assertEqual(done.returncode, 0)
        self.assertIn("libonnx-dev", done.stderr)


if __name__ == "__main__":
    cases.run()
