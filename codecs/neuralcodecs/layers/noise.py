"""Normal noise that is the same on every machine: Philox4x32-10 (Salmon et al. 2011,
https://doi.org/10.1145/2063384.2063405) and the inverse normal distribution by AS 241 (Wichura 1988, its PPND7).

A number is a function of seed, channel and position alone: not of the device, the batch or the size of what is around
it. Integers are exact; the map to normals uses sums, products, quotients and square roots of float64 only, which IEEE
754 rounds in one way, and a logarithm made of these.
"""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOG_2 = 0.6931471805599453
_MASK = 0xFFFFFFFF
# of AS 241: numerator and denominator, constant first, for the middle, the tails and the far tails
_MIDDLE = (3.3871327179, 50.434271938, 159.29113202, 59.109374720), (1.0, 17.895169469, 78.757757664, 67.187563600)
_TAIL = (1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103), (1.0, 0.73700164250, 0.12021132975)
_FAR = (6.6579051150, 3.0812263860, 0.42868294337, 0.017337203997), (1.0, 0.24197894225, 0.012258202635)


def philox(counter: Int64[Tensor, "4 n"], seed: int) -> Int64[Tensor, "4 n"]:
    """Four random words of 32 bits of each counter, low word first; ``seed``: 64 bits, low word first too."""
    a, b, c, d = counter
    key = [seed & _MASK, seed >> 32 & _MASK]
    for _ in range(10):
        # of 64 bits with a sign: what is shifted in from above is masked away
        first, second = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b = (second >> 32 & _MASK) ^ b ^ key[0], second & _MASK
        c, d = (first >> 32 & _MASK) ^ d ^ key[1], first & _MASK
        key = [(k + w) & _MASK for k, w in zip(key, _WEYL, strict=True)]
    return torch.stack([a, b, c, d])


def inverse_normal(words: Int64[Tensor, "*any"]) -> Float64[Tensor, "*any"]:
    """The normal number below which a share ``(word + 1/2) / 2**32`` of all lies; errors are below 1e-6."""
    middle = (words.double() + 0.5) * 2.0**-32 - 0.5
    normal = middle * _ratio(0.180625 - middle * middle, *_MIDDLE)
    outer = middle.abs() > 0.425
    beyond = middle[outer]
    tail = (-_logarithm(0.5 - beyond.abs())).sqrt()
    size = torch.where(tail <= 5.0, _ratio(tail - 1.6, *_TAIL), _ratio(tail - 5.0, *_FAR))
    normal[outer] = torch.where(beyond < 0, -size, size)
    return normal


def normal_noise(
    seed: int, channels: int, size: tuple[int, ...], first: int = 0, device: torch.device | str = "cpu"
) -> Float[Tensor, "c *size"]:
    """Standard normal noise in float32, of 1 to 3 axes, the same on every device that has float64.

    Word ``x % 4`` of counter ``(x // 4, y, z, channel)`` belongs to position ``(z, y, x)``; absent axes are 0.

    Args:
        seed, channels, size: of the noise.
        first: where it begins on the first axis.
        device: that computes and holds it.
    """
    begins = [first, *(0,) * (len(size) - 1)]
    *others, (begin, length) = zip(begins, size, strict=True)
    axes = [torch.arange(channels, device=device), *(torch.arange(b, b + n, device=device) for b, n in others)]
    blocks = torch.arange(begin // 4, -(-(begin + length) // 4), device=device)
    channel, *outer, block = (axis.flatten() for axis in torch.meshgrid(*axes, blocks, indexing="ij"))
    absent = [torch.zeros_like(block)] * (2 - len(outer))
    words = philox(torch.stack([block, *reversed(outer), *absent, channel]), seed)
    rows = words.T.reshape(channels, *(n for _, n in others), 4 * len(blocks))
    return inverse_normal(rows[..., begin % 4 : begin % 4 + length]).float()


def _ratio(x: Tensor, above: tuple[float, ...], below: tuple[float, ...]) -> Tensor:
    return _polynomial(x, above) / _polynomial(x, below)


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    value = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value.mul_(x).add_(coefficient)  # each is rounded: never fused
    return value


def _logarithm(x: Tensor) -> Tensor:
    """Natural logarithm by its series; libraries' own differ in the last bit."""
    mantissa, exponent = torch.frexp(x)  # 0.5 to 1: the series' variable is between -1/3 and 0
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    series = _polynomial(ratio * ratio, tuple(1.0 / (2 * n + 1) for n in range(18)))
    return exponent.double() * _LOG_2 + 2.0 * ratio * series
