"""Encoders."""

from neuralcodecs.encoders.analysis import AnalysisEncoder
from neuralcodecs.encoders.clip import ClipEncoder
from neuralcodecs.encoders.cnn import CNNEncoder
from neuralcodecs.encoders.contextual import ContextualEncoder
from neuralcodecs.encoders.dac import DACEncoder
from neuralcodecs.encoders.downsampled import DownsampledEncoder
from neuralcodecs.encoders.kl import KLEncoder
from neuralcodecs.encoders.scanned import ScannedEncoder
from neuralcodecs.encoders.seanet import SEANetEncoder
from neuralcodecs.encoders.spare import SpareEncoder
from neuralcodecs.encoders.vit import ViTEncoder

__all__ = [
    "AnalysisEncoder",
    "CNNEncoder",
    "ClipEncoder",
    "ContextualEncoder",
    "DACEncoder",
    "DownsampledEncoder",
    "KLEncoder",
    "SEANetEncoder",
    "ScannedEncoder",
    "SpareEncoder",
    "ViTEncoder",
]
