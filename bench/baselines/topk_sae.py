"""One training step of a tied TopK autoencoder as PyTorch users write it, in several ways, for comparison with ours.

    u = W (x - b_pre) + b_enc;  z = TopK_k(u), only u > 0;  r = W^T z - (x - b_pre);  loss = mean |r|^2 of a token;  Adam

Weights and moments are float32; products take `dtype` (bfloat16: W is rounded once a step, sums are float32 inside the
products). Each variant offers gradients(x) -> Gradients, which check() compares with double precision, and step(x).
"""
import dataclasses

import torch

LEARNING_RATE = 1e-3


@dataclasses.dataclass
class Gradients:
    loss: torch.Tensor
    weight: torch.Tensor
    b_enc: torch.Tensor
    b_pre: torch.Tensor
    values: torch.Tensor  # [B, k], 0 where less than k were positive
    indices: torch.Tensor  # [B, k]


class Variant:
    """Parameters and Adam; the ways to get gradients derive from it."""

    def __init__(self, d, n, k, dtype, device, seed=1):
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(n, d, generator=generator) * (0.5 / d**0.5)
        self.k, self.n, self.dtype = k, n, dtype
        self.weight = torch.nn.Parameter(weight.to(device))
        self.b_enc = torch.nn.Parameter((0.02 * torch.randn(n, generator=generator)).to(device))
        self.b_pre = torch.nn.Parameter((0.1 * torch.randn(d, generator=generator)).to(device))
        self.parameters = [self.weight, self.b_enc, self.b_pre]
        on_gpu = torch.device(device).type == "cuda"
        self.adam = torch.optim.Adam(self.parameters, lr=LEARNING_RATE, fused=on_gpu, capturable=on_gpu)

    def encode(self, x):
        """Centred input, W in the products' type, the k largest u and their indices; [B, n] is stored."""
        centred = (x - self.b_pre).to(self.dtype)
        weight = self.weight.to(self.dtype)
        u = torch.addmm(self.b_enc.to(self.dtype), centred, weight.T)
        values, indices = u.topk(self.k, dim=1, sorted=False)
        return centred, weight, values.relu(), indices

    def step(self, x):
        found = self.gradients(x)
        for parameter, gradient in zip(self.parameters, (found.weight, found.b_enc, found.b_pre)):
            parameter.grad = gradient
        self.adam.step()


class Autograd(Variant):
    """The loss as a formula, its gradient by autograd."""

    def loss(self, x):
        centred, weight, values, indices = self.encode(x)
        residual = self.decode(values, indices, weight) - centred.float()
        return residual.square().sum(1).mean(), values, indices

    def gradients(self, x):
        loss, values, indices = self.loss(x)
        weight, b_enc, b_pre = torch.autograd.grad(loss, self.parameters)
        return Gradients(loss.detach(), weight, b_enc, b_pre, values.detach(), indices)


class Dense(Autograd):
    """Codes as a [B, n] matrix: five products, all on tensor cores."""

    def decode(self, values, indices, weight):
        codes = torch.zeros(values.shape[0], self.n, dtype=values.dtype, device=values.device)
        return (codes.scatter(1, indices, values) @ weight).float()


class Compiled(Dense):
    """Dense through torch.compile."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        torch.compiler.reset()  # or the ninth shape would silently run uncompiled
        self.loss = torch.compile(super().loss, dynamic=False)


class Gather(Autograd):
    """Only the chosen rows of W, gathered; [B, k, d] is stored."""

    def decode(self, values, indices, weight):
        return torch.einsum("bk,bkd->bd", values, weight[indices]).float()


class Sparse(Variant):
    """u stored and searched by torch.topk, the rest by Triton kernels over the chosen pairs, sorted by latent. The
    weight's two gradients (as decoder, as encoder) come from one pass; `passes` = 2 makes them apart, as kernels for
    untied weights do (OpenAI's among them)."""
    passes = 1

    @torch.no_grad()
    def gradients(self, x):
        import triton_kernels

        centred, weight, values, indices = self.encode(x)
        error, g, token_loss = triton_kernels.decode_gradient(centred, weight, values, indices)
        order, starts = triton_kernels.by_latent(indices, self.n)
        weight_gradient, b_enc = triton_kernels.weight_gradient(centred, error, values, g, order, starts, self.passes)
        b_pre = error.sum(0, dtype=torch.float32) - torch.mv(weight.T, b_enc.to(self.dtype)).float()
        return Gradients(token_loss.mean(), weight_gradient, b_enc, b_pre, values, indices)


class TwoPasses(Sparse):
    __doc__ = "As Sparse, the weight's two gradients in a pass each."
    passes = 2


VARIANTS = {"dense": Dense, "compiled": Compiled, "gather": Gather, "triton": Sparse, "openai": TwoPasses}
NEEDS_TRITON = ("triton", "openai")


def expected(variant, x, values_of, indices):
    """Loss and gradients in double precision for the variant's own selection, from the numbers its products read."""
    rounded = [parameter.detach().to(variant.dtype).double() for parameter in variant.parameters]
    weight, b_enc, _ = rounded
    centred = (x - variant.b_pre.detach()).to(variant.dtype).double()
    u = centred @ weight.T + b_enc
    z = torch.zeros_like(u).scatter(1, indices, values_of.double())
    residual = z @ weight - centred
    error = 2 * residual / x.shape[0]
    g = torch.where(z > 0, error @ weight.T, 0.0)
    b_enc_gradient = g.sum(0)
    gradients = {"weight": z.T @ error + g.T @ centred, "b_enc": b_enc_gradient,
                 "b_pre": error.sum(0) - weight.T @ b_enc_gradient}
    return u, residual.square().sum(1).mean(), gradients


def check(variant, x):
    """Largest relative difference of loss and gradients from double precision; raises when the selection is not the k
    largest, or something differs by more than rounding explains."""
    found = variant.gradients(x)
    u, loss, gradients = expected(variant, x, found.values, found.indices)
    # bfloat16: 8 bits, rounded in u, z, e and g: 4e-3 each. float32: sums of some hundred terms.
    tolerance = 2e-2 if variant.dtype == torch.bfloat16 else 1e-5
    least = u.topk(variant.k, dim=1).values[:, -1:]
    chosen = u.gather(1, found.indices)
    if bool((chosen < least - tolerance * u.abs().amax(1, keepdim=True)).any()):
        raise ArithmeticError("a latent was chosen that is not among the k largest")
    if bool((found.indices.sort(1).values.diff(dim=1) == 0).any()):
        raise ArithmeticError("a latent was chosen twice")
    positive = (chosen > tolerance * u.abs().amax(1, keepdim=True)) & (found.values <= 0)
    if bool(positive.any()):
        raise ArithmeticError("a positive latent has the value 0")
    worst = abs(float(found.loss) / float(loss) - 1)
    for name, gradient in gradients.items():
        difference = getattr(found, name).double() - gradient
        worst = max(worst, float(difference.norm() / gradient.norm()))
    if not worst <= tolerance:
        raise ArithmeticError(f"differs from double precision by {worst:.1e}, more than {tolerance:.0e}")
    return worst
