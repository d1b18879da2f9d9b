"""Normal noise that is the same on every machine: Philox4x32-10 (Salmon et al. 2011,
https://doi.org/10.1145/2063384.2063405) and the inverse normal distribution by AS 241 (Wichura 1988, its PPND7).

A number is a function of seed, channel and position alone: not of the device, the batch or the size of what is around
it. Integers are exact; the map to normals uses sums, products, quotients and square roots of float64 only, which IEEE
754 rounds in one way, and a logarithm made of these.
"""

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

Words = NDArray[np.uint64]
"""32-bit words, each in 64 bits so that products fit."""

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_LOG_2 = 0.6931471805599453
_MASK, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
# of AS 241: numerator and denominator, constant first, for the middle, the tails and the far tails
_MIDDLE = (3.3871327179, 50.434271938, 159.29113202, 59.109374720), (1.0, 17.895169469, 78.757757664, 67.187563600)
_TAIL = (1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103), (1.0, 0.73700164250, 0.12021132975)
_FAR = (6.6579051150, 3.0812263860, 0.42868294337, 0.017337203997), (1.0, 0.24197894225, 0.012258202635)


def philox(counter: Words, seed: int) -> Words:
    """Four random words of each counter ``(4, n)``, low word first; ``seed``: 64 bits, low word first too."""
    a, b, c, d = counter
    key = [np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32 & 0xFFFFFFFF)]
    for _ in range(10):
        first, second = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (second >> _HALF) ^ b ^ key[0], second & _MASK, (first >> _HALF) ^ d ^ key[1], first & _MASK
        key = [(k + w) & _MASK for k, w in zip(key, _WEYL, strict=True)]
    return np.stack([a, b, c, d])


def inverse_normal(words: Words) -> NDArray[np.float64]:
    """The normal number below which a share ``(word + 1/2) / 2**32`` of all lies; errors are below 1e-6."""
    middle = (words.astype(np.float64) + 0.5) * 2.0**-32 - 0.5
    normal = middle * _ratio(0.180625 - middle * middle, *_MIDDLE)
    outer = np.abs(middle) > 0.425
    tail = np.sqrt(-_logarithm(0.5 - np.abs(middle[outer])))
    size = np.where(tail <= 5.0, _ratio(tail - 1.6, *_TAIL), _ratio(tail - 5.0, *_FAR))
    normal[outer] = np.where(middle[outer] < 0, -size, size)
    return normal


def normal_noise(seed: int, channels: int, size: tuple[int, ...]) -> Float[Tensor, "c *size"]:
    """Standard normal noise in float32 on the CPU, of 1 to 3 axes.

    Word ``x % 4`` of counter ``(x // 4, y, z, channel)`` belongs to position ``(z, y, x)``; absent axes are 0.
    """
    *others, length = size
    blocks = -(-length // 4)
    axes = [np.arange(channels, dtype=np.uint64), *(np.arange(n, dtype=np.uint64) for n in others)]
    grid = np.meshgrid(*axes, np.arange(blocks, dtype=np.uint64), indexing="ij")
    channel, *outer, block = (axis.ravel() for axis in grid)
    absent = [np.zeros_like(block)] * (2 - len(outer))
    words = philox(np.stack([block, *reversed(outer), *absent, channel]), seed)
    normal = inverse_normal(words.T.reshape(channels, *others, blocks * 4)[..., :length])
    return torch.from_numpy(normal.astype(np.float32))


def _ratio(x: NDArray[np.float64], above: tuple[float, ...], below: tuple[float, ...]) -> NDArray[np.float64]:
    return _polynomial(x, above) / _polynomial(x, below)


def _polynomial(x: NDArray[np.float64], coefficients: tuple[float, ...]) -> NDArray[np.float64]:
    value = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


def _logarithm(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm by its series; libraries' own differ in the last bit."""
    mantissa, exponent = np.frexp(x)  # 0.5 to 1: the series' variable is between -1/3 and 0
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    series = _polynomial(ratio * ratio, tuple(1.0 / (2 * n + 1) for n in range(18)))
    return exponent * _LOG_2 + 2.0 * ratio * series
