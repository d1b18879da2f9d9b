"""Encoders."""

from neuralcodecs.encoders.cnn import CNNEncoder
from neuralcodecs.encoders.seanet import SEANetEncoder
from neuralcodecs.encoders.vit import ViTEncoder

__all__ = ["CNNEncoder", "SEANetEncoder", "ViTEncoder"]
