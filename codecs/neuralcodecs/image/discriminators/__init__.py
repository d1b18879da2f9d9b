"""Discriminators of picture codecs."""

from neuralcodecs.image.discriminators.patchgan import BlurredConv, PatchGAN, StridedConv

__all__ = ["BlurredConv", "PatchGAN", "StridedConv"]
