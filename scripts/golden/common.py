"""What all sets share: running ONNX Runtime on inner tensors, writing arrays and manifests."""
import hashlib
import importlib.metadata
import json
import logging
import warnings

import numpy as np
import onnx
import onnxruntime

LAYERS = ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]


def versions():
    names = ["torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "numpy"]
    return {name: importlib.metadata.version(name) for name in names}


def quiet():
    """The exporters warn at length about what is meant here."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)


def coarse(array):
    """Nine significant bits: random weights that git can still compress."""
    mantissa, exponent = np.frexp(np.asarray(array, dtype=np.float64))
    return np.ldexp(np.round(mantissa * 512) / 512, exponent).astype(np.float32)


def run_onnxruntime(model, inputs, tensors):
    """Values of any tensors of a model (bytes or path), as a dict; plain float32 on one thread."""
    if not isinstance(model, onnx.ModelProto):
        model = onnx.load(str(model))
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    known = {output.name for output in probe.graph.output}
    for name in tensors:
        if name not in known:
            probe.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    # Without rewriting, every named tensor exists and each operator is computed as written.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(tensors, session.run(list(tensors), inputs)))


def save_array(path, array):
    np.save(path, np.ascontiguousarray(array, dtype=np.float32))
    return path


def save_manifest(path, manifest):
    path.write_text(json.dumps(manifest, indent=1) + "\n")
    return path


def strip(path):
    """Drops what exporters write about the machine they ran on: stack traces, source paths."""
    model = onnx.load(str(path), load_external_data=False)
    graph = model.graph
    for part in [model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer]:
        del part.metadata_props[:]
        part.doc_string = ""
    assert not model.functions
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def concat_outputs(model):
    """Outputs of the channel concats, in order: the nine blocks of an export that was not optimised further."""
    names = []
    for node in model.graph.node:
        axis = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
        if node.op_type == "Concat" and len(node.input) == 4 and axis == [1]:
            names.append(node.output[0])
    return names


def output_table(folder, tensors):
    """Expected values. Exporters name inner tensors each in their own way, so a block's output is told by the block;
    the network's own outputs by name."""
    return [{"file": f"{folder}/{name}.npy", "block" if name.startswith("mixed") else "tensor":
             name if name.startswith("mixed") else tensor} for name, tensor in tensors.items()]


def branch_table(kernels, widths):
    """Expected layers x branches. kernels: of the four branches; widths: {layer: [four channel counts]}."""
    table = []
    for layer, counts in widths.items():
        ends = np.cumsum(counts).tolist()
        table.append({
            "name": f"mixed{layer}",
            "branches": [{"name": name, "begin": end - count, "end": end, "kernel": kernel}
                         for name, kernel, count, end in zip(["1x1", "3x3", "5x5", "pool"], kernels, counts, ends)],
        })
    return table


def relative_error(got, expected):
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


def seed_of(text):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
