#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of check_layers on made-up repositories: run it by hand or by CTest."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

TOOL = pathlib.Path(__file__).resolve().parent / "check_layers"
LAYERS = "# order\nbase:\nio: base\ntensor: base  # no io\n"


class CheckLayersTest(unittest.TestCase):
    def run_on(self, files, layers=LAYERS):
        """(exit status, stdout + stderr) for a repository with these files below src/."""
        with tempfile.TemporaryDirectory() as root:
            src = pathlib.Path(root) / "src"
            src.mkdir()
            (src / "layers.txt").write_text(layers)
            for name, text in {"base/error.h": "", "io/file.h": "", **files}.items():
                path = src / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            done = subprocess.run([sys.executable, TOOL, root], capture_output=True, text=True)
            return done.returncode, done.stdout + done.stderr

    def test_accepts_listed_edges_own_folder_and_system_headers(self):
        text = '#include "tensor/a.h"\n#include <vector>\n  #  include "base/error.h"\n'
        self.assertEqual(self.run_on({"tensor/a.h": text}), (0, ""))

    def test_refuses_an_edge_that_is_not_listed_and_says_where(self):
        status, output = self.run_on({"tensor/deep/a.cc": '// a\n#include "io/file.h"\n'})
        self.assertEqual(status, 1)
        self.assertIn("src/tensor/deep/a.cc:2: 'tensor' includes 'io' (io/file.h)", output)

    def test_refuses_an_upward_edge(self):
        status, output = self.run_on({"base/a.cc": '#include "io/file.h"\n'})
        self.assertEqual(status, 1)
        self.assertIn("'base' includes 'io'", output)

    def test_lets_tests_include_any_folder(self):
        self.assertEqual(self.run_on({"base/a_test.cc": '#include "io/file.h"\n'}), (0, ""))

    def test_refuses_paths_that_hide_the_folder(self):
        for included in ("file.h", "../io/file.h"):
            status, output = self.run_on({"tensor/a.cc": f'#include "{included}"\n'})
            self.assertEqual(status, 1)
            self.assertIn("expected a path from src/", output)

    def test_refuses_missing_files_and_unknown_folders(self):
        self.assertIn("no such file", self.run_on({"io/a.cc": '#include "base/gone.h"\n'})[1])
        self.assertIn("no folder of src/", self.run_on({"io/a.cc": '#include "fmt/core.h"\n'})[1])
        self.assertIn("src/extra: has no line", self.run_on({"extra/a.cc": ""})[1])

    def test_refuses_a_layers_file_that_is_out_of_order(self):
        status, output = self.run_on({}, "io: base\nbase:\n")
        self.assertEqual(status, 2)
        self.assertIn("'io' lists 'base', which has no earlier line", output)
        self.assertEqual(self.run_on({}, "base:\nbase:\n")[0], 2)
        self.assertEqual(self.run_on({}, "base io\n")[0], 2)


if __name__ == "__main__":
    unittest.main()
