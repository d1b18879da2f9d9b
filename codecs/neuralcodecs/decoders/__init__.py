"""Decoders."""

from neuralcodecs.decoders.seanet import SEANetDecoder

__all__ = ["SEANetDecoder"]
