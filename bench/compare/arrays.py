"""The arrays that both sides are given, as files. Run by run.py in the Python of the comparison:

    arrays.py normal FOLDER BATCH D N K       tokens.npy: normal numbers, as many batches as no cache holds
    arrays.py real FOLDER TOKENS.npy N K      tokens.npy: those of a capture, shuffled, scaled as training scales them
    arrays.py images FOLDER COUNT HEIGHT WIDTH
                                              images.npy [N, 3, H, W]: normal, as large as preprocessed pixels

`normal` and `real` also write start.safetensors, the autoencoder to start from: random directions, b_pre the tokens'
mean."""
import pathlib
import sys

import numpy

BEYOND_CACHES = 64 << 20  # bytes
MOST_BATCHES = 64


def save_case(folder, tokens, row_norm, n, k):
    from safetensors.numpy import save_file

    d = tokens.shape[1]
    directions = numpy.random.default_rng(2).normal(size=(n, d))
    directions *= row_norm / numpy.linalg.norm(directions, axis=1, keepdims=True)
    numpy.save(folder / "tokens.npy", tokens)
    save_file({"W": directions.astype("f4"), "b_enc": numpy.zeros(n, "f4"),
               "b_pre": tokens.mean(0, dtype="f8").astype("f4")}, folder / "start.safetensors",
              metadata={"scale": "1", "k": str(k), "tap": "none", "tied": "true", "decoder_norm": "free",
                        "model_sha256": "", "preprocess": ""})


def normal(folder, batch, d, n, k):
    batches = min(MOST_BATCHES, max(4, BEYOND_CACHES // (4 * batch * d)))
    tokens = numpy.random.default_rng(1).standard_normal((batches * batch, d), dtype="f4")
    save_case(folder, tokens, 0.5, n, k)


def real(folder, source, n, k):
    tokens = numpy.load(source)
    tokens = tokens[numpy.random.default_rng(1).permutation(len(tokens))]
    scale = numpy.sqrt(tokens.shape[1] / numpy.square(tokens, dtype="f8").sum(1).mean())
    save_case(folder, tokens * numpy.float32(scale), 1.0, n, k)


def images(folder, count, height, width):
    numbers = numpy.random.default_rng(1).standard_normal((count, 3, height, width), dtype="f4")
    numpy.save(folder / "images.npy", 60 * numbers)


def main():
    kind, folder, *rest = sys.argv[1:]
    {"normal": normal, "real": real, "images": images}[kind](
        pathlib.Path(folder), *(int(text) if text.isdigit() else text for text in rest))


if __name__ == "__main__":
    main()
