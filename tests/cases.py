"""Runs a file's unittest cases and reports them in the form scripts/count_tests.py reads."""
import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run():
    result = unittest.main(module="__main__", argv=sys.argv[:1], exit=False, verbosity=1).result
    failed = len({id(case) for case, _ in result.failures + result.errors})
    skipped = len(result.skipped)
    passed = result.testsRun - failed - skipped
    print(f"[cases] {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    if failed or result.testsRun == 0:
        sys.exit(1)
    sys.exit(77 if passed == 0 else 0)
