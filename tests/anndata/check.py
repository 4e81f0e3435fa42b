#!/usr/bin/env python3
"""Compares the .h5ad files that the test case "anndata: files for check.py" wrote with the .json beside them, through anndata's own
reader, field by field; then draws each that has an image from what scanpy's and squidpy's spatial plots read.

usage: STFLOW_ANNDATA=DIR build/release/tests/all -tc='anndata*' && python3 tests/anndata/check.py DIR [SLIDE SPOTS MPP]
SLIDE: an .h5ad that `stflow predict` made of an image alone, SPOTS: the table of spots that were measured on it, MPP: its scale.
Needs python3-anndata and python3-matplotlib."""
import csv
import json
import sys
import warnings
from pathlib import Path

import anndata
import matplotlib
import matplotlib.image
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.collections import PatchCollection  # noqa: E402
from matplotlib.colors import to_rgba  # noqa: E402
from matplotlib.patches import Circle  # noqa: E402

compared = 0


def same(what, found, expected):
    """Same values, NaN equal to NaN and to JSON's null; text as it is."""
    global compared
    compared += 1
    found = np.asarray(found)
    if found.dtype.kind in "OSU":
        assert found.tolist() == list(expected) if found.ndim else str(found) == expected, f"{what}: {found} != {expected}"
        return
    expected = np.array(expected, dtype=float)
    assert found.shape == expected.shape, f"{what}: shape {found.shape} != {expected.shape}"
    np.testing.assert_array_equal(found.astype(float), expected, err_msg=what)


def numbers(values):
    return [float("nan") if v is None else v for v in values]


def compare(path):
    want = json.loads(path.with_suffix(".json").read_text())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # anndata warns of what it had to guess
        a = anndata.read_h5ad(path)
    n, g = len(want["spots"]), len(want["genes"])
    same("obs_names", a.obs_names, want["spots"])
    same("var_names", a.var_names, want["genes"])
    assert a.X.dtype == np.float32
    matrix = lambda values: np.array(numbers(values), dtype=np.float32).reshape(n, g)  # noqa: E731
    same("X", a.X, matrix(want["mean"]))
    layers = dict(want["layers"], mean=want["mean"])
    assert set(a.layers) == set(layers), set(a.layers)
    for name, values in layers.items():
        same(name, a.layers[name], matrix(values))
    xy = np.array(want["xy"], dtype=float).reshape(n, 2)
    same("obsm/spatial", a.obsm["spatial"], xy)

    columns = {"in_tissue": np.ones(n), "pxl_col_in_fullres": xy[:, 0], "pxl_row_in_fullres": xy[:, 1]}
    if all("x" in s for s in want["spots"]):
        columns["array_col"] = [int(s.split("x")[0]) for s in want["spots"]]
        columns["array_row"] = [int(s.split("x")[1]) for s in want["spots"]]
    columns.update({k: numbers(v) for k, v in want["spot_columns"].items()})
    assert set(a.obs.columns) == set(columns), set(a.obs.columns)
    for name, values in columns.items():
        same(name, a.obs[name].to_numpy(), np.array(values, dtype=np.float32 if name in want["spot_columns"] else float))
    for name in ("in_tissue", *(c for c in columns if c.startswith("array"))):
        assert a.obs[name].dtype == np.int64, name

    expected = set(want["gene_columns"]) | ({"gene_ids"} if want["gene_ids"] else set())
    assert set(a.var.columns) == expected, set(a.var.columns)
    for name, values in want["gene_columns"].items():
        same(name, a.var[name].to_numpy(), np.array(numbers(values), dtype=np.float32))
    if want["gene_ids"]:
        same("gene_ids", a.var["gene_ids"].to_numpy(), want["gene_ids"])

    (library, spatial), = a.uns["spatial"].items()
    assert library == (want["sample"].replace("/", "_") or "section"), library
    image, nan = want.get("hires"), float("nan")
    scale = image["scale"] if image else nan
    same("scale", spatial["scalefactors"]["tissue_hires_scalef"], scale)
    same("scale of HEST", spatial["scalefactors"]["tissue_downscaled_fullres_scalef"], scale)
    same("diameter", spatial["scalefactors"]["spot_diameter_fullres"], want["spot_diameter"] or nan)
    same("fiducial", spatial["scalefactors"]["fiducial_diameter_fullres"], nan)
    same("mpp", spatial["metadata"]["mpp"], want["mpp"] or nan)
    same("width", spatial["metadata"]["width"], want["width"])
    same("height", spatial["metadata"]["height"], want["height"])
    assert set(spatial["images"]) == ({"hires", "downscaled_fullres"} if image else set())
    for picture in spatial["images"].values():
        assert picture.dtype == np.uint8
        same("image", picture, np.array(image["rgb"]).reshape(image["height"], image["width"], 3))
    assert set(a.uns["stflow"]) == set(want["about"])
    for name, text in want["about"].items():
        same(name, a.uns["stflow"][name], text)

    # Written again by anndata it is read again: nothing in it is beyond what anndata itself writes.
    again = path.with_suffix(".again")
    a.write_h5ad(again)
    np.testing.assert_array_equal(anndata.read_h5ad(again).X, a.X)
    again.unlink()
    if image:
        plot(a, library, path)


def plot(a, library, path):
    """Draws as sc.pl.spatial(a, color=gene) does, from what it and sq.pl.spatial_scatter read: circles of spot_diameter_fullres at
    obsm/spatial over the image, all times its scale factor. Every spot that no other covers must be seen, in its colour, at its place."""
    spatial = a.uns["spatial"][library]
    scale = spatial["scalefactors"]["tissue_hires_scalef"]
    radius = spatial["scalefactors"]["spot_diameter_fullres"] * scale * 0.5
    values, xy = a[:, a.var_names[0]].X.ravel(), a.obsm["spatial"] * scale
    colours = plt.get_cmap("viridis")((values - np.nanmin(values)) / max(np.nanmax(values) - np.nanmin(values), 1e-9))
    colours[np.isnan(values)] = to_rgba("lightgray")
    figure, axes = plt.subplots(figsize=(10, 10), dpi=150)
    axes.add_collection(PatchCollection([Circle(at, radius) for at in xy], facecolors=colours, edgecolors="none"))
    axes.autoscale_view()
    x, y = axes.get_xlim(), axes.get_ylim()
    axes.imshow(spatial["images"]["hires"])
    axes.set_xlim(min(x[0], -0.5), max(x[1], spatial["images"]["hires"].shape[1]))
    axes.set_ylim(max(y[1], spatial["images"]["hires"].shape[0]), min(y[0], -0.5))  # rows go down
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())
    plt.close(figure)
    matplotlib.image.imsave(path.with_suffix(".png"), pixels)
    seen = 0
    for i, (column, row) in enumerate(axes.transData.transform(xy)):
        if i + 1 < len(xy) and np.hypot(*(xy[i + 1:] - xy[i]).T).min() < 2 * radius:
            continue
        there = pixels[pixels.shape[0] - 1 - int(row), int(column)] / 255
        assert np.abs(there - colours[i]).max() < 0.02, f"{path}: spot {a.obs_names[i]} is drawn {there}, expected {colours[i]}"
        seen += 1
    assert seen > 0, path


def over_tissue(path, table, mpp):
    """A slide's grid of predictions lies where those who measured it found tissue: each of their spots (a table with pixel_x and pixel_y,
    200 um apart) has one of ours within the grid's 100 um, and nearly each of ours one of theirs within 200. Then plots it."""
    a = anndata.read_h5ad(path)
    with open(table) as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    theirs = np.array([[float(r["pixel_x"]), float(r["pixel_y"])] for r in rows])
    distance = mpp * np.hypot(*(a.obsm["spatial"][:, None] - theirs[None]).transpose(2, 0, 1))
    found, right = (distance.min(0) < 100).mean(), (distance.min(1) < 200).mean()
    assert found > 0.98 and right > 0.95, f"{path}: {found:.3f} of the tissue has spots, {right:.3f} of the spots are on tissue"
    (library, spatial), = a.uns["spatial"].items()
    assert max(spatial["images"]["hires"].shape) == 2000
    plot(a, library, path)
    print(f"{path.name}: {a.n_obs} spots, on {100 * found:.1f} % of the measured tissue; {100 * right:.1f} % of them are on it")


def main():
    files = sorted(Path(sys.argv[1]).glob("*.h5ad"))
    assert len(files) == 4, files
    for path in files:
        compare(path)
    print(f"{len(files)} files, {compared} fields are what was written; anndata {anndata.__version__}")
    if len(sys.argv) > 2:
        over_tissue(Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))


main()
