#!/usr/bin/env python3
"""Images per second of timm's ViTs at 224 px in PyTorch and ONNX Runtime, float32, random weights.

Needs torch, timm, onnx and onnxruntime; g/14 in ONNX Runtime takes up to 15 GB. Each size and peer runs in a process of its own.

  python tools/bench/peers/vit_peers.py --threads 2 --sizes S/16,B/16,L/16,g/14 --images 1,8,32 --limit 10
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

SIZES = {
    "S/16": ("vit_small_patch16_224", {}),
    "B/16": ("vit_base_patch16_224", {}),
    "L/16": ("vit_large_patch16_224", {}),
    "g/14": ("vit_giant_patch14_dinov2", {"img_size": 224}),  # SwiGLU of 4096, LayerScale
}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seconds", type=float, default=5, help="time for each row")
    p.add_argument("--limit", type=float, default=120, help="a run longer than this many seconds is not repeated")
    p.add_argument("--sizes", default="B/16", help=", ".join(SIZES))
    p.add_argument("--images", default="1,8", help="batch sizes")
    p.add_argument("--peer", choices=("torch", "onnx"), help="this one alone, in this process")
    p.add_argument("--folder", help="where --peer onnx finds the exported model")
    return p.parse_args()


def model_of(size):
    import timm
    import torch

    torch.manual_seed(1)
    name, options = SIZES[size]
    return timm.create_model(name, num_classes=0, **options).eval()


def export(size, folder):
    import torch

    torch.onnx.export(
        model_of(size), (torch.randn(1, 3, 224, 224),), os.path.join(folder, "vit.onnx"), input_names=["x"], output_names=["y"],
        dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, opset_version=17, dynamo=False, do_constant_folding=False)


def run_of(peer, size, folder, threads):
    """The peer's name, and what computes features of an array (n, 3, 224, 224)."""
    if peer == "torch":
        import torch

        torch.set_num_threads(threads)
        model = model_of(size)
        return "PyTorch " + torch.__version__, lambda x: model(torch.from_numpy(x))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(os.path.join(folder, "vit.onnx"), options, providers=["CPUExecutionProvider"])
    return "ONNX Runtime " + onnxruntime.__version__, lambda x: session.run(None, {"x": x})


def measure(a):
    import contextlib

    import numpy
    from timing import time_runs

    name, run = run_of(a.peer, a.sizes, a.folder, a.threads)
    inference = contextlib.nullcontext()
    if a.peer == "torch":
        import torch

        inference = torch.inference_mode()
    rows = []
    with inference:
        run(numpy.zeros((1, 3, 224, 224), numpy.float32))  # so that a single run is no first one
        for n in map(int, a.images.split(",")):
            x = numpy.random.default_rng(1).standard_normal((n, 3, 224, 224), numpy.float32)
            row = {"group": "vit", "name": "ViT-" + a.sizes, "peer": name, "images": n, **time_runs(lambda: run(x), a.seconds, a.limit)}
            row["images_per_second"] = n / row["median_seconds"]
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    return rows


def main():
    a = arguments()
    os.environ["OMP_NUM_THREADS"] = str(a.threads)
    if a.peer:
        print(json.dumps({"rows": measure(a)}))
        return
    rows = []
    for size in a.sizes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            for peer in ("torch", "onnx"):
                if peer == "onnx":  # in a process that is gone, with its copies of the weights, when the session starts
                    child = os.fork()
                    if child == 0:
                        with open(os.devnull, "w") as nowhere:
                            os.dup2(nowhere.fileno(), 1)
                            export(size, folder)
                        os._exit(0)
                    if os.waitpid(child, 0)[1] != 0:
                        sys.exit(f"{size}: not exported")
                words = [sys.executable, __file__, "--peer", peer, "--sizes", size, "--images", a.images, "--folder", folder]
                words += ["--threads", str(a.threads), "--seconds", str(a.seconds), "--limit", str(a.limit)]
                rows += json.loads(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout)["rows"]
    print(json.dumps({"threads": a.threads, "rows": rows}))


if __name__ == "__main__":
    main()
