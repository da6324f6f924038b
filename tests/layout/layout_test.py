"""The shape of the repository: who may include whom, what is listed where, how long a file may be."""
import pathlib
import re
import subprocess
import unittest

import cases

ROOT = cases.ROOT
MAX_LINES = 700
SOURCES = {".h", ".cpp", ".cuh", ".cu"}
EVERYTHING = {"engine", "cpu", "cuda", "model", "loader", "analysis", "apps", "tests", "bench", "examples"}
# Arrows go one way; the two backends never meet.
MAY_INCLUDE = {
    "engine": {"engine"},
    "cpu": {"engine", "cpu"},
    "cuda": {"engine", "cuda"},
    "model": {"engine", "model"},
    "loader": {"engine", "model", "loader"},
    "analysis": {"engine", "model", "loader", "analysis"},
    "apps": EVERYTHING - {"tests", "bench", "examples"},
    "tests": EVERYTHING,
    "bench": EVERYTHING,
    "examples": EVERYTHING - {"tests", "bench"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
WRITTEN_BY = re.compile(r"Written by (scripts/\w+\.(?:py|sh)); do not edit")
MAY_INCLUDE_CUDA = [("cuda",), ("tests", "cuda"), ("tests", "emulator")]
SHADOW = pathlib.Path("tests/emulator/shadow")  # twins of headers, found before them by what runs in the emulator
CUDA_HEADER = re.compile(r"^(cuda|cudnn|cublas|cub/|thrust/|nv/|nvtx|mma\.h|cooperative_groups)")


def files():
    """Every file that is, or could be, committed."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, check=False)
    if listed.returncode == 0:
        paths = [pathlib.Path(name) for name in listed.stdout.decode().split("\0") if name]
    else:  # a source archive without git
        paths = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
        paths = [path for path in paths if not re.match(r"(build|data|runs|\.)", path.parts[0])]
    return sorted(path for path in paths if (ROOT / path).is_file())


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def sources():
    return [path for path in files() if path.suffix in SOURCES]


def made_by_cmake(name):
    """Whether the header's folder writes it into the build folder."""
    lists = ROOT / pathlib.Path(name).parent / "CMakeLists.txt"
    return lists.is_file() and f"/generated/{name}" in lists.read_text(encoding="utf-8")


def listed_names(text):
    """Sources named in a CMakeLists.txt; a name with a foreach's variable stands for one with each of its values."""
    loops = {}
    for variable, values in re.findall(r"foreach\((\w+) ([^)]*)\)", text):
        loops.setdefault(variable, []).extend(values.split())
    for name in re.findall(r"[\w./${}-]+\.(?:cpp|cu)\b", text):
        variable = re.search(r"\$\{(\w+)\}", name)
        if variable is None:
            yield name
        elif variable.group(1) in loops:
            yield from (name.replace(variable.group(0), value) for value in loops[variable.group(1)])


class Includes(unittest.TestCase):
    def problems(self, path, text):
        """What is wrong with the includes of a file at `path` that reads `text`."""
        folder, found = path.parts[0], []
        for quote, name in INCLUDE.findall(text):
            target = name.split("/")[0]
            if quote == "<":
                if CUDA_HEADER.match(name) and not any(path.parts[:len(at)] == at for at in MAY_INCLUDE_CUDA):
                    found.append(f"{path} includes the CUDA header <{name}>; that belongs into cuda/")
            elif target not in EVERYTHING or not ((ROOT / name).is_file() or made_by_cmake(name)):
                found.append(f'{path} includes "{name}", which is no path from the root')
            elif target not in MAY_INCLUDE[folder]:
                found.append(f'{path} includes "{name}"; {folder}/ may include only {sorted(MAY_INCLUDE[folder])}')
        return found

    def test_every_include_goes_the_allowed_way(self):
        checked = 0
        found = []
        for path in sources():
            self.assertIn(path.parts[0], MAY_INCLUDE, f"{path} lies in a folder that has no rule")
            found += self.problems(path, read(path))
            checked += 1
        self.assertGreater(checked, 20)
        self.assertEqual(found, [])

    def test_the_rule_itself_refuses(self):
        for path, text in (("engine/a.h", '#include "model/b.h"'), ("cpu/a.cpp", '#include "cuda/error.h"'),
                           ("cuda/a.cpp", '#include "cpu/b.h"'), ("loader/a.cpp", "#include <cuda_runtime.h>"),
                           ("model/a.cpp", '#  include "../engine/error.h"'), ("engine/a.cpp", '#include "error.h"')):
            self.assertEqual(len(self.problems(pathlib.Path(path), text)), 1, (path, text))
        self.assertEqual(self.problems(pathlib.Path("model/a.cpp"), '#include "engine/error.h"\n#include <png.h>'), [])


class Files(unittest.TestCase):
    def test_headers_say_pragma_once(self):
        # An -inl.h is Highway's form of code that is included once for each instruction set.
        headers = [path for path in sources() if path.suffix in (".h", ".cuh") and not path.name.endswith("-inl.h")]
        missing = [str(path) for path in headers if "#pragma once" not in read(path)]
        self.assertEqual(missing, [])

    def test_no_file_is_too_long(self):
        long = []
        for path in files():
            if path.suffix not in SOURCES | {".py", ".sh", ".cmake"}:
                continue
            text = read(path)
            if WRITTEN_BY.search(text[:400]):
                continue
            if (lines := text.count("\n")) >= MAX_LINES:
                long.append(f"{path}: {lines} lines")
        self.assertEqual(long, [])

    def test_generated_files_name_a_script_that_exists(self):
        for path in sources():
            for name in WRITTEN_BY.findall(read(path)[:400]):
                self.assertTrue((ROOT / name).is_file(), f"{path} names {name}")

    def test_sources_listed_in_cmake_are_the_sources_there_are(self):
        listed = set()
        for path in files():
            if path.name != "CMakeLists.txt" or path.parts[:2] == ("tests", "install"):
                continue
            text = re.sub(r"#.*", "", read(path))
            listed |= {path.parent / name for name in listed_names(text)}
        # Sources that two folders compile are listed once, by their paths from the root.
        listed |= {pathlib.Path(name) for name in listed_names(read(pathlib.Path("cuda/sources.cmake")))}
        unlisted = [str(path) for path in sources() if path.suffix in (".cpp", ".cu") and path not in listed
                    and path.parts[:2] != ("tests", "install")]
        self.assertEqual(unlisted, [])


class Twins(unittest.TestCase):
    """Every header that only means something on a GPU has a twin for the emulator, with the same names in it."""

    FUNCTION = re.compile(r"^(?:BRANCHSAE_DEVICE|constexpr|inline) [^=;{]*?(\w+)\(", re.MULTILINE)

    def test_every_wrapper_has_a_twin(self):
        originals = [path for path in sources() if path.parts[:2] == ("cuda", "arch")] + [pathlib.Path("cuda/launch.h")]
        self.assertGreater(len(originals), 4)
        for path in originals:
            self.assertTrue((ROOT / SHADOW / path).is_file(), f"{path} has no twin in {SHADOW}")
            missing = set(self.FUNCTION.findall(read(path))) - set(self.FUNCTION.findall(read(SHADOW / path)))
            self.assertEqual(missing, set(), f"the twin of {path} lacks these")

    def test_every_twin_has_an_original(self):
        for path in sources():
            if SHADOW in path.parents and path != SHADOW / "cuda_runtime_api.h":
                self.assertTrue((ROOT / path.relative_to(SHADOW)).is_file(), f"{path} is a twin of nothing")


class Documents(unittest.TestCase):
    def test_the_folder_map_of_the_readme_is_true(self):
        section = read("README.md").split("## Folders", 1)[1].split("\n## ", 1)[0]
        named = re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)
        self.assertGreater(len(named), 10)
        absent = [name for name in named if not (ROOT / name).exists()]
        self.assertEqual(absent, [])
        top = {path.parts[0] + "/" for path in files() if len(path.parts) > 1 and not path.parts[0].startswith(".")}
        self.assertEqual(sorted(top - {name for name in named}), [], "folders that the map does not show")

    def test_links_between_documents_lead_somewhere(self):
        for path in files():
            if path.suffix != ".md":
                continue
            for target in re.findall(r"\]\(([^)#\s]+)", read(path)):
                if "://" not in target:
                    self.assertTrue((ROOT / path.parent / target).exists(), f"{path} links to {target}")


if __name__ == "__main__":
    cases.run()
