#!/usr/bin/env python3
"""What a crash of the machine could leave of a folder, from the record of the calls that changed it
(tests/fault/crash_recorder.c).

crash_states.py before RECORD FOLDER          notes the folder as it is, on the disk, before the calls
crash_states.py list RECORD RANDOM STRIDE     prints "POINT KIND" of states that differ, every STRIDE-th
crash_states.py build RECORD POINT KIND FOLDER   makes FOLDER the state after POINT calls

What an fsync of a file or folder has made durable is there in every state: the bytes of a file as they were
at its last fsync, the names in a folder likewise, a rename with both its names or not at all. The rest,
by KIND:
  lost      none of it: the worst that can be
  names     all names, none of the bytes: files are empty or as they were
  bytes     all bytes, none of the names
  SEED      some of both: of each name's changes a first part, of the bytes appended to a file a first part,
            torn anywhere, of other writes any
  all       all of it: no crash
"""
# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import sys


class File:
    def __init__(self, content=b""):
        self.durable = content
        self.pending = []  # calls since the last fsync
        self.elsewhere = None  # a hard link to a file that is not recorded

    @staticmethod
    def changed(content, call):
        kind, at, new = call
        if kind == "bytes":
            return new
        if kind == "size":
            return content[:at].ljust(at, b"\0")
        if kind == "atleast":
            return content.ljust(at, b"\0")
        return content[:at].ljust(at, b"\0") + new + content[at + len(new):]

    def content(self, calls):
        content = self.durable
        for call in calls:
            content = self.changed(content, call)
        return content

    def sync(self):
        self.durable = self.content(self.pending)
        self.pending = []

    def some(self, source):
        """A first part of what was appended, torn; any of the other calls."""
        size, appended = len(self.durable), True
        for kind, at, new in self.pending:
            appended = appended and kind == "write" and at == size
            size += len(new)
        if not appended:
            return self.content([call for call in self.pending if source.random() < 0.5])
        return self.content(self.pending)[:source.randint(len(self.durable), size)]


class Folder:
    def __init__(self):
        self.names = {}  # as the program sees them


class Change:
    """One call that changes names: the new meaning of each, None where it is gone."""

    def __init__(self, names):
        self.names = names  # [(Folder, name, node)]
        self.durable = False


class Disk:
    def __init__(self, record):
        self.record = pathlib.Path(record)
        before = json.loads((self.record / "before.json").read_text())
        self.prefix = before["folder"]
        self.root = Folder()
        self.nodes = {before["inode"]: self.root}
        self.changes = []
        for path, inode, is_folder in before["entries"]:
            copy = self.record / "before" / path
            node = Folder() if is_folder else self.nodes.get(inode) or File(copy.read_bytes())
            self.nodes[inode] = node
            self.change((self.prefix + "/" + path, node))
        for change in self.changes:
            change.durable = True

    def place(self, path):
        names = [name for name in path[len(self.prefix):].split("/") if name]
        folder = self.root
        for name in names[:-1]:
            folder = folder.names[name]
        return folder, names[-1]

    def at(self, path):
        folder, name = self.place(path)
        return folder.names[name]

    def change(self, *paths):
        names = [(*self.place(path), node) for path, node in paths]
        for folder, name, node in names:
            if node is None:
                del folder.names[name]
            else:
                folder.names[name] = node
        self.changes.append(Change(names))

    def sync(self, node):
        if isinstance(node, File):
            return node.sync()
        for change in self.changes:
            change.durable = change.durable or any(folder is node for folder, _, _ in change.names)

    def call(self, line, take):
        kind, *fields = line
        if kind in ("create", "folder"):
            self.nodes[int(fields[1])] = node = File() if kind == "create" else Folder()
            self.change((fields[0], node))
        elif kind == "link":
            node = self.nodes.get(int(fields[2])) if fields[0].startswith(self.prefix) else None
            if node is None:
                node = File()
                node.elsewhere = fields[0]
            self.change((fields[1], node))
        elif kind == "rename":
            source, target = self.at(fields[0]), None
            if int(fields[2]) & 2:  # RENAME_EXCHANGE
                target = self.at(fields[1])
            self.change((fields[0], target), (fields[1], source))
        elif kind == "remove":
            self.change((fields[0], None))
        elif kind == "sync":
            self.sync(self.nodes[int(fields[0])])
        else:
            at = int(fields[1])
            new = take(int(fields[-1])) if kind in ("write", "bytes") else b""
            self.nodes[int(fields[0])].pending.append((kind, at, new))

    def run(self):
        """Makes the calls one by one; yields before each, and at the end, how many were made and which is next."""
        lines = (self.record / "log").read_text().splitlines()
        with open(self.record / "bytes", "rb") as data:
            for point, line in enumerate(lines):
                fields = line.split("\t")
                yield point, fields[0]
                self.call(fields, data.read)
        yield len(lines), "end"

    def state(self, kind):
        """{path: node or content} of what is there, folders as Folder."""
        source = random.Random(kind)
        trees = {id(self.root): {}}
        stuck = set()
        for change in self.changes:
            places = {(id(folder), name) for folder, name, _ in change.names}
            made = change.durable or kind in ("names", "all")
            if not made and kind not in ("lost", "bytes"):
                made = not places & stuck and source.random() < 0.5
            if not made:
                stuck |= places
                continue
            for folder, name, node in change.names:
                tree = trees.setdefault(id(folder), {})
                if node is None:
                    tree.pop(name, None)
                else:
                    tree[name] = node
        contents, state = {}, {}

        def content(file):
            if id(file) not in contents:
                if kind in ("lost", "names"):
                    contents[id(file)] = file.durable
                elif kind in ("bytes", "all"):
                    contents[id(file)] = file.content(file.pending)
                else:
                    contents[id(file)] = file.some(source)
            return contents[id(file)]

        def walk(folder, path):
            for name, node in sorted(trees.get(id(folder), {}).items()):
                if isinstance(node, Folder):
                    state[path + name] = node
                    walk(node, path + name + "/")
                else:
                    state[path + name] = node if node.elsewhere else content(node)

        walk(self.root, "")
        return state


def name_of(state):
    sha = hashlib.sha256()
    for path, what in state.items():
        text = what if isinstance(what, bytes) else b"a folder or a link"
        sha.update(f"{path}\0{len(text)}\0".encode() + text)
    return sha.digest()


def before(record, folder):
    entries = []
    for path in sorted(pathlib.Path(folder).rglob("*")):
        entries.append([str(path.relative_to(folder)), path.lstat().st_ino, path.is_dir()])
    shutil.copytree(folder, pathlib.Path(record) / "before")
    (pathlib.Path(record) / "before.json").write_text(
        json.dumps({"folder": folder, "inode": os.stat(folder).st_ino, "entries": entries}))


def list_states(record, num_random, stride):
    disk = Disk(record)
    seen, found = set(), []
    for point, following in disk.run():
        kinds = ["lost", "names", "bytes"]
        if following in ("sync", "rename", "remove", "end"):
            kinds += [f"{point}.{n}" for n in range(num_random)]
        for kind in kinds:
            name = name_of(disk.state(kind))
            if name not in seen:
                seen.add(name)
                found.append(f"{point} {kind}")
    for n, state in enumerate(found):
        if n % stride == 0 or n == len(found) - 1:
            print(state)


def build(record, point, kind, folder):
    disk = Disk(record)
    for made, _ in disk.run():
        if made == point:
            break
    root = pathlib.Path(folder)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    made, names = {}, {id(node): inode for inode, node in disk.nodes.items()}
    state = disk.state(kind)
    for path, what in state.items():
        if isinstance(what, Folder):
            (root / path).mkdir()
            status = (root / path).stat()
            made[names.get(id(what))] = f"{status.st_dev} {status.st_ino}"
        elif isinstance(what, File):
            os.link(what.elsewhere, root / path)
        else:
            (root / path).write_bytes(what)
    # The folder that a journal names by its number has another one now.
    for path, what in state.items():
        if path.endswith(".partial.journal") and isinstance(what, bytes):
            def renumbered(line):
                return b"published " + made.get(int(line[1]), line[0].decode()[10:].strip()).encode() + b"\n"
            (root / path).write_bytes(re.sub(rb"published \d+ (\d+)\n", renumbered, what))


if __name__ == "__main__":
    if sys.argv[1] == "before":
        before(*sys.argv[2:])
    elif sys.argv[1] == "list":
        list_states(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        build(sys.argv[2], int(sys.argv[3]) if sys.argv[3] != "end" else None, sys.argv[4], sys.argv[5])
