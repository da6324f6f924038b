"""Every header compiles on its own, twice in one file.

usage: headers_test.py COMPILER CUDA_INCLUDE_FOLDER_OR_EMPTY
"""
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import unittest

import cases

ROOT = cases.ROOT
COMPILER, CUDA = sys.argv[1:3] if len(sys.argv) > 2 else ("c++", "")


def headers():
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.h"],
                            capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [pathlib.Path(line) for line in listed.stdout.splitlines() if (ROOT / line).is_file()]
    return [path.relative_to(ROOT) for path in ROOT.rglob("*.h") if not path.relative_to(ROOT).parts[0].startswith("build")]


def emulated(header):
    """Whether the header is meant for the emulator, whose twins of the CUDA headers come first."""
    return header.parts[:2] in (("tests", "emulator"), ("tests", "cuda"))


def compiles(text, shadow=False):
    """"" or what the compiler says of a file that reads `text`."""
    command = [COMPILER, "-std=c++20", "-fsyntax-only", "-w", "-DONNX_ML=1", "-DONNX_NAMESPACE=onnx", f"-I{ROOT}", "-x",
               "c++", "-"]
    if shadow:
        command.insert(1, f"-I{ROOT}/tests/emulator/shadow")
    elif CUDA:
        command.insert(1, f"-isystem{CUDA}")
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False).stderr


def check(header):
    return header, compiles(f'#include "{header}"\n#include "{header}"\n', emulated(header))


class Headers(unittest.TestCase):
    def test_every_header_compiles_alone(self):
        # An -inl.h is Highway's form of code that is included once for each instruction set; it cannot stand alone.
        wanted = [header for header in headers() if not header.name.endswith("-inl.h")]
        wanted = [header for header in wanted if header.parts[0] != "cuda" or CUDA]
        self.assertGreater(len(wanted), 20)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            broken = {str(header): said for header, said in pool.map(check, wanted) if said}
        self.assertEqual(broken, {})

    def test_a_broken_header_is_noticed(self):
        self.assertNotEqual(compiles("struct A { std::string s; };\n"), "")
        self.assertEqual(compiles("#include <string>\nstruct A { std::string s; };\n"), "")

    @unittest.skipIf(CUDA, "the CUDA headers were compiled above")
    def test_cuda_headers(self):
        self.skipTest("needs the CUDA toolkit")


if __name__ == "__main__":
    cases.run()
