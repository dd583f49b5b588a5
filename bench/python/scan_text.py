#!/usr/bin/env python3
"""The token ids that a scan ran on: tokenizes the text with the tokenizers library and finds in it, by their
hashes, the documents that scan.json names.

Usage: scan_text.py CHECKPOINT CALIBRATION SCAN OUT: safetensors with `ids` [tokens + probe's], `bounds`
[documents + 1] and `probe_rows`. Run by bench/transformers.
"""
# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import pathlib
import sys

import numpy
from safetensors.numpy import save_file
from tokenizers import Tokenizer

PROBE_DOCUMENT, PROBE_USED = 128, 32  # a probe is cut from a document's begin; its last tokens are used


def digest(ids):
    return hashlib.sha256(ids.tobytes()).hexdigest()


def find(document, texts):
    """The ids of one document of scan.json. It is the begin of a text, or follows the probe cut from it."""
    for ids in texts:
        for begin in (0, min(PROBE_DOCUMENT, len(ids) // 2)):
            found = ids[begin:begin + document["tokens"]]
            if digest(found) == document["sha256"]:
                return found
    sys.exit(f"document {document['sha256']} of the scan, {document['tokens']} tokens of domain "
             f"'{document['domain']}', is not in the text as the tokenizers library reads it")


def main():
    checkpoint, calibration, scan, out = map(pathlib.Path, sys.argv[1:])
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    lines = calibration.read_text(encoding="utf-8").splitlines()
    texts = [numpy.array(tokenizer.encode(json.loads(line)["text"], add_special_tokens=False).ids, numpy.int32)
             for line in lines if line.strip()]
    header = json.loads((scan / "scan.json").read_text(encoding="utf-8"))
    documents = [find(d, texts) for d in header["documents"]]
    probes = [find(d, texts) for d in header["options"]["probe_documents"]]
    bounds = numpy.cumsum([0] + [len(ids) for ids in documents + probes])
    probe_rows = numpy.concatenate([numpy.arange(end - min(PROBE_USED, len(ids)), end)
                                    for ids, end in zip(probes, bounds[len(documents) + 1:])])
    save_file({"ids": numpy.concatenate(documents + probes), "bounds": bounds.astype(numpy.int32),
               "probe_rows": probe_rows.astype(numpy.int32)}, out)


if __name__ == "__main__":
    main()
