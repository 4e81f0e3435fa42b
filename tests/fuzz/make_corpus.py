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


def tiff(order, big, pages):
    """Pages of tags {tag: (type, values)}; values of one are stored in their entry, others after the directory."""
    word, kinds = "Q" if big else "I", {2: "B", 3: "H", 4: "I", 5: "I", 16: "Q"}
    out = (b"II" if order == "<" else b"MM") + struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, 16) if big else (42, 8)))
    for n, tags in enumerate(pages):
        head = struct.pack(order + ("Q" if big else "H"), len(tags))
        room, extra = 8 if big else 4, b""
        end = len(out) + len(head) + len(tags) * (12 + 2 * (room - 4)) + room
        for tag, (kind, values) in sorted(tags.items()):
            data = struct.pack(f"{order}{len(values)}{kinds[kind]}", *values)
            count = len(values) // (2 if kind == 5 else 1)
            head += struct.pack(f"{order}HH{word}", tag, kind, count)
            if len(data) <= room:
                head += data.ljust(room, b"\0")
            else:
                head += struct.pack(order + word, end + len(extra))
                extra += data
        head += struct.pack(order + word, end + len(extra) if n + 1 < len(pages) else 0)
        out += head + extra
    return out


page = {256: (4, [40]), 257: (4, [20]), 258: (3, [8, 8, 8]), 259: (3, [1]), 262: (3, [2]), 270: (2, list(b"Aperio Image|MPP = 0.5\0")),
        277: (3, [3]), 282: (5, [20000, 1]), 283: (5, [20000, 1]), 296: (3, [3]), 322: (3, [32]), 323: (3, [32]), 324: (4, [8, 8]),
        325: (4, [30, 40])}
strips = {256: (3, [10]), 257: (3, [6]), 258: (3, [8]), 259: (3, [1]), 262: (3, [1]), 273: (4, [8, 8, 8]), 277: (3, [1]), 278: (3, [2]),
          279: (3, [20, 20, 20])}
seed("tiff", 0, tiff("<", False, [page, strips]))
seed("tiff", 1, tiff(">", False, [strips, {**page, 330: (4, [8])}]))
seed("tiff", 2, tiff("<", True, [{**page, 324: (16, [8, 8]), 330: (16, [16])}, strips, page]))
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
mtx = b"%%MatrixMarket matrix coordinate integer general\n%metadata_json: {}\n5 4 3\n1 1 7\n5 1 2\n3 4 1\n"
seed("mtx", 0, mtx)
seed("mtx", 1, gzip.compress(mtx.replace(b"integer", b"real").replace(b" 7", b" 7.5e0"), mtime=0))
seed("mtx", 2, b"ENSG01\tACTB\tGene Expression\nENSG02\tFASN\tGene Expression\n")
seed("positions", 0, b"AAAC-1,1,0,0,100,100.5\nAAAG-1,0,0,2,100,300\nAAAT-1,1,1,1,273,200\nAAAA-1,1,1,3,273,400\n")
seed("positions", 1, b"\xef\xbb\xbfbarcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres\r\ns_016um_00052_00082-1,1,52,82,9e3,8000\r\n")
seed("positions", 2, b",yaxis,xaxis,r\nS_10x13,20,30,7.5\nS_11x13,20,50,7.5\n")
