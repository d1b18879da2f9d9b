"""Codes as tokens of language models: patterns, vocabulary, the tokenizer object."""

from neuralcodecs.lm.orders import (
    Apart,
    Arrangement,
    Delayed,
    Flat,
    Grouped,
    Masked,
    Order,
    Parallel,
    Passes,
    Raster,
    Shuffled,
    Stacked,
    Staggered,
    Wavefront,
)
from neuralcodecs.lm.patterns import Coordinate, Extent, Pattern, Plan, State
from neuralcodecs.lm.tokenizer import CodecTokenizer
from neuralcodecs.lm.vocabulary import Vocabulary

__all__ = [
    "Apart",
    "Arrangement",
    "CodecTokenizer",
    "Coordinate",
    "Delayed",
    "Extent",
    "Flat",
    "Grouped",
    "Masked",
    "Order",
    "Parallel",
    "Passes",
    "Pattern",
    "Plan",
    "Raster",
    "Shuffled",
    "Stacked",
    "Staggered",
    "State",
    "Vocabulary",
    "Wavefront",
]
