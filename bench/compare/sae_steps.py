"""One training step of a tied TopK autoencoder in plain PyTorch, in every way that might be the fastest on a CPU.

    xc = x - b_pre;  u = W xc + b_enc;  z = TopK_k(u), only u > 0;  r = W^T z - xc;  loss = mean |r|^2 of a token;  Adam

which is our own step (engine/sae.h). They differ in how W^T z and the gradients are computed; every one starts from the
same parameters and must show the same losses.
"""
import torch
from torch.nn import functional

LEARNING_RATE = 1e-3


def adam(parameters, rate=LEARNING_RATE):
    """Fused where this PyTorch has it for CPUs."""
    try:
        return torch.optim.Adam(parameters, lr=rate, fused=True)
    except (RuntimeError, ValueError):
        return torch.optim.Adam(parameters, lr=rate)


class TiedStep:
    """Parameters, Adam, the encode. Derived classes give gradients."""

    def __init__(self, start, k, rate=LEARNING_RATE):
        self.weight, self.b_enc, self.b_pre = (torch.nn.Parameter(start[name].clone())
                                               for name in ("W", "b_enc", "b_pre"))
        self.k, self.n = k, self.weight.shape[0]
        self.parameters = [self.weight, self.b_enc, self.b_pre]
        self.optimizer = adam(self.parameters, rate)

    def encode(self, x):
        centred = x - self.b_pre
        u = torch.addmm(self.b_enc, centred, self.weight.T)
        values, indices = u.topk(self.k, dim=1, sorted=False)
        return centred, values.relu(), indices

    def step(self, x):
        """The loss before the step, as a tensor: asking for its number is the caller's choice."""
        loss, gradients = self.gradients(x)
        for parameter, gradient in zip(self.parameters, gradients):
            parameter.grad = gradient
        self.optimizer.step()
        return loss


class Autograd(TiedStep):
    """The loss as a formula, its gradient by autograd."""

    def loss(self, x):
        centred, values, indices = self.encode(x)
        return (self.decode(values, indices) - centred).square().sum(1).mean()

    def gradients(self, x):
        loss = self.loss(x)
        return loss.detach(), torch.autograd.grad(loss, self.parameters)


class Gather(Autograd):
    """The chosen rows of W, gathered; [B, k, d] is stored."""

    def decode(self, values, indices):
        return torch.einsum("bk,bkd->bd", values, self.weight[indices])


class EmbeddingBag(Autograd):
    """The chosen rows added up by embedding_bag; its gradient sorts by latent."""

    def decode(self, values, indices):
        return functional.embedding_bag(indices, self.weight, per_sample_weights=values, mode="sum")


class Dense(Autograd):
    """Codes as a [B, n] matrix and dense products only."""

    def decode(self, values, indices):
        return torch.zeros(values.shape[0], self.n).scatter(1, indices, values) @ self.weight


class Compiled(EmbeddingBag):
    """embedding_bag through torch.compile."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        torch.compiler.reset()  # or the ninth shape would silently run uncompiled
        self.loss = torch.compile(super().loss, dynamic=False)


class CompiledDense(Dense):
    """Dense through torch.compile."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        torch.compiler.reset()
        self.loss = torch.compile(super().loss, dynamic=False)


class Manual(TiedStep):
    """Gradients written out, so that the encode's never passes through [B, n]:
    e = 2 r / B;  g = W e of the chosen, where u > 0;  dW = Z^T e + G^T xc."""

    @torch.no_grad()
    def gradients(self, x):
        centred, values, indices = self.encode(x)
        residual = functional.embedding_bag(indices, self.weight, per_sample_weights=values, mode="sum") - centred
        error = residual * (2 / x.shape[0])
        g = self.chosen_products(error, indices).masked_fill_(values <= 0, 0)
        b_enc = torch.zeros(self.n).index_add_(0, indices.flatten(), g.flatten())
        weight = self.weight_gradient(values, g, indices, error, centred)
        return residual.square().sum(1).mean(), (weight, b_enc, error.sum(0) - b_enc @ self.weight)

    def chosen_products(self, error, indices):
        return torch.einsum("bkd,bd->bk", self.weight[indices], error)


class Csr(Manual):
    """Both products of dW as one, of a sparse [n, 2 B] matrix: Z^T beside G^T."""

    def weight_gradient(self, values, g, indices, error, centred):
        tokens = torch.arange(indices.shape[0]).repeat_interleave(self.k)
        latents, order = torch.sort(indices.flatten(), stable=True)
        starts = torch.searchsorted(latents, torch.arange(self.n + 1))
        tokens = tokens[order]
        shape = (self.n, indices.shape[0])
        encoded = torch.sparse_csr_tensor(starts, tokens, g.flatten()[order], shape, check_invariants=False)
        decoded = torch.sparse_csr_tensor(starts, tokens, values.flatten()[order], shape, check_invariants=False)
        return decoded @ error + encoded @ centred


class Bag(Manual):
    """dW by embedding_bag too: a latent's bag holds its tokens."""

    def weight_gradient(self, values, g, indices, error, centred):
        latents, order = torch.sort(indices.flatten())
        starts = torch.searchsorted(latents, torch.arange(self.n))
        tokens = torch.div(order, self.k, rounding_mode="floor")

        def sums(weights, rows):
            sorted_weights = weights.flatten()[order]
            return functional.embedding_bag(tokens, rows, starts, per_sample_weights=sorted_weights, mode="sum")

        return sums(values, error) + sums(g, centred)


class Scattered(Manual):
    """z and g as [B, n] matrices, dW by dense products."""

    def weight_gradient(self, values, g, indices, error, centred):
        codes = torch.zeros(indices.shape[0], self.n)
        weight = codes.scatter_(1, indices, values).T @ error
        return weight.addmm_(codes.scatter_(1, indices, g).T, centred)


VARIANTS = {"gather": Gather, "embedding_bag": EmbeddingBag, "dense": Dense, "compiled": Compiled,
            "compiled dense": CompiledDense, "manual csr": Csr, "manual bag": Bag, "manual dense": Scattered}
