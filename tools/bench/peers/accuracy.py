"""Trains the authors' PyTorch code on her2st sections C2 to C5 and prints its Pearson correlation on C6 after each epoch.

The model, the interpolant and the sampler are imported from a clone of the authors' repository (--stflow-src); nothing of them is
here. What surrounds them in their training script is written anew: discs of a random number of nearest spots, two items a step, ten items
of each section an epoch, Adam with learning rate 5e-4, gradients clipped to norm 1, four evaluations a sample. The last line is the mean
over genes of the test correlation, averaged over epochs 20 to 40 (or over those there are): the published comparison's way to report.

Needs torch, numpy, pandas, scipy, h5py. Example:
  python accuracy.py --stflow-src STFlow --data data/samples/her2st --embeddings data/samples/her2st/embeddings \\
      --genes data/samples/her2st/var_50genes.json --seed 1 --standardize
"""
import argparse
import json
import pathlib
import random
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import torch
from scipy.spatial import KDTree

TRAIN, TEST = ["C2", "C3", "C4", "C5"], "C6"


def read_section(data, embeddings, genes, sample):
    """Features (n, F), centred coordinates (n, 2) and log(1 + counts) (n, G) of the spots that have features and counts."""
    counts = pd.read_csv(pathlib.Path(data) / "ST-cnts" / f"{sample}.tsv.gz", sep="\t", index_col=0)
    with h5py.File(pathlib.Path(embeddings) / f"{sample}.h5") as f:
        spots = [b.decode() if isinstance(b, bytes) else b for b in f["barcodes"][:].ravel()]
        features, coords = f["embeddings"][:].astype(np.float32), f["coords"][:].astype(np.float32)
    rows = [i for i, s in enumerate(spots) if s in counts.index]
    expression = np.log1p(counts.loc[[spots[i] for i in rows], genes].to_numpy()).astype(np.float32)
    return features[rows], coords[rows] - coords[rows].mean(0), expression


def standardize(sections):
    """Features to mean 0 and deviation 1 over the training spots, in place."""
    pooled = np.concatenate([sections[s][0] for s in TRAIN])
    mean, sd = pooled.mean(0), pooled.std(0) + 1e-6
    for s, (x, c, y) in sections.items():
        sections[s] = ((x - mean) / sd, c, y)


def disc(section):
    """A random number of spots nearest to a random one."""
    x, c, y = section
    n = max(2, int(len(c) * np.random.rand()))
    rows = KDTree(c).query(c[np.random.randint(len(c))], k=n)[1]
    return x[rows], c[rows] - c[rows].mean(0), y[rows]


def batch(items):
    """Items padded with zero rows to the longest."""
    longest = max(len(item[0]) for item in items)
    return [torch.from_numpy(np.stack([np.pad(item[j], ((0, longest - len(item[j])), (0, 0))) for item in items])) for j in range(3)]


def pearson(model, interpolant, section, steps=5):
    """Mean over genes of the correlation of one sample with the measured expression; the mean squared error."""
    model.eval()
    with torch.no_grad():
        x, c, y = (torch.from_numpy(a)[None] for a in section)
        times = torch.linspace(0.01, 1, steps)
        draw = interpolant.sample_from_prior(y.shape)
        for t, following in zip(times[:-1], times[1:]):
            predicted = model.inference(draw, x, c, t[None])
            predicted = predicted[0] if isinstance(predicted, tuple) else predicted
            draw = interpolant.denoise(predicted, draw, t[None], (following - t)[None])
    p, truth = predicted[0].numpy(), section[2]
    return np.mean([np.corrcoef(p[:, g], truth[:, g])[0, 1] for g in range(truth.shape[1])]), ((p - truth) ** 2).mean()


def main():
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument("--stflow-src", required=True, metavar="DIR", help="clone of the authors' repository")
    a.add_argument("--data", required=True, metavar="DIR", help="folder with ST-cnts/")
    a.add_argument("--embeddings", required=True, metavar="DIR", help="<sample>.h5 in the HEST layout")
    a.add_argument("--genes", required=True, metavar="FILE", help='JSON: {"genes": [...]}')
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--epochs", type=int, default=40)
    a.add_argument("--threads", type=int, default=1)
    a.add_argument("--standardize", action="store_true", help="features to mean 0 and deviation 1 over the training spots")
    a.add_argument("--keep-relu", action="store_true", help="leave the authors' ReLU on each layer's genes on")
    flags = a.parse_args()

    sys.path.insert(0, flags.stflow_src)
    from stflow.flow.interpolant import Interpolant
    from stflow.model.denoiser import Denoiser

    torch.set_num_threads(flags.threads)
    random.seed(flags.seed), np.random.seed(flags.seed), torch.manual_seed(flags.seed)
    genes = json.loads(pathlib.Path(flags.genes).read_text())["genes"]
    sections = {s: read_section(flags.data, flags.embeddings, genes, s) for s in TRAIN + [TEST]}
    if flags.standardize:
        standardize(sections)
    model = Denoiser(SimpleNamespace(n_genes=len(genes), feature_dim=sections[TEST][0].shape[1], hidden_dim=128, pairwise_hidden_dim=128,
                                     n_layers=4, n_heads=4, dropout=0.2, attn_dropout=0.2, n_neighbors=8, activation="swiglu"))
    if not flags.keep_relu:
        for block in model.backbone.blks:
            block.gene_updater.non_negative = False
    interpolant = Interpolant("zinb", device="cpu", total_count=torch.tensor([1.0]), logits=torch.tensor([0.1]), zi_logits=0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    scores = []
    for epoch in range(1, flags.epochs + 1):
        model.train()
        losses = []
        for s in TRAIN:
            for _ in range(5):
                x, c, y = batch([disc(sections[s]) for _ in range(2)])
                noisy, t = interpolant.corrupt_exp(y)
                _, loss = model(exp=noisy, img_features=x, coords=c, labels=y, t_steps=t)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                losses.append(loss.item())
        r, mse = pearson(model, interpolant, sections[TEST])
        scores.append(r)
        print(f"epoch {epoch}: loss {np.mean(losses):.3f}, test Pearson {r:.4f}, MSE {mse:.3f}", flush=True)
    kept = scores[19:40] or scores
    print(f"mean test Pearson over {'epochs 20-40' if len(scores) >= 20 else 'all epochs'}: {np.mean(kept):.4f}")


if __name__ == "__main__":
    main()
