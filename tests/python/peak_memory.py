#!/usr/bin/env python3
"""peak_memory.py FILE COMMAND...: runs the command, ends as it does, and writes to FILE the most memory
that it ever had in RAM, in bytes, as the kernel counts it."""
import resource
import subprocess
import sys

code = subprocess.run(sys.argv[2:], check=False).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
with open(sys.argv[1], "w", encoding="ascii") as file:
    file.write(f"{peak}\n")
sys.exit(code)
