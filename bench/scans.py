"""One scan under measure: shared by the benchmarks of scans."""
# SPDX-License-Identifier: Apache-2.0
import pathlib
import re
import shutil
import statistics
import sys
import tempfile

import disk
import machine

sys.path.insert(0, str(machine.ROOT / "tests/python"))
from peak_memory import run_measured  # noqa: E402


def spread(values):
    median = statistics.median(values)
    return {"median": round(median, 3), "min": round(min(values), 3), "max": round(max(values), 3),
            "spread": round((max(values) - min(values)) / median, 3) if median else 0}


def phases(text):
    """Of the line that -v ends with: {phase: [seconds, CPUs busy]}."""
    return {name: [float(seconds), float(busy)]
            for name, seconds, busy in re.findall(r"(?:^|, )([^(]+?) ([\d.]+) s \(([\d.]+) CPUs busy\)", text)}


def scan(program, source, work, *options):
    """A scan with the page cache emptied. Fails with its stderr."""
    disk.forget(source)
    out = pathlib.Path(work) / "scan"
    shutil.rmtree(out, ignore_errors=True)
    command = [program, "-v", "scan", str(source), "-o", str(out), *options]
    with tempfile.TemporaryFile("w+") as told:
        code, wall, cpu, peak = run_measured(command, stderr=told, stdout=told)
        told.seek(0)
        text = told.read()
    if code != 0:
        sys.exit(f"{' '.join(command)} ended with {code}:\n{text}")
    read = re.search(r"read ([\d.]+) (\w+) of weights \((.*?)\)", text)
    products = re.search(r"products: ([\d.]+) TFLOP, ([\d.]+) s if (\d+) threads", text)
    near = [int(count) for count in re.findall(r"layer \d+: (\d+) of \d+ pairs are candidates", text)]
    return {"wall": wall, "cpu": cpu, "peak_bytes": peak, "numerics": re.search(r"numerics class +(\S+)", text)[1],
            "read_gb": float(read[1]) * {"MB": 1e-3, "GB": 1}[read[2]], "way": read[3],
            "tflop": float(products[1]), "t_kernel": float(products[2]), "threads": int(products[3]),
            "candidates": sum(near), "phases": phases(re.search(r"^time: (.*)$", text, re.M)[1])}


def bound(result, read_rate):
    """T_read, and how a scan's wall time compares with the larger of T_read and T_kernel."""
    t_read = result["read_gb"] / read_rate
    larger = max(t_read, result["t_kernel"])
    return {"t_read": t_read, "bound_by": "reading" if t_read > result["t_kernel"] else "products",
            "wall_over_bound": result["wall"] / larger}
