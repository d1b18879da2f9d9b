"""How the terms of a step become one scalar: a weighted sum, or EnCodec's gradient balancer."""

from abc import ABC, abstractmethod

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.layers.fused import inputs_only
from neuralcodecs.training.terms import Output, Terms


class Combination(nn.Module, ABC):
    """Terms on the output are turned into one gradient at the output; the scalar below carries it into the codec.

    total = sum(output.signal * gradient) + sum of the weighted other terms
    """

    def forward(self, terms: Terms, output: Output) -> Float[Tensor, ""]:
        on_output = {name: term for name, term in terms.items() if term.on_output}
        # a term of weight 0 costs its backward for nothing, but DDP waits for the gradients of every parameter
        others = [t for t in terms.values() if not t.on_output and (t.weight or dist.is_initialized())]
        total = sum((t.value.float() * t.weight for t in others), output.signal.new_zeros((), dtype=torch.float32))
        if on_output:
            gradient = self.gradient(on_output, output.leaf)
            total = total + (output.signal.float() * gradient).sum()
        return total

    @abstractmethod
    def gradient(self, terms: Terms, leaf: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        """The combined gradient of terms that end at the leaf."""


def gradient_at(value: Float[Tensor, ""], leaf: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
    """Gradient of a scalar at the leaf in fp32, leaving no gradient anywhere else.

    A mean over a batch has gradients of about 1 / numel, below what half precision holds: the scalar is scaled by a
    power of two near numel on the way down, which costs fp32 no bit.
    """
    scale = 2.0 ** (leaf.numel().bit_length() - 1)
    with inputs_only():
        (gradient,) = torch.autograd.grad(value * scale, leaf, retain_graph=True)
    return gradient.float() / scale


class WeightedSum(Combination):
    """The plain sum of weight x value."""

    def gradient(self, terms: Terms, leaf: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        return gradient_at(torch.stack([t.value.float() * t.weight for t in terms.values()]).sum(), leaf)


class Balancer(Combination):
    """Gives each term a fixed share of the gradient at the output, whatever its scale (arXiv 2210.13438, eq. 5).

    gradient = sum_i R * (w_i / sum_j w_j) * g_i / (eps + <|g_i|>), where |g_i| is the L2 norm per batch item, summed
    over the batch of a rank and averaged over ranks, and <> an exponential average with bias correction. The averages
    are buffers: they are checkpointed, and nothing leaves the device.

    With the sum the result is a mean over the batch, as every other loss is, so that neither the batch size nor the
    number of ranks moves the balance between these terms and those that reach parameters by themselves (commitment).
    The published code has the mean there: in its run of 8 items per rank these terms weigh 8 times as much, R = 8 here.

    Args:
        names: the terms on the output that may occur, in any step.
        total_norm: R.
        decay: of the exponential average.
        epsilon: against division by zero.
    """

    norms: Tensor
    counts: Tensor

    def __init__(
        self,
        names: tuple[str, ...] = ("waveform", "spectrum", "perceptual", "adversarial", "features"),
        total_norm: float = 1.0,
        decay: float = 0.999,
        epsilon: float = 1e-12,
    ) -> None:
        super().__init__()
        self.names = tuple(names)
        self.total_norm = total_norm
        self.decay = decay
        self.epsilon = epsilon
        self.register_buffer("norms", torch.zeros(len(self.names)))
        self.register_buffer("counts", torch.zeros(len(self.names)))

    def gradient(self, terms: Terms, leaf: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        gradients = [gradient_at(term.value, leaf) for term in terms.values()]
        norms = torch.stack([g.flatten(1).norm(dim=1).sum() for g in gradients])
        averages = self._update([self.names.index(name) for name in terms], norms).unbind()
        share = self.total_norm / sum(term.weight for term in terms.values())
        # weights stay numbers: a tensor of them would be a copy to the device, which a CUDA graph cannot hold
        scales = [share * t.weight / (self.epsilon + a) for t, a in zip(terms.values(), averages, strict=True)]
        return torch.stack([g * s for g, s in zip(gradients, scales, strict=True)]).sum(0)

    @torch.no_grad()
    def _update(self, present: list[int], norms: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Fold this step's norms into the averages; a step with a non-finite norm leaves them as they were."""
        if dist.is_initialized():
            dist.all_reduce(norms)
            norms = norms / dist.get_world_size()
        finite = norms.isfinite().all()
        for position, norm in zip(present, norms, strict=True):
            self.norms[position] = torch.where(finite, self.norms[position] * self.decay + norm, self.norms[position])
            self.counts[position] = torch.where(finite, self.counts[position] * self.decay + 1, self.counts[position])
        return torch.stack([self.norms[p] / self.counts[p].clamp_min(1e-12) for p in present])
