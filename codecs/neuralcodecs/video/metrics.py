"""Metrics of decoded clips: those of pictures, frame by frame."""

from jaxtyping import Float
from torch import Tensor

from neuralcodecs.criteria import Metric
from neuralcodecs.image.metrics import PSNR, SSIM


class FrameMean(Metric):
    """The mean over all frames of what a metric says of each. Raises MetricFailure where it has none for a frame."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.names, self.higher_is_better = metric.names, metric.higher_is_better
        self.definition = f"mean over frames of {metric.definition}"

    def __call__(
        self, decoded: Float[Tensor, "c t h w"], reference: Float[Tensor, "c t h w"], rate: int
    ) -> dict[str, float]:
        frames = zip(decoded.unbind(1), reference.unbind(1), strict=True)
        figures = [self.metric(ours, theirs, rate) for ours, theirs in frames]
        return {name: sum(figure[name] for figure in figures) / len(figures) for name in self.names}


def default_metrics() -> list[Metric]:
    return [FrameMean(PSNR()), FrameMean(SSIM())]
