"""Discriminators of waveform codecs."""
