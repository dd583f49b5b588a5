"""What a disk does at best, and files that are not in the page cache: shared by benchmarks."""
# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import contextlib
import mmap
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

READERS, PIECE, BLOCK = 8, 1 << 20, 4 << 20


@contextlib.contextmanager
def scratch(folder, name, needed_gb=0):
    """A new folder below `folder`, which is removed also when the benchmark is stopped. Ends it where space is short."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free / 1e9
    if free < needed_gb:
        sys.exit(f"{folder}: {needed_gb:.0f} GB are needed, {free:.0f} are free")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # through the removal below
    work = pathlib.Path(tempfile.mkdtemp(prefix=name + ".", dir=folder))
    try:
        yield work
    finally:
        shutil.rmtree(work)


def files(folder):
    return sorted(path for path in pathlib.Path(folder).rglob("*") if path.is_file())


def size_of(folder):
    return sum(path.stat().st_size for path in files(folder))


def forget(*folders):
    """Empties the page cache of the folders' files."""
    for path in (path for folder in folders if pathlib.Path(folder).exists() for path in files(folder)):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def read_peak(*folders):
    """GB/s of O_DIRECT reads of whole MiB, 8 at a time."""
    pieces = []
    for path in (path for folder in folders for path in files(folder)):
        pieces += [(path, at) for at in range(0, path.stat().st_size // PIECE * PIECE, PIECE)]
    descriptors = {path: os.open(path, os.O_RDONLY | os.O_DIRECT) for path in {path for path, _ in pieces}}
    memory = mmap.mmap(-1, READERS * PIECE)
    memory.madvise(mmap.MADV_HUGEPAGE)
    memory.write(bytes(READERS * PIECE))  # its pages are made before the clock runs
    parts = memoryview(memory)

    def read(reader):
        for path, at in pieces[reader::READERS]:
            os.preadv(descriptors[path], [parts[reader * PIECE:(reader + 1) * PIECE]], at)

    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
        list(pool.map(read, range(READERS)))
    seconds = time.monotonic() - begin
    for descriptor in descriptors.values():
        os.close(descriptor)
    return len(pieces) * PIECE / seconds / 1e9


def write_peak(folder, size):
    """GB/s of O_DIRECT writes of 4 MiB, synced."""
    block = mmap.mmap(-1, BLOCK)
    block.write(os.urandom(BLOCK))
    path = pathlib.Path(folder) / "written"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
    begin = time.monotonic()
    for at in range(0, size, BLOCK):
        os.pwrite(descriptor, block, at)
    os.fsync(descriptor)
    seconds = time.monotonic() - begin
    os.close(descriptor)
    path.unlink()
    return size / seconds / 1e9


def cat(folder):
    """Seconds of `cat` of the folder's shards."""
    begin = time.monotonic()
    subprocess.run(["cat", *sorted(pathlib.Path(folder).glob("*.safetensors"))], check=True,
                   stdout=subprocess.DEVNULL)
    return time.monotonic() - begin
