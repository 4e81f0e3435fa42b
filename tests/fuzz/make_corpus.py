#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/<format>/seed-*: small files of each format, from tests/fixtures/torch_*. The standard library suffices."""
import gzip
import json
import pathlib
import struct
import zipfile

here = pathlib.Path(__file__).parent
fixtures = here.parent / "fixtures"


def seed(format, number, data):
    folder = here / "corpus" / format
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{number}").write_bytes(data)


def safetensors(header, data):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


for i, name in enumerate(["torch_types.pth", "torch_lightning.ckpt", "torch_teacher.pth"]):
    seed("zip", i, (fixtures / name).read_bytes())
    with zipfile.ZipFile(fixtures / name) as archive:
        seed("pickle", i, archive.read(next(n for n in archive.namelist() if n.endswith("data.pkl"))))
seed("pickle", 3, (fixtures / "torch_legacy.pth").read_bytes())
seed("safetensors", 0, safetensors({}, b""))
seed("safetensors", 1, safetensors({"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
                                    "b": {"dtype": "BF16", "shape": [3], "data_offsets": [8, 14]}}, bytes(14)))
seed("safetensors", 2, safetensors({"x": {"dtype": "BOOL", "shape": [], "data_offsets": [0, 1]}, "y": {"dtype": "F8_E4M3", "shape": [0, 9],
                                    "data_offsets": [1, 1]}, "z": {"dtype": "I64", "shape": [1], "data_offsets": [1, 9]}}, bytes(9)))
seed("json", 0, b'{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}, "metadata": {"total_size": 8}}')
seed("json", 1, b'[1, -2.5e-3, "x\\u00e9\\ud83d\\ude00", null, true, {"a": [], "b": {}}]')
seed("json", 2, b' {"genes": ["ERBB2", "FASN"], "big": 18446744073709551615, "small": 1e-400}\n')
square = b'[[0,0],[400,0],[400,300],[0,300],[0,0]]'
seed("geojson", 0, b'{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"Polygon","coordinates":[' + square +
     b',[[10,10],[20,10.5],[15,1e1]]]},"properties":{"classification":{"name":"Tissue"}}}]}')
seed("geojson", 1, b'[{"type":"Feature","geometry":{"type":"MultiPolygon","coordinates":[[' + square + b'],[[[1,1],[2,1],[2,-2e3]]]]}}]')
seed("geojson", 2, gzip.compress(b'{"type":"GeometryCollection","geometries":[{"type":"Polygon","coordinates":[' + square + b']}]}', mtime=0))
