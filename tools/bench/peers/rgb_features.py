"""The simplest features a patch has: mean and standard deviation of red, green and blue, written in the HEST embedding layout,
so that `stflow train --embeddings OUT` measures any encoder against them.

    python tools/bench/peers/rgb_features.py data/samples/her2st/embeddings OUT IMAGE... [--microns 220] [--mpp 0.69]

Spots and their pixels come from <sample>.h5 in the first folder; an image is matched to the sample that names its folder.
Needs numpy, h5py and Pillow.
"""
import argparse
import pathlib

import h5py
import numpy as np
from PIL import Image

Image.MAX_IMAGE_PIXELS = None
p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("spots", type=pathlib.Path)
p.add_argument("out", type=pathlib.Path)
p.add_argument("images", type=pathlib.Path, nargs="+")
p.add_argument("--microns", type=float, default=220)
p.add_argument("--mpp", type=float, default=0.69)
a = p.parse_args()
side = round(a.microns / a.mpp)
a.out.mkdir(parents=True, exist_ok=True)
for image in a.images:
    sample = image.parent.name
    rgb = np.asarray(Image.open(image).convert("RGB"))
    with h5py.File(a.spots / f"{sample}.h5") as f:
        coords, barcodes = f["coords"][:], f["barcodes"][:]
    features = np.empty((len(coords), 6), np.float32)
    for i, (x, y) in enumerate(coords):
        left, top = int(round(x - side / 2)), int(round(y - side / 2))
        patch = rgb[max(top, 0):top + side, max(left, 0):left + side].reshape(-1, 3)
        features[i] = np.concatenate([patch.mean(0), patch.std(0)])
    with h5py.File(a.out / f"{sample}.h5", "w") as f:
        f["embeddings"], f["coords"], f["barcodes"] = features, coords, barcodes
    print(sample, features.shape)
