#!/usr/bin/env python3
"""Runs stflow and its peers in turn on the same threads and prints the table of ratios (Markdown).

  python tools/bench/peers/compare.py --stflow-src STFlow --threads 2 --rounds 2
"""
import argparse
import json
import os
import subprocess
import sys


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--stflow", default="./stflow", help="the program")
    p.add_argument("--what", default="step,sample,vit", help="groups to compare")
    p.add_argument("--stflow-src", default="STFlow", help="clone of the authors' code, for step and sample")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=2, help="times that all take their turn; the best round counts")
    p.add_argument("--seconds", type=float, default=5, help="time for each row")
    p.add_argument("--limit", type=float, default=120, help="a peer's run longer than this many seconds is not repeated")
    p.add_argument("--spots", default="200,3000,10000")
    p.add_argument("--images", default="1,8")
    p.add_argument("--sizes", default="B/16", help="of ViT: S/16, B/16, L/16, g/14")
    p.add_argument("--compile", action="store_true", help="also the authors' network under torch.compile")
    return p.parse_args()


def rows_of(words):
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: exit code {done.returncode}")
    return json.loads(done.stdout)["rows"]


def key(row):
    return (row["name"] if row["group"] == "vit" else row["group"]), row.get("spots") or row.get("images")


def better(old, row):
    return "failed" not in row and (old is None or "failed" in old or row["median_seconds"] < old["median_seconds"])


def main():
    a = arguments()
    here = os.path.dirname(os.path.abspath(__file__))
    common = ["--threads", str(a.threads), "--seconds", str(a.seconds)]
    denoiser = [sys.executable, os.path.join(here, "denoiser_peer.py"), "--stflow-src", a.stflow_src, *common, "--limit", str(a.limit)]
    sizes = ["--images", a.images, "--sizes", a.sizes, "--limit", str(a.limit)]
    vit = [sys.executable, os.path.join(here, "vit_peers.py"), *common, *sizes]
    ours, theirs = {}, {}
    for _ in range(a.rounds):
        for what in a.what.split(","):
            for row in rows_of([a.stflow, "bench", what, "--json", *common, "--spots", a.spots, *sizes]):
                if row["group"] != what or row.get("preset", "reference") != "reference":
                    continue
                if better(ours.get(key(row)), row):
                    ours[key(row)] = row
            peers = [vit] if what == "vit" else [[*denoiser, "--what", what, "--spots", a.spots]]
            if a.compile and what != "vit":
                peers.append([*peers[0], "--compile"])
            for words in peers:
                for row in rows_of(words):
                    at = (*key(row), row.get("peer", "STFlow in PyTorch"))
                    if at not in theirs or better(theirs[at], row):
                        theirs[at] = row
    print("| what | size | stflow, ms | % of peak | peer | peer, ms | ratio | memory, MB: stflow | peer |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for (group, size, peer), row in sorted(theirs.items()):
        our = ours[(group, size)]
        share = f"{our['percent_of_peak']:.0f}" if "percent_of_peak" in our else ""
        memory = f"{our['peak_rss_bytes'] / 1e6:.0f}"
        if "failed" in row:
            time, ratio, other = row["failed"], "", ""
        else:
            time = f"{1e3 * row['median_seconds']:.1f}"
            ratio = f"{row['median_seconds'] / our['median_seconds']:.1f}"
            other = f"{row['peak_rss_bytes'] / 1e6:.0f}" if "peak_rss_bytes" in row else ""
        print(f"| {group} | {size} | {1e3 * our['median_seconds']:.1f} | {share} | {peer} | {time} | {ratio} | {memory} | {other} |")


if __name__ == "__main__":
    main()
