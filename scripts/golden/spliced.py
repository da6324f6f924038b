"""What ONNX Runtime computes behind a layer that was replaced: the small torchvision model cut at mixed4c's concat and
fed with its activation, with zero and with its mean, whole and in the 5x5 branch only. -> spliced.json; needs the
torchvision set."""
import json

import numpy as np
import onnx

from . import common

LAYER, TENSOR, OUTPUT = "mixed4c", "/inception4c/Concat_output_0", "logits"


def replaced(activation, value, channels):
    changed = activation.copy()
    changed[:, channels] = value[:, channels]
    return changed


def make(out):
    model, manifest = out / "torchvision.bn.onnx", json.loads((out / "torchvision.json").read_text())
    images = {"input": np.load(out / manifest["input"])}
    whole = common.run_onnxruntime(model, images, [TENSOR, OUTPUT])
    activation = whole[TENSOR]
    cut = out / "cut.onnx"
    onnx.utils.extract_model(str(model), str(cut), [TENSOR], [OUTPUT])
    branch = next(b for block in manifest["blocks"] if block["name"] == LAYER for b in block["branches"]
                  if b["name"] == "5x5")
    mean = np.broadcast_to(activation.mean(axis=(0, 2, 3), keepdims=True, dtype=np.float64), activation.shape)
    cases = []
    for where, channels in (("mixed4c", slice(None)), ("mixed4c.5x5", slice(branch["begin"], branch["end"]))):
        for what, value in (("exact", activation), ("zero", np.zeros_like(activation)), ("mean", mean)):
            changed = replaced(activation, value.astype(np.float32), channels)
            scores = common.run_onnxruntime(cut, {TENSOR: changed}, [OUTPUT])[OUTPUT]
            cases.append({"tap": where, "replacement": what, "scores": scores.astype(float).tolist()})
    cut.unlink()
    if not np.array_equal(np.array(cases[0]["scores"], np.float32), whole[OUTPUT]):
        raise SystemExit("the network cut at its own activation gives another output")
    path = out / "spliced.json"
    path.write_text(json.dumps({"model": model.name, "input": manifest["input"], "output": OUTPUT, "cases": cases}) + "\n")
    return [path]
