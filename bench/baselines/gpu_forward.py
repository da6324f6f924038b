#!/usr/bin/env python3
"""The network's forward pass in PyTorch, channels last and compiled, for comparison with build/bin/bench_forward.

    python bench/baselines/gpu_forward.py --onnx googlenet.onnx --batch 256
    python bench/baselines/gpu_forward.py --onnx googlenet.onnx --device cpu --check

The graph and its weights are those of the ONNX file; every node that the tensor --to needs becomes the PyTorch function
of its name. Checked against ONNX Runtime where that is installed, and the timed precision against float32, then timed
with CUDA events over replays of CUDA graphs; four inputs take turns. One JSON line a batch size.
"""
import argparse
import json
import pathlib
import sys

from onnx_network import ENDS, Network

INPUTS = 4
# Relative norm of the difference after some 50 layers that each round to 8 or 11 bits; float32 sums in another order.
TOLERANCE = {"bf16": 3e-2, "fp16": 5e-3, "fp32": 1e-4}


def relative(found, wanted):
    difference = float((found.double() - wanted.double()).norm() / wanted.double().norm())
    return difference if difference == difference else float("inf")


def against_onnxruntime(path, network):
    """Relative difference in float32 on a CPU; None without ONNX Runtime."""
    try:
        import onnxruntime
    except ImportError:
        return None
    import onnx
    import torch

    model = onnx.load(path)
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(network.end))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    declared = session.get_inputs()[0].shape[0]
    images = network.images(declared if isinstance(declared, int) else 2, 1, torch.float32, "cpu")
    wanted = session.run(None, {network.input: images.contiguous().numpy()})[0]
    with torch.no_grad():
        return relative(network.to(torch.float32, "cpu")(images), torch.from_numpy(wanted))


def checked(what, difference, tolerance):
    if difference is not None and not difference <= tolerance:
        raise SystemExit(f"{what}: relative difference {difference:.1e}, more than {tolerance:.0e}")
    return difference


def run(options):
    import timing
    import torch

    timing.need(options.device)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[options.precision]
    network = Network(options.onnx, ENDS.get(options.to, options.to))
    checks = {"difference_from_onnxruntime": checked("beside ONNX Runtime", against_onnxruntime(options.onnx, network),
                                                     TOLERANCE["fp32"])}
    function = network.to(dtype, options.device)
    with torch.inference_mode():
        images = network.images(2, 2, torch.float32, options.device)
        checks["difference_from_float32"] = checked(
            f"{options.precision} beside float32",
            relative(function(images.to(dtype)), network.to(torch.float32, options.device)(images)),
            TOLERANCE[options.precision])
        fast = torch.compile(function, mode="max-autotune-no-cudagraphs" if options.tune else None) \
            if options.compile else function
        for batch in () if options.check else options.batch:
            inputs = [network.images(batch, 10 + i, dtype, options.device) for i in range(INPUTS)]
            times = timing.measure([lambda x=x: fast(x) for x in inputs], options.seconds, options.device)
            print(json.dumps({"case": "forward", "baseline": "pytorch" + (" compiled" if options.compile else ""),
                              "to": options.to, "batch": batch, "precision": options.precision,
                              "device": options.device}
                             | timing.machine(options.device) | checks | times
                             | {"images_per_s": 1e3 * batch / times["ms_median"]}), flush=True)
        if options.check:
            print(json.dumps({"case": "forward", "to": options.to, "precision": options.precision} | checks))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onnx", type=pathlib.Path, required=True)
    parser.add_argument("--to", default="mixed4e", help="last layer or tensor to compute")
    parser.add_argument("--batch", default="256", help="batch sizes, comma-separated",
                        type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--precision", choices=tuple(TOLERANCE), default="bf16")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=2, help="of timed runs a batch size")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--tune", action="store_true", help="let torch.compile try kernels (minutes)")
    parser.add_argument("--check", action="store_true", help="only compare, do not time")
    options = parser.parse_args()
    if not options.onnx.is_file():
        sys.exit(f"gpu_forward.py: {options.onnx}: no such file")
    try:
        run(options)
    except ImportError as error:
        sys.exit(f"gpu_forward.py: {error}; pip install torch onnx")


if __name__ == "__main__":
    main()
