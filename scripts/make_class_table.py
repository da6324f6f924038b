#!/usr/bin/env python3
"""Writes loader/imagenet_classes.cpp, the built-in table of the 1,000 ILSVRC-2012 classes.

Usage: scripts/make_class_table.py CLASSES.tsv [loader/imagenet_classes.cpp]

CLASSES.tsv has lines INDEX <tab> WORDNET_ID <tab> NAMES. The class index is the rank of the WordNet id among the
thousand, and the names are the lemmas of that WordNet 3.0 synset; both are checked as far as the file allows.
"""

import re
import sys
from pathlib import Path

HEADER = """\
// Written by scripts/make_class_table.py; do not edit.
//
// The classes of ILSVRC-2012: ids and lemmas of WordNet 3.0 synsets, sorted by id.
// WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.
// https://wordnet.princeton.edu/license-and-commercial-use
#include "loader/imagenet_classes.h"

namespace branchsae::loader {
namespace {

// clang-format off
constexpr ImagenetClass kClasses[] = {
"""

FOOTER = """\
};
// clang-format on

}  // namespace

std::span<const ImagenetClass> imagenet_classes() {
  return kClasses;
}

}  // namespace branchsae::loader
"""


def read_classes(path):
    classes = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        index, wordnet_id, names = line.split("\t")
        if int(index) != len(classes) or not re.fullmatch(r"n\d{8}", wordnet_id) or not names:
            sys.exit(f"{path}:{number}: not the next class: {line!r}")
        if not re.fullmatch(r"[ -~]+", names):
            sys.exit(f"{path}:{number}: not plain ASCII: {names!r}")
        classes.append((wordnet_id, names))
    ids = [wordnet_id for wordnet_id, _ in classes]
    if len(ids) != 1000 or ids != sorted(set(ids)):
        sys.exit(f"{path}: expected 1,000 different WordNet ids in ascending order, got {len(ids)}")
    return classes


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    target = Path(sys.argv[2]) if len(sys.argv) == 3 else Path(__file__).parent.parent / "loader/imagenet_classes.cpp"
    lines = []
    for wordnet_id, names in read_classes(sys.argv[1]):
        quoted = names.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'    {{"{wordnet_id}", "{quoted}"}},\n')
    target.write_text(HEADER + "".join(lines) + FOOTER, encoding="utf-8")


if __name__ == "__main__":
    main()
