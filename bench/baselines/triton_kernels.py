"""Triton kernels of a sparse training step of the tied autoencoder (topk_sae.Sparse): a plain, reasonable baseline.
Without a GPU they run in Triton's interpreter (TRITON_INTERPRET=1), which checks their arithmetic."""
import torch
import triton
import triton.language as tl


@triton.jit
def decode_gradient_kernel(centred, weight, values, indices, error, g, loss, batch, d, k, K: tl.constexpr,
                           D: tl.constexpr):
    """One program a token: r = sum_k z_k W_k - xc, e = 2 r / B, g_k = W_k . e, |r|^2. Each row of W is read once."""
    token = tl.program_id(0).to(tl.int64)
    slots = tl.arange(0, K)
    used = slots < k
    z = tl.load(values + token * k + slots, mask=used, other=0.0).to(tl.float32)
    rows = tl.load(indices + token * k + slots, mask=used, other=0).to(tl.int64)
    dots = tl.zeros([K], tl.float32)
    squares = tl.zeros([D], tl.float32)
    for first in range(0, d, D):
        columns = first + tl.arange(0, D)
        inside = columns < d
        w = tl.load(weight + rows[:, None] * d + columns[None, :], mask=used[:, None] & inside[None, :], other=0.0)
        w = w.to(tl.float32)
        xc = tl.load(centred + token * d + columns, mask=inside, other=0.0).to(tl.float32)
        r = tl.sum(z[:, None] * w, 0) - xc
        squares += r * r
        e = (2.0 * r / batch).to(error.dtype.element_ty)
        tl.store(error + token * d + columns, e, mask=inside)
        dots += tl.sum(w * e.to(tl.float32)[None, :], 1)
    tl.store(g + token * k + slots, tl.where(z > 0, dots, 0.0), mask=used)
    tl.store(loss + token, tl.sum(squares, 0))


@triton.jit
def weight_gradient_kernel(left, left_of, right, right_of, order, starts, target, bias, d, k, TWO: tl.constexpr,
                           ADD: tl.constexpr, BIAS: tl.constexpr, P: tl.constexpr, D: tl.constexpr):
    """One program a latent and D columns: target_i = sum over its pairs of left_p left_of_t, with TWO + right_p right_of_t."""
    latent = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * D + tl.arange(0, D)
    inside = columns < d
    begin = tl.load(starts + latent)
    end = tl.load(starts + latent + 1)
    total = tl.zeros([D], tl.float32)
    weight_sum = tl.zeros([P], tl.float32)
    for first in range(begin, end, P):
        at = first + tl.arange(0, P)
        there = at < end
        pair = tl.load(order + at, mask=there, other=0)
        token = (pair // k).to(tl.int64)
        both = there[:, None] & inside[None, :]
        factor = tl.load(left + pair, mask=there, other=0.0).to(tl.float32)
        row = tl.load(left_of + token[:, None] * d + columns[None, :], mask=both, other=0.0).to(tl.float32)
        total += tl.sum(factor[:, None] * row, 0)
        weight_sum += factor
        if TWO:
            other = tl.load(right + pair, mask=there, other=0.0).to(tl.float32)
            row = tl.load(right_of + token[:, None] * d + columns[None, :], mask=both, other=0.0).to(tl.float32)
            total += tl.sum(other[:, None] * row, 0)
    place = target + latent * d + columns
    if ADD:
        total += tl.load(place, mask=inside, other=0.0)
    tl.store(place, total, mask=inside)
    if BIAS:  # the sum of the left factors, by the programs of the first columns
        if tl.program_id(1) == 0:
            tl.store(bias + latent, tl.sum(weight_sum, 0))


def block(size, most):
    return min(max(triton.next_power_of_2(size), 16), most)


def decode_gradient(centred, weight, values, indices):
    """e [B, d] in the input's type, g [B, k] and |r|^2 [B] in float32."""
    (batch, d), k = centred.shape, values.shape[1]
    error = torch.empty_like(centred)
    g = torch.empty(batch, k, dtype=torch.float32, device=centred.device)
    loss = torch.empty(batch, dtype=torch.float32, device=centred.device)
    decode_gradient_kernel[(batch,)](centred, weight, values, indices, error, g, loss, float(batch), d, k,
                                     block(k, 1024), block(d, 128))
    return error, g, loss


def by_latent(indices, n):
    """Pair numbers sorted by latent, stable, and where each latent's begin: [n + 1]."""
    latents, order = indices.flatten().to(torch.int32).sort(stable=True)
    starts = torch.searchsorted(latents, torch.arange(n + 1, dtype=torch.int32, device=indices.device))
    return order, starts


def weight_gradient(centred, error, values, g, order, starts, passes):
    """dW [n, d] and db_enc [n] in float32."""
    n, (_, d), k = starts.shape[0] - 1, centred.shape, values.shape[1]
    target = torch.empty(n, d, dtype=torch.float32, device=centred.device)
    bias = torch.empty(n, dtype=torch.float32, device=centred.device)
    columns = block(d, 256)
    kernel, lists = weight_gradient_kernel[n, triton.cdiv(d, columns)], (order, starts, target, bias, d, k)
    sizes = {"P": 16, "D": columns}
    if passes == 1:
        kernel(g, centred, values, error, *lists, TWO=True, ADD=False, BIAS=True, **sizes)
    else:
        kernel(g, centred, g, centred, *lists, TWO=False, ADD=False, BIAS=True, **sizes)
        kernel(values, error, g, centred, *lists, TWO=False, ADD=True, BIAS=False, **sizes)
    return target, bias
