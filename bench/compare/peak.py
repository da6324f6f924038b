"""Runs a command and writes its time and memory: `peak.py RESULT.json COMMAND...`. A small process of its own, because
one inherits its parent's peak as the least that is reported for it."""
import json
import os
import sys
import time


def main():
    begin = time.perf_counter()
    child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
    _, status, usage = os.wait4(child, 0)
    with open(sys.argv[1], "w", encoding="ascii") as result:
        json.dump({"seconds": time.perf_counter() - begin, "peak_mib": usage.ru_maxrss / 1024,
                   "processor_seconds": usage.ru_utime + usage.ru_stime}, result)
    sys.exit(os.waitstatus_to_exitcode(status) % 256)


if __name__ == "__main__":
    main()
