#!/usr/bin/env python3
"""Times the authors' STFlow in PyTorch: a training step and a 4-evaluation sampling run, as their train.py and test.py do them.

Needs torch, torch_geometric, timm, einops and a clone of https://github.com/Graph-and-Geometric-Learning/STFlow.

  python tools/bench/peers/denoiser_peer.py --stflow-src STFlow --threads 2 --spots 200,3000
"""
import argparse
import json
import os
import resource
import sys
import types


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--stflow-src", required=True, help="folder of the clone")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--spots", default="200,3000,10000", help="sizes of the slides")
    p.add_argument("--what", choices=["all", "step", "sample"], default="all")
    p.add_argument("--seconds", type=float, default=5, help="time for each row")
    p.add_argument("--limit", type=float, default=120, help="a run longer than this many seconds is not repeated")
    p.add_argument("--compile", action="store_true", help="torch.compile the network")
    p.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    return p.parse_args()


def import_from(folder):
    """The model and the flow alone: the package's own __init__ files pull in what a timing does not need."""
    for name in ("stflow", "stflow.model", "stflow.flow"):
        module = types.ModuleType(name)
        module.__path__ = [os.path.join(folder, *name.split("."))]
        sys.modules[name] = module
    from stflow.flow.interpolant import Interpolant
    from stflow.model.denoiser import Denoiser

    return Denoiser, Interpolant


def measure(a, what, n):
    """One row, in this process."""
    os.environ["OMP_NUM_THREADS"] = str(a.threads)
    import torch
    from timing import time_runs

    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    Denoiser, Interpolant = import_from(a.stflow_src)
    # The defaults of the authors' train.py.
    config = types.SimpleNamespace(
        n_genes=50, feature_dim=1024, hidden_dim=128, pairwise_hidden_dim=128, n_layers=4, n_heads=4, dropout=0.2,
        attn_dropout=0.2, n_neighbors=8, activation="swiglu")
    model = Denoiser(config)
    flow = Interpolant("zinb", total_count=1.0, logits=0.1, zi_logits=0.0, normalize=True, device="cpu")
    features = torch.rand(1, n, 1024) * 2 - 1
    columns = int(n**0.5 + 0.999)
    i = torch.arange(n)
    coords = torch.stack([100.0 * (i % columns + 0.5 * (i // columns % 2)), 86.6 * (i // columns)], -1)[None]
    labels = torch.log1p(torch.randint(0, 10, (1, n, 50)).float())
    forward = torch.compile(model.forward) if a.compile else model.forward
    inference = torch.compile(model.inference) if a.compile else model.inference
    if what == "step":
        model.train()
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)

        def run():
            noisy, t = flow.corrupt_exp(labels)
            _, loss = forward(exp=noisy, img_features=features, coords=coords, labels=labels, t_steps=t)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    else:
        model.eval()

        @torch.no_grad()
        def run():
            y = flow.sample_from_prior(labels.shape)
            times = torch.linspace(0.01, 1.0, 5)[:, None]
            for k in range(4):
                prediction = inference(y, features, coords, times[k], predict=True)
                if k < 3:
                    y = flow.denoise(prediction, y, times[k], times[k + 1] - times[k])

    row = {"group": what, "peer": "STFlow in PyTorch " + torch.__version__ + (", compiled" if a.compile else ""), "spots": n}
    row.update(time_runs(run, a.seconds, a.limit))
    row["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return row


def main():
    a = arguments()
    if a.one:
        print(json.dumps(measure(a, a.one[0], int(a.one[1]))))
        return
    import subprocess

    # A process for each row: what one size leaves behind must not count for another, and one may run out of memory.
    rows = []
    for n in a.spots.split(","):
        for what in ["step", "sample"] if a.what == "all" else [a.what]:
            words = [sys.executable, *sys.argv, "--one", what, n]
            try:
                done = subprocess.run(words, capture_output=True, text=True, timeout=6 * a.limit + a.seconds)
                last = done.stderr.strip().splitlines()[-1:] or [""]
                row = json.loads(done.stdout) if done.returncode == 0 else {"failed": f"exit code {done.returncode}: {last[0]}"}
            except subprocess.TimeoutExpired:
                row = {"failed": f"no result within {6 * a.limit + a.seconds:.0f} s"}
            rows.append({"group": what, "spots": int(n), **row})
            print(rows[-1], file=sys.stderr, flush=True)
    print(json.dumps({"threads": a.threads, "rows": rows}))


if __name__ == "__main__":
    main()
