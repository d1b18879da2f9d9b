"""Latents to integers and back, one idea per file."""

from neuralcodecs.quantizers.bypassed import Bypassed
from neuralcodecs.quantizers.residual import ResidualVQ

__all__ = ["Bypassed", "ResidualVQ"]
