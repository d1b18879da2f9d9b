"""Probability of codes: integer tables for the range coder, equal on every machine."""
