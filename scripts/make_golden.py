#!/usr/bin/env python3
"""Writes tests/golden: small random-weight exports of GoogLeNet in the dresses it is published in, and what ONNX
Runtime computes with them. Run by hand; needs torch, torchvision, onnx, onnxscript, onnxruntime and numpy.

    python scripts/make_golden.py [--out tests/golden] [ops torchvision lucid zoo spliced]

Seeded: the same versions of those packages give the same bytes (tests/golden/README.md names the ones used).
"""
import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from golden import common  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests" / "golden")
    parser.add_argument("sets", nargs="*", default=["ops", "torchvision", "lucid", "zoo", "spliced"])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.sets:
        if name == "ops":
            from golden import ops as maker
        elif name == "torchvision":
            from golden import torchvision_net as maker
        elif name == "lucid":
            from golden import lucid_net as maker
        elif name == "zoo":
            from golden import zoo_net as maker
        elif name == "spliced":
            from golden import spliced as maker
        else:
            parser.error(f"no set is called {name}")
        for path in maker.make(options.out):
            print(f"{path.stat().st_size:9d} {path.relative_to(options.out)}")
    (options.out / "versions.json").write_text(json.dumps(common.versions(), indent=1) + "\n")


if __name__ == "__main__":
    main()
