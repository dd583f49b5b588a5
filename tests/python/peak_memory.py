#!/usr/bin/env python3
"""peak_memory.py FILE COMMAND...: runs the command, ends as it does, and writes to FILE the most memory
that it ever had in RAM, in bytes, as the kernel counts it."""
import os
import subprocess
import sys
import time


def run_measured(command, **popen):
    """Runs the command as subprocess.Popen(command, **popen) would, without pipes. Returns its exit code, and its
    wall seconds, CPU seconds, and peak memory in bytes, each of the whole process."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, **popen)
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        raise
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main():
    code, _, _, peak = run_measured(sys.argv[2:])
    with open(sys.argv[1], "w", encoding="ascii") as file:
        file.write(f"{peak}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
