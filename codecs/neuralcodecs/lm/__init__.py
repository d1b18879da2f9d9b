"""Codes as tokens of language models: patterns, vocabulary, the tokenizer object."""

from neuralcodecs.lm.language import Language, load_language
from neuralcodecs.lm.material import Bytes, CodecMaterial, Material
from neuralcodecs.lm.network import CodeModel, Network
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
from neuralcodecs.lm.patch_model import PatchModel
from neuralcodecs.lm.pattern_model import PatternModel
from neuralcodecs.lm.patterns import Coordinate, Extent, Pattern, Plan, State
from neuralcodecs.lm.sampling import Sampling
from neuralcodecs.lm.tokenizer import CodecTokenizer
from neuralcodecs.lm.vocabulary import Vocabulary

__all__ = [
    "Apart",
    "Arrangement",
    "Bytes",
    "CodeModel",
    "CodecMaterial",
    "CodecTokenizer",
    "Coordinate",
    "Delayed",
    "Extent",
    "Flat",
    "Grouped",
    "Language",
    "Masked",
    "Material",
    "Network",
    "Order",
    "Parallel",
    "Passes",
    "PatchModel",
    "Pattern",
    "PatternModel",
    "Plan",
    "Raster",
    "Sampling",
    "Shuffled",
    "Stacked",
    "Staggered",
    "State",
    "Vocabulary",
    "Wavefront",
    "load_language",
]
