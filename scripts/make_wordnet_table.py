#!/usr/bin/env python3
"""Writes analysis/wordnet_table.cpp: the synsets above the 1,000 ILSVRC-2012 classes in WordNet 3.0.

    apt install wordnet-base && scripts/make_wordnet_table.py

usage: scripts/make_wordnet_table.py [data.noun [analysis/wordnet_table.cpp]]

data.noun is WordNet's own file (/usr/share/wordnet/data.noun of Debian's wordnet-base); its format is described in
wndb(5WN). The classes are those of loader/imagenet_classes.cpp. Edges are hypernyms and instance hypernyms.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
// Written by scripts/make_wordnet_table.py; do not edit.
//
// The classes of ILSVRC-2012 and every synset above them: id, first lemma, hypernyms. Hypernyms come before.
// WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved.
// THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS" AND PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR
// WARRANTIES, EXPRESS OR IMPLIED. https://wordnet.princeton.edu/license-and-commercial-use
#include "analysis/wordnet_table.h"

namespace branchsae {
namespace {

// clang-format off
constexpr SynsetRow kSynsets[] = {
"""
FOOTER = """\
};
// clang-format on

}  // namespace

std::span<const SynsetRow> wordnet_table() {
  return kSynsets;
}

}  // namespace branchsae
"""


def read_nouns(path):
    """{offset: (first lemma, [hypernym offsets])}"""
    nouns = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if not re.match(r"\d{8} ", line):
            continue  # the licence at the top
        fields = line.split(" | ")[0].split()
        words = int(fields[3], 16)
        pointers = fields[4 + 2 * words:]
        hypernyms = [pointers[i + 1] for i in range(1, 1 + 4 * int(pointers[0]), 4)
                     if pointers[i] in ("@", "@i") and pointers[i + 2] == "n"]
        nouns[fields[0]] = (fields[4].replace("_", " "), hypernyms)
    return nouns


def class_ids():
    text = (ROOT / "loader/imagenet_classes.cpp").read_text(encoding="utf-8")
    return re.findall(r'^    \{"n(\d{8})",', text, re.MULTILINE)


def above(nouns, classes):
    """The classes and all above them, hypernyms first."""
    order, done = [], set()

    def visit(offset):
        if offset in done:
            return
        done.add(offset)
        for hypernym in sorted(nouns[offset][1]):
            visit(hypernym)
        order.append(offset)

    for offset in classes:
        if offset not in nouns:
            sys.exit(f"class n{offset} is no noun of this WordNet: 3.0 is needed")
        visit(offset)
    return order


def main():
    if len(sys.argv) > 3 or "-h" in sys.argv[1:] or "--help" in sys.argv[1:]:
        sys.exit(__doc__)
    source = Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/wordnet/data.noun")
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "analysis/wordnet_table.cpp"
    if not source.is_file():
        sys.exit(f"{source} is missing; install Debian's wordnet-base or name WordNet 3.0's data.noun")
    nouns, classes = read_nouns(source), class_ids()
    if len(classes) != 1000:
        sys.exit(f"loader/imagenet_classes.cpp lists {len(classes)} classes, not 1,000")
    order = above(nouns, classes)
    rows = []
    for offset in order:
        name, hypernyms = nouns[offset]
        above_it = " ".join(f"n{hypernym}" for hypernym in hypernyms)
        rows.append(f'    {{"n{offset}", "{name}", "{above_it}"}},\n')
    target.write_text(HEADER + "".join(rows) + FOOTER, encoding="utf-8")
    print(f"{len(order)} synsets, {len(classes)} of them classes: {target}")


if __name__ == "__main__":
    main()
