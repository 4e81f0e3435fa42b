#!/usr/bin/env python3
"""`stflow bench vit` and the peers of vit_peers.py in turn, a second each, for many rounds.

A host that moves this machine's processors about makes single images a fifth to a half slower for seconds: medians of one long run each then
compare different machines. Each peer keeps its model in a process of its own, which waits while others run.

  python tools/bench/peers/vit_turns.py --size S/16 --images 1 --rounds 20
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

import vit_peers
from timing import time_runs


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seconds", type=float, default=1, help="time for each turn")
    p.add_argument("--rounds", type=int, default=20)
    p.add_argument("--size", default="S/16", help=", ".join(vit_peers.SIZES))
    p.add_argument("--images", type=int, default=1)
    p.add_argument("--stflow", default="./stflow")
    p.add_argument("--peer", choices=("torch", "onnx"), help=argparse.SUPPRESS)  # this process is that peer
    p.add_argument("--folder", help=argparse.SUPPRESS)
    return p.parse_args()


def be_peer(a):
    """For each line of stdin, the median of a turn."""
    import contextlib

    import numpy

    name, run = vit_peers.run_of(a.peer, a.size, a.folder, a.threads)
    x = numpy.random.default_rng(1).standard_normal((a.images, 3, 224, 224), numpy.float32)
    inference = contextlib.nullcontext()
    if a.peer == "torch":
        import torch

        inference = torch.inference_mode()
    with inference:
        run(x)
        print(name, flush=True)
        for _ in sys.stdin:
            print(time_runs(lambda: run(x), a.seconds)["median_seconds"], flush=True)


class Peer:
    def __init__(self, peer, a, folder):
        words = [sys.executable, __file__, "--peer", peer, "--folder", folder, "--size", a.size, "--images", str(a.images)]
        words += ["--threads", str(a.threads), "--seconds", str(a.seconds)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name = self.process.stdout.readline().strip()

    def turn(self):
        print(file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def stflow_turn(a):
    words = [a.stflow, "bench", "vit", "--json", "--quiet", "--sizes", a.size, "--images", str(a.images), "--threads", str(a.threads)]
    r = json.loads(subprocess.run([*words, "--seconds", str(a.seconds)], stdout=subprocess.PIPE, text=True, check=True).stdout)
    return next(row["median_seconds"] for row in r["rows"] if row["group"] == "vit")


def main():
    a = arguments()
    os.environ["OMP_NUM_THREADS"] = str(a.threads)
    if a.peer:
        return be_peer(a)
    with tempfile.TemporaryDirectory() as folder:
        vit_peers.export(a.size, folder)
        peers = [Peer(peer, a, folder) for peer in ("torch", "onnx")]
        seconds = {"stflow": [], **{p.name: [] for p in peers}}
        ratios = []  # of each round: the faster peer's time over ours
        for _ in range(a.rounds):
            theirs = [p.turn() for p in peers]
            ours = stflow_turn(a)
            for p, s in zip(peers, theirs):
                seconds[p.name].append(s)
            seconds["stflow"].append(ours)
            ratios.append(min(theirs) / ours)
        for p in peers:
            p.process.stdin.close()
            p.process.wait()
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    print(json.dumps({"size": a.size, "images": a.images, "threads": a.threads, "rounds": a.rounds, "median_seconds": medians,
                      "ratio": min(s for name, s in medians.items() if name != "stflow") / medians["stflow"],
                      "ratios": sorted(round(r, 3) for r in ratios)}))


if __name__ == "__main__":
    main()
