"""Encoders."""

from neuralcodecs.encoders.seanet import SEANetEncoder

__all__ = ["SEANetEncoder"]
