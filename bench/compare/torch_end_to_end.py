#!/usr/bin/env python3
"""What `branchsae train` does, as a PyTorch user would write it for a CPU: photos -> activations of branches -> one
tied TopK autoencoder each -> FVU on held-out photos.

    torch_end_to_end.py googlenet.onnx photos/ --taps mixed4a.5x5,mixed4b.5x5 --tokens 3000000

The network runs once over all photos (traced, frozen, channels last, all taps in one pass, a DataLoader decoding); the
activations stay in memory; then each autoencoder takes its steps on shuffled batches. Split, start and learning rate
are those of docs/training.md. One JSON line: seconds of each phase, FVU of each tap, peak memory of the main process (that
of decoding processes comes on top)."""
import argparse
import json
import pathlib
import resource
import time

import numpy
import torch
from PIL import Image

import networks
from sae_steps import VARIANTS

K, EXPANSION, BATCH, WARMUP, HELD_OUT = 32, 16, 4096, 50, 10
SUFFIXES = (".jpg", ".jpeg", ".png")
MEANS = (104.0, 117.0, 123.0)  # of BGR, as BVLC's networks take it


class Photos(torch.utils.data.Dataset):
    """[3, 224, 224]: short side 256, centre crop, BGR minus means."""

    def __init__(self, folder):
        self.paths = sorted((path for path in pathlib.Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES),
                            key=lambda path: str(path).encode())

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        image = Image.open(self.paths[index])
        image.draft("RGB", (256, 256))  # lets the JPEG decoder leave detail out
        image = image.convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize([max(256, round(side * scale)) for side in image.size], Image.BILINEAR)
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        pixels = numpy.asarray(image.crop((left, top, left + 224, top + 224)), dtype="f4")[:, :, ::-1]
        return torch.from_numpy((pixels - numpy.float32(MEANS)).transpose(2, 0, 1).copy())


def tensor_name(tap):
    """BVLC's name of an output: mixed4c.5x5 -> inception_4c/5x5."""
    layer, _, branch = tap.partition(".")
    return f"inception_{layer.removeprefix('mixed')}/{branch or 'output'}"


def frozen_network(model, taps, example):
    """A function of images that gives all taps in one pass."""
    return networks.frozen(networks.module_of(model, [tensor_name(tap) for tap in taps]), example)


def activations(options):
    """[photos x positions, d] of each tap."""
    photos = Photos(options.images)
    if not photos:
        raise SystemExit(f"torch_end_to_end.py: {options.images} has no photos")
    loader = torch.utils.data.DataLoader(photos, batch_size=options.forward_batch, num_workers=options.workers)
    network, found = None, {tap: [] for tap in options.taps}
    with torch.inference_mode():
        for images in loader:
            images = images.contiguous(memory_format=torch.channels_last)
            if network is None:
                network = frozen_network(options.model, options.taps, images)
            for tap, output in zip(options.taps, network(images)):
                found[tap].append(output.permute(0, 2, 3, 1).flatten(1, 2).contiguous())
    return {tap: torch.cat(found.pop(tap)) for tap in options.taps}


def split(tokens):
    """[photos, positions, d] -> training tokens, held-out tokens; every tenth photo is held out."""
    held = torch.arange(len(tokens)) % HELD_OUT == HELD_OUT - 1
    return tokens[~held].flatten(0, 1), tokens[held].flatten(0, 1)


def learning_rate(d, step, steps):
    """docs/training.md: by width and length, warm-up, linear decay over the last fifth."""
    peak = 0.025 * min(1.0, 64 / d) * min(1.0, (733 / steps) ** 1.1)
    left = steps - step + 1
    return peak * min(1.0, step / max(1, min(WARMUP, steps // 5))) * min(1.0, left / max(1, round(0.2 * steps)))


def batches(rows, steps, generator):
    """Epochs of shuffled batches."""
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(order) < BATCH:
            order = torch.cat([order, torch.randperm(rows, generator=generator)])
        yield order[:BATCH]
        order = order[BATCH:]


def train(tokens, steps, variant, seed):
    """A trained step object and the scale of its tokens."""
    d = tokens.shape[1]
    generator = torch.Generator().manual_seed(seed)
    sample = tokens[torch.randperm(len(tokens), generator=generator)[:65536]]
    scale = (d / sample.square().sum(1).mean()).sqrt()
    weight = torch.nn.functional.normalize(torch.randn(EXPANSION * d, d, generator=generator))
    start = {"W": weight, "b_enc": torch.zeros(len(weight)), "b_pre": sample.mean(0) * scale}
    sae = VARIANTS[variant](start, K)
    for step, chosen in enumerate(batches(len(tokens), steps, generator), 1):
        sae.optimizer.param_groups[0]["lr"] = learning_rate(d, step, steps)
        sae.step(tokens[chosen] * scale)
    return sae, scale


@torch.no_grad()
def fvu(sae, scale, tokens):
    """Error over variance, in double."""
    error = variance = 0.0
    mean = tokens.mean(0, dtype=torch.float64)
    for x in tokens.split(BATCH):
        centred, values, indices = sae.encode(x * scale)
        x_hat = torch.nn.functional.embedding_bag(indices, sae.weight, per_sample_weights=values, mode="sum")
        error += float(((x_hat - centred) / scale).double().square().sum())
        variance += float((x.double() - mean).square().sum())
    return error / variance


def run(options):
    torch.set_num_threads(options.threads)
    begin = time.perf_counter()
    taps = activations(options)
    middle = time.perf_counter()
    found, steps = {}, max(1, options.tokens // BATCH)
    for tap in options.taps:
        training, held_out = split(taps.pop(tap))
        sae, scale = train(training, steps, options.variant, options.seed)
        found[tap] = fvu(sae, scale, held_out)
    return {"decode_forward_s": middle - begin, "training_s": time.perf_counter() - middle, "fvu": found,
            "main_process_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "steps": steps}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("--taps", type=lambda text: text.split(","), required=True)
    parser.add_argument("--tokens", type=int, default=3_000_000, help="of each autoencoder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0,
                        help="processes that decode; on two cores none was fastest, the network takes both")
    parser.add_argument("--forward-batch", type=int, default=8)
    parser.add_argument("--variant", choices=tuple(VARIANTS), default="manual bag", help="how a step is written")
    parser.add_argument("--seed", type=int, default=0)
    print(json.dumps(run(parser.parse_args())))


if __name__ == "__main__":
    main()
