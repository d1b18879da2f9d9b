"""How useful a codec's tokens are, measured without a download."""

from neuralcodecs.lm.probes.battery import probe, table

__all__ = ["probe", "table"]
