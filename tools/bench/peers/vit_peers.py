#!/usr/bin/env python3
"""Images per second of ViT-B/16 at 224 px in PyTorch and ONNX Runtime, float32, random weights.

Needs torch, timm, onnx and onnxruntime.

  python tools/bench/peers/vit_peers.py --threads 2 --images 1,8
"""
import argparse
import json
import os
import sys
import tempfile


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seconds", type=float, default=5, help="time for each row")
    p.add_argument("--images", default="1,8", help="batch sizes")
    return p.parse_args()


def main():
    a = arguments()
    os.environ["OMP_NUM_THREADS"] = str(a.threads)
    import onnxruntime
    import timm
    import torch
    from timing import time_runs

    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    model = timm.create_model("vit_base_patch16_224", num_classes=0).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "vit.onnx")
        torch.onnx.export(
            model, (torch.randn(1, 3, 224, 224),), path, input_names=["x"], output_names=["y"],
            dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, opset_version=17, dynamo=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = a.threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    rows = []
    for n in map(int, a.images.split(",")):
        x = torch.randn(n, 3, 224, 224)
        peers = {
            "PyTorch " + torch.__version__: lambda: model(x),
            "ONNX Runtime " + onnxruntime.__version__: lambda: session.run(None, {"x": x.numpy()}),
        }
        for peer, f in peers.items():
            with torch.inference_mode():
                row = {"group": "vit", "peer": peer, "images": n, **time_runs(f, a.seconds)}
            row["images_per_second"] = n / row["median_seconds"]
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    print(json.dumps({"threads": a.threads, "rows": rows}))


if __name__ == "__main__":
    main()
