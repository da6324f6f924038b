"""scripts/count_tests.py: every way a test can end is counted once and on the right side."""
import subprocess
import sys
import tempfile
import unittest

import cases


def entry(name, output, verdict):
    """One test as ctest writes it into LastTest.log."""
    return (f'1/9 Testing: {name}\n1/9 Test: {name}\nCommand: "x"\nOutput:\n{"-" * 58}\n{output}\n<end of output>\n'
            f'Test time =   0.00 sec\n{"-" * 58}\nTest {verdict}.\n"{name}" time elapsed: 00:00:00\n\n')


def doctest(passed, failed, skipped):
    total = passed + failed
    return (f"[doctest] test cases:  {total} |  {passed} passed | {failed} failed | {skipped} skipped\n"
            f"[doctest] assertions: 99 | 99 passed | 0 failed |\n[doctest] Status: SUCCESS!")


class CountTests(unittest.TestCase):
    def run_script(self, log, ctest_exit):
        with tempfile.NamedTemporaryFile("w", suffix=".log") as file:
            file.write(log)
            file.flush()
            done = subprocess.run([sys.executable, cases.ROOT / "scripts/count_tests.py", file.name, str(ctest_exit)],
                                  capture_output=True, text=True, check=False)
        return done.stdout.splitlines()[-1], done.returncode

    def test_all_passed(self):
        log = entry("a", doctest(5, 0, 0), "Passed") + entry("b", "[cases] 3 passed, 0 failed, 0 skipped", "Passed")
        self.assertEqual(self.run_script(log, 0), ("8 passed, 0 failed, 0 skipped", 0))

    def test_skipped_cases_are_not_passed(self):
        log = entry("a", doctest(5, 0, 1) + "\n[skipped] 2 of 5 test cases", "Passed")
        self.assertEqual(self.run_script(log, 0), ("3 passed, 0 failed, 3 skipped", 0))

    def test_a_suite_skipped_whole(self):
        log = entry("a", doctest(1, 0, 0), "Passed") + entry("b", doctest(7, 0, 0) + "\n[skipped] 7 of 7 test cases",
                                                             "Passed")
        self.assertEqual(self.run_script(log, 0), ("1 passed, 0 failed, 7 skipped", 0))

    def test_failed_case(self):
        log = entry("a", doctest(4, 1, 0), "Failed") + entry("b", doctest(2, 0, 0), "Passed")
        self.assertEqual(self.run_script(log, 8), ("6 passed, 1 failed, 0 skipped", 1))

    def test_crash_before_any_report(self):
        log = entry("a", "Segmentation fault", "Failed") + entry("b", doctest(2, 0, 0), "Passed")
        self.assertEqual(self.run_script(log, 8), ("2 passed, 1 failed, 0 skipped", 1))

    def test_crash_after_a_good_report(self):
        self.assertEqual(self.run_script(entry("a", doctest(2, 0, 0), "Failed"), 8),
                         ("2 passed, 1 failed, 0 skipped", 1))

    def test_log_that_breaks_off(self):
        log = entry("a", doctest(2, 0, 0), "Passed") + "2/9 Testing: b\nOutput:\n" + doctest(3, 0, 0)
        self.assertEqual(self.run_script(log, 0), ("5 passed, 1 failed, 0 skipped", 1))

    def test_ctest_failed_without_a_failing_test(self):
        self.assertEqual(self.run_script(entry("a", doctest(2, 0, 0), "Passed"), 8),
                         ("2 passed, 1 failed, 0 skipped", 1))

    def test_nothing_ran(self):
        line, code = self.run_script("Start testing: now\n", 0)
        self.assertEqual((line, code), ("0 passed, 0 failed, 0 skipped", 1))


if __name__ == "__main__":
    cases.run()
