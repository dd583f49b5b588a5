#!/usr/bin/env python3
"""pad_shard.py FOLDER PIECE: puts a tensor of filling in front of the others of the shard that holds a router,
so that a row of it lies across byte PIECE of the file, and gives the file an odd number of bytes."""
import json
import pathlib
import re
import struct
import sys

folder, piece = pathlib.Path(sys.argv[1]), int(sys.argv[2])
for path in sorted(folder.glob("*.safetensors")):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    gates = [name for name in header if re.search(r"mlp\.gate\.weight$", name)]
    if gates:
        break
else:
    sys.exit("no shard has a router")
gate = header[gates[0]]["data_offsets"][0]
room = 2 * length + 256  # of the new header
filling = piece - 8 - room - gate - 10  # ten bytes of its first row before, the others after
for name, entry in header.items():
    if name != "__metadata__":
        entry["data_offsets"] = [offset + filling for offset in entry["data_offsets"]]
end = len(data) - 8 - length + filling
header["filling"] = {"dtype": "U8", "shape": [filling], "data_offsets": [0, filling]}
header["filling_at_end"] = {"dtype": "U8", "shape": [7001], "data_offsets": [end, end + 7001]}
text = json.dumps(header).encode()
text += b" " * (room - len(text))
assert len(text) == room, "the header has no room"
path.write_bytes(struct.pack("<Q", room) + text + bytes(n * 7 % 251 for n in range(filling)) +
                 data[8 + length:] + b"x" * 7001)
index = folder / "model.safetensors.index.json"
if index.exists():
    names = json.loads(index.read_text())
    names["metadata"]["total_size"] += filling + 7001
    names["weight_map"].update({"filling": path.name, "filling_at_end": path.name})
    index.write_text(json.dumps(names))
print(gates[0], path.name)
