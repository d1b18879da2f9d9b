"""What the counts of codes say: usage, entropy, conditional entropy, and how far byte-pair encoding shortens them.

BPE on codes: https://arxiv.org/abs/2410.13480
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuralcodecs.codes import Shape

Grids = Sequence[NDArray[np.int64]]
"""Codes ``(rows, *grid)`` of each file."""
MERGES = 1000
"""Tokens that BPE adds to the codes that are used."""
WORD = 256
"""Codes in a piece of text: BPE sees no further."""
FIRST = 0x10000
"""The character of code 0: above it there are no surrogates."""


def entropy(counts: NDArray[np.int64]) -> float:
    """Bits of a choice with these counts."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def usage(grids: Grids, alphabet: Shape) -> dict[str, float]:
    """Means over rows: share of the alphabet that occurs, and entropy as a share of log2 of the alphabet and of it."""
    used, bits, full, reached = [], [], [], []
    for row, size in enumerate(alphabet):
        counts = np.bincount(np.concatenate([grid[row].ravel() for grid in grids]), minlength=size)
        used.append(float((counts > 0).mean()))
        bits.append(entropy(counts))
        full.append(math.log2(size))
        reached.append(math.log2(max((counts > 0).sum(), 1)))
    return {
        "usage": float(np.mean(used)),
        "entropy_bits": float(np.mean(bits)),
        "entropy_of_alphabet": sum(bits) / sum(full),
        "entropy_of_used": sum(bits) / sum(reached) if sum(reached) else 0.0,
    }


def conditional_entropy(grids: Grids, alphabet: Shape) -> float:
    """Bits of a code when the one before it on the last axis is known, mean over rows; of counts, hence too low where
    there are fewer codes than pairs."""
    bits = []
    for row, size in enumerate(alphabet):
        before = np.concatenate([grid[row][..., :-1].ravel() for grid in grids])
        after = np.concatenate([grid[row][..., 1:].ravel() for grid in grids])
        _, pairs = np.unique(before * size + after, return_counts=True)
        bits.append(entropy(pairs) - entropy(np.bincount(before, minlength=size)))
    return float(np.mean(bits))


def bpe_ratio(train: Grids, test: Grids, alphabet: Shape) -> float:
    """Codes for each token of byte-pair encoding that was trained on other files; the rows of a position in turn."""
    from tokenizers import Tokenizer, models, trainers

    words = [text for grid in train for text in _words(grid, alphabet)]
    held_out = [text for grid in test for text in _words(grid, alphabet)]
    tokenizer = Tokenizer(models.BPE())
    characters = sorted({c for text in words + held_out for c in text})
    trainer = trainers.BpeTrainer(
        vocab_size=len(characters) + MERGES, initial_alphabet=characters, show_progress=False, min_frequency=2
    )
    tokenizer.train_from_iterator(words, trainer)
    tokens = sum(len(encoded.ids) for encoded in tokenizer.encode_batch(held_out))
    return sum(map(len, held_out)) / tokens


def _words(grid: NDArray[np.int64], alphabet: Shape) -> list[str]:
    starts = np.cumsum([0, *alphabet[:-1]])
    flat = (grid.reshape(len(grid), -1) + starts[:, None]).T.ravel() + FIRST
    text = "".join(map(chr, flat))
    return [text[n : n + WORD] for n in range(0, len(text), WORD)]
