"""Where a benchmark ran: what every result carries beside its figures."""
# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import platform
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLAGS = ("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_bf16", "avx512_vnni",
         "amx_bf16", "amx_int8", "sha_ni")


def cpu():
    info = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        info.setdefault(key.strip(), value.strip())
    present = info.get("flags", "").split()
    return {"cpu": info.get("model name", platform.processor()),
            "cpus": len(os.sched_getaffinity(0)),
            "flags": [flag for flag in FLAGS if flag in present]}


def git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True,
                          check=True).stdout.strip()


def commit():
    """Of the checkout, and whether files differ from it; None where git knows of none: in a copy of the files."""
    try:
        return {"commit": git("rev-parse", "HEAD"),
                "changed_since": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "changed_since": None}
