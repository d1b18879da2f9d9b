"""Full-reference metrics of pictures by the package piq that need no network. https://github.com/photosynthesis-team/piq

Optional: ``pip install 'neuralcodecs[judge]'``.
"""

from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from neuralcodecs.criteria import Metric, MetricFailure
from neuralcodecs.errors import CodecError
from neuralcodecs.image.metrics import PIXELS, PictureMetric


class Known(NamedTuple):
    """One function of piq."""

    function: str
    higher_is_better: bool
    stated: str


KNOWN = {
    "vif": Known("vif_p", True, "VIF in the pixel domain, https://doi.org/10.1109/TIP.2005.859378"),
    "fsim": Known("fsim", True, "FSIMc, https://doi.org/10.1109/TIP.2011.2109730"),
    "gmsd": Known("gmsd", False, "GMSD, https://arxiv.org/abs/1308.3052"),
    "mdsi": Known("mdsi", False, "MDSI, https://arxiv.org/abs/1608.07433"),
    "haarpsi": Known("haarpsi", True, "HaarPSI, https://arxiv.org/abs/1607.06140"),
}


class PiqMetric(PictureMetric):
    """One of ``KNOWN`` by name; CodecError where piq is not installed or the name is not one of them."""

    def __init__(self, name: str) -> None:
        if name not in KNOWN:
            raise CodecError(f"no picture metric {name}: give one of {', '.join(KNOWN)}")
        known = KNOWN[name]
        try:
            import piq
        except ImportError as error:
            raise CodecError(f"{name} needs more packages: pip install 'neuralcodecs[judge]' ({error})") from error
        self.names = (name,)
        self.higher_is_better = known.higher_is_better
        self.definition = f"{known.stated} ({PIXELS}; piq {piq.__version__}, its defaults)"
        self._measure = getattr(piq, known.function)

    def figure(self, decoded: UInt8[Tensor, "1 c h w"], reference: UInt8[Tensor, "1 c h w"]) -> float:
        try:
            with torch.no_grad():
                return self._measure(decoded.float() / 255, reference.float() / 255, data_range=1.0).item()
        except (ValueError, AssertionError, RuntimeError) as error:  # how piq refuses small or gray pictures
            raise MetricFailure(f"{self.names[0]}: {' '.join(str(error).split())[:200]}") from error


def further_metrics() -> tuple[list[Metric], dict[str, str]]:
    """All of ``KNOWN``; and why those that are missing are, by name."""
    try:
        return [PiqMetric(name) for name in KNOWN], {}
    except CodecError as error:
        return [], dict.fromkeys(KNOWN, str(error))
