"""A training step of a TopK autoencoder by the libraries that people use, each set to its fastest options that still
train the same kind of autoencoder. Their formulas differ from ours (see DIFFERENCES), so only speed is compared.

Each maker takes (start, k, batch) and returns step(x); `start` holds W [n, d], b_enc [n] and b_pre [d].
"""
import os

import torch

from sae_steps import LEARNING_RATE, adam

DIFFERENCES = {
    "sparsify": "untied; loss is FVU; rows of the decoder left free (normalize_decoder off); fused Adam",
    "overcomplete": "tied, no encoder bias, no b_pre; rows left free; loss is the mean square; fused Adam; its loop's "
                    "clipping and tracking left out",
    "dictionary_learning": "untied; decoder rows kept at norm 1, gradients clipped; its trainer's own Adam",
    "sae_lens": "untied; gradients clipped, firing counted; its trainer's own Adam; no rescaling by row norms",
    "sae_lens sparse": "as sae_lens, use_sparse_activations on",
}


def sparsify(start, k, batch):
    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # where Triton is installed it is taken even without a GPU, and fails
    from sparsify import SparseCoder, SparseCoderConfig

    n, d = start["W"].shape
    coder = SparseCoder(d, SparseCoderConfig(num_latents=n, k=k, normalize_decoder=False))
    coder.encoder.weight.data.copy_(start["W"])
    coder.W_dec.data.copy_(start["W"])
    optimizer = adam(coder.parameters())

    def step(x):
        optimizer.zero_grad(set_to_none=True)
        loss = coder(x).fvu
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def overcomplete(start, k, batch):
    import matplotlib

    # For its pictures 0.3.0 asks matplotlib for a function that 3.9 took away; importing it fails without.
    if not hasattr(matplotlib.cm, "get_cmap"):
        matplotlib.cm.get_cmap = matplotlib.colormaps.get_cmap
    from overcomplete.sae import TopKSAE

    n, d = start["W"].shape
    sae = TopKSAE(d, nb_concepts=n, top_k=k, dictionary_params={"normalization": "identity"})
    sae.dictionary._weights.data.copy_(start["W"])
    sae.tied()
    optimizer = adam(sae.parameters())

    def step(x):
        optimizer.zero_grad(set_to_none=True)
        _, _, x_hat = sae(x)
        loss = (x - x_hat).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def dictionary_learning(start, k, batch):
    from dictionary_learning.trainers.top_k import TopKTrainer

    n, d = start["W"].shape
    trainer = TopKTrainer(steps=10**9, activation_dim=d, dict_size=n, k=k, layer=0, lm_name="", lr=LEARNING_RATE,
                          warmup_steps=0, device="cpu")
    taken = [0]

    def step(x):
        taken[0] += 1  # not from 0, where it first looks for the geometric median
        return trainer.update(taken[0], x)

    return step


def sae_lens(start, k, batch, sparse=False):
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    n, d = start["W"].shape
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=d, d_sae=n, k=k, use_sparse_activations=sparse,
                                                rescale_acts_by_decoder_norm=False))
    settings = SAETrainerConfig(total_training_samples=10**12, train_batch_size_samples=batch, lr=LEARNING_RATE,
                                lr_end=LEARNING_RATE, logger=LoggingConfig(log_to_wandb=False))
    trainer = SAETrainer(settings, sae, iter(()))

    def step(x):
        loss = trainer.step(x).loss
        trainer.n_training_steps += 1
        return loss.detach()

    return step


def sae_lens_sparse(start, k, batch):
    return sae_lens(start, k, batch, sparse=True)


MAKERS = {"sparsify": sparsify, "overcomplete": overcomplete, "dictionary_learning": dictionary_learning,
          "sae_lens": sae_lens, "sae_lens sparse": sae_lens_sparse}
