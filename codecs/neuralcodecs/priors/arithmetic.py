"""PEM-24: arithmetic whose results are equal on every machine, kernel, thread count and batch.

Every value is an integer held in float32 or float64 and small enough that sums are exact in any order: below 2**24 in
matrix products, below 2**53 in what float64 computes. Rounding is floor(x + 1/2) of an exact x. The idea of integer
networks for entropy models: https://openreview.net/forum?id=S1zz2i0cY7.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32, Int64
from torch import Tensor, nn

from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError

LARGEST_ALPHABET = 4096
LARGEST_DIM = 512
LARGEST_HEAD = 256
"""Channels of a head: ACTIVATION**2 times this stays below 2**24."""
LARGEST_WINDOW = 2**15

ACTIVATION = 255
"""Largest magnitude of what enters a matrix product."""
RESIDUAL = 1 << 17
NORM_BITS, QUERY_BITS, HIDDEN_BITS, VALUE_BITS, RESIDUAL_BITS, LOGIT_BITS = 6, 5, 5, 6, 10, 5
"""Fractional bits of each kind of value; scores and logits count octaves."""
ROOT_BITS, WEIGHT_BITS = 30, 15
FARTHEST = 768
"""Logit units below the largest, 24 octaves: anything farther has probability 0 before the minimum."""
NORM_STEPS = 2816
UNSEEN = -(1 << 22)
ABSENT = -(1 << 24)
LARGEST_SHIFT = 20
LARGEST_WEIGHT = 2047
LARGEST_ACCUMULATOR = 0.98 * 2**24


def rounded(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    return torch.floor(x + 0.5)


def rounded_(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """In place."""
    return x.add_(0.5).floor_()


class Lookups(nn.Module):
    """The tables of PEM-24, stored with the model and never computed again: powers of two and inverse square roots.

    Args:
        dim: channels that the norm is over.
    """

    exponentials: Int64[Tensor, " n"]
    thresholds: Int64[Tensor, " n"]
    roots: Int64[Tensor, " n"]

    def __init__(self, dim: int) -> None:
        super().__init__()
        steps = torch.arange(FARTHEST + 1, dtype=torch.float64)
        self.register_buffer("exponentials", rounded(2 ** (16 - steps / 32)).long())
        steps = torch.arange(NORM_STEPS, dtype=torch.float64)
        self.register_buffer("thresholds", torch.floor(2 ** (steps / 64)).long())
        roots = rounded(2**ROOT_BITS * dim**0.5 / 2 ** ((steps + 0.5) / 128)).long()
        self.register_buffer("roots", F.pad(roots, (1, 0), value=2**ROOT_BITS))

    def norm(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """Residuals to activations of unit mean square."""
        wide = x.double()
        step = torch.searchsorted(self.thresholds, wide.square().sum(-1, keepdim=True).long(), right=True)
        scale = self.roots[step].double() * 2.0 ** (NORM_BITS - ROOT_BITS)
        return rounded(wide * scale).clamp(-ACTIVATION, ACTIVATION).to(x.dtype)

    def weights(self, scores: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows n"]:
        """Attention weights with a sum of at most 2**15 for each row of scores (1/32 octave)."""
        power = self.powers(scores).double()
        inverse = torch.div(1 << 46, power.sum(-1, keepdim=True).long(), rounding_mode="floor").double()
        return torch.floor(power * (inverse * 2.0 ** (WEIGHT_BITS - 46))).to(scores.dtype)

    def powers(self, scores: Float[Tensor, "*rows n"]) -> Int32[Tensor, "*rows n"]:
        """``2**(16 - distance to the largest)``; 0 for 17 octaves and more. Sums of 4096 are below 2**29.

        Narrow integers and ``index_select`` take a fifth of the time of indexing with wide ones.
        """
        below = (scores.amax(-1, keepdim=True) - scores).clamp_(max=FARTHEST).int()
        return self.exponentials.int().index_select(0, below.flatten()).view(below.shape)


class ExactLinear(nn.Module):
    """``round((weight a + bias) * scale)`` with integer weights and a power of two for each row.

    Filled by the exporter, which keeps every sum below 2**24. Fresh, it is all zero.
    """

    weight: Float[Tensor, "rows columns"]
    bias: Float[Tensor, " rows"]
    scale: Float[Tensor, " rows"]

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(rows, columns))
        self.register_buffer("bias", torch.zeros(rows))
        self.register_buffer("scale", torch.full((rows,), 0.5))

    def forward(self, x: Float[Tensor, "*rows columns"]) -> Float[Tensor, "*rows out"]:
        return rounded_(F.linear(x, self.weight, self.bias).mul_(self.scale))

    def part(self, x: Float[Tensor, "*rows columns"], first: int, last: int) -> Float[Tensor, "*rows out"]:
        """Rows ``first`` to ``last`` only."""
        rows = slice(first, last)
        return rounded_(F.linear(x, self.weight[rows], self.bias[rows]).mul_(self.scale[rows]))

    @torch.no_grad()
    def fill(
        self, weight: Float[Tensor, "rows columns"], bias: Float[Tensor, " rows"], bits_in: int, bits_out: Tensor
    ) -> None:
        """Take float weights: in each row the finest power of two with weights below 2048 and exact sums.

        ``bits_in``: fractional bits of what it is given, ``bits_out``: ``(rows,)``, of what it returns. Raises
        CodecError for weights so large that the result could not be rounded exactly.
        """
        weight, bias = weight.double().cpu(), bias.double().cpu()
        pending = torch.ones(len(weight), dtype=torch.bool)
        for shift in range(LARGEST_SHIFT, -LARGEST_SHIFT, -1):
            integers, offset = rounded(weight * 2.0**shift), rounded(bias * 2.0 ** (shift + bits_in))
            largest = ACTIVATION * integers.abs().sum(1) + offset.abs()
            fits = pending & (integers.abs().amax(1) <= LARGEST_WEIGHT) & (largest < LARGEST_ACCUMULATOR)
            exponent = bits_out - bits_in - shift
            if bool((fits & (exponent > -1)).any()):
                break
            self.weight[fits], self.bias[fits] = integers[fits].to(self.weight), offset[fits].to(self.bias)
            self.scale[fits] = (2.0 ** exponent[fits].double()).to(self.scale)
            pending &= ~fits
        if bool(pending.any()):
            most = float(weight[pending].abs().max())
            raise CodecError(f"weights of up to {most:.3g} are too large for exact sums: train with weight decay")


def check_sizes(dim: int, heads: int, window: int) -> None:
    """Raises CodecError for a transformer that could not be computed exactly."""
    if not 1 <= dim <= LARGEST_DIM or heads < 1 or dim % heads or dim // heads > LARGEST_HEAD:
        raise CodecError(f"dim {dim} with {heads} heads: at most {LARGEST_DIM}, {LARGEST_HEAD} a head, and a multiple")
    if not 1 <= window <= LARGEST_WINDOW:
        raise CodecError(f"a window of {window} positions: 1 to {LARGEST_WINDOW}")


def check_alphabet(alphabet: Shape, largest: int = LARGEST_ALPHABET) -> Shape:
    """Raises CodecError unless there are codebooks, of 1 to ``largest`` symbols each."""
    if not alphabet or not all(1 <= size <= largest for size in alphabet):
        raise CodecError(f"alphabet {tuple(alphabet)}: 1 to {largest} symbols each; split larger ones into digits")
    return tuple(alphabet)
