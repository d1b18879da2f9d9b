"""A decoder that draws a signal from the distribution that latents leave open: conditional flow matching
(https://arxiv.org/abs/2210.02747) or diffusion (https://arxiv.org/abs/2006.11239), in signals or in any latent space.

    latents --conditioner--> condition --+
    seed --> noise ------------------> network, solver --> representation --space--> signal
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.codec import Decoder
from neuralcodecs.codes import Shape
from neuralcodecs.decoders.condition import Condition, ConditionerFactory, Parts
from neuralcodecs.decoders.network import NetworkFactory
from neuralcodecs.decoders.process import Estimate, Process
from neuralcodecs.decoders.solvers import Field, Sampler
from neuralcodecs.decoders.space import LatentSpace, SignalSpace, SpaceFactory
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import State, pad_to
from neuralcodecs.layers.noise import normal_noise
from neuralcodecs.sampling import Sampled, Sampling


class FlowDecoder(Decoder):
    """A generative decoder. Trained by ``Denoise``; distilled to few steps by ``Distill``.

    Decoding is a function of latents, seed, steps and guidance: the noise is computed in integers, the same bits on
    every device (``layers.noise``), and networks run without reduced precision or choices by measured speed.

    Args:
        dim, channels, strides: as for every decoder.
        network: called with the representation's channels and axes and the condition's widths.
        conditioner: called with ``dim, strides``.
        space: called with ``channels, strides``; the signal itself by default.
        process: flow matching by default.
        sampler: eight Euler steps by default.
        dropout: share of the items that learn without the condition, or the parts of it that guidance leaves out; none
            do where guidance leaves nothing out.
    """

    made_by_codec = {
        "network": ("channels", "axes", "widths"),
        "conditioner": ("dim", "strides"),
        "space": ("channels", "strides"),
    }

    def __init__(
        self,
        dim: int,
        channels: int,
        strides: Shape,
        network: NetworkFactory,
        conditioner: ConditionerFactory,
        space: SpaceFactory | None = None,
        process: Process | None = None,
        sampler: Sampler | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise CodecError(f"dropout {dropout}: give a share from 0 to below 1")
        self.process, self.sampler, self.dropout = process or Process(), sampler or Sampler(), dropout
        self.space: LatentSpace = SignalSpace(channels, strides) if space is None else space(channels, strides)
        self.conditioner = conditioner(dim, strides)
        axes = len(self.space.size(tuple(strides)))
        self.network = network(self.space.channels, axes, self.conditioner.widths)
        parts = self.conditioner.widths.parts
        if not all(set(dropped) & set(parts) for dropped in self.sampler.guidance.patterns):
            raise CodecError(
                f"the guidance drops a part of the condition that is not there: name one of {', '.join(parts)}"
            )
        self.sampling = self.sampler.sampling
        self.embeds_guidance = self.sampler.guidance.embedded

    def forward(self, latents: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b c *space"]:
        return self.decode(latents, self.sampling or Sampling())

    def decode(self, latents: Float[Tensor, "b d *grid"], sampling: Sampling) -> Float[Tensor, "b c *space"]:
        size = self.space.size(self.conditioner.extent(tuple(latents.shape[2:])))
        with _exact():
            return self._draw(self._condition(latents, size), latents, size, sampling)

    def start(self, batch: int) -> State:
        """Of clips whose frames are drawn apart: no latents have come, and no frame is drawn."""
        if not self.network.framewise:
            raise self.unable("its network looks at the whole signal")
        return State((), (0,), (self.conditioner.start(batch),))

    def step(self, x: Float[Tensor, "b d *grid"], state: State, last: bool) -> tuple[Tensor, State]:
        """The frames of these latents, with the default sampling: each frame's noise is its own wherever it is cut."""
        size = self.space.size(self.conditioner.extent(tuple(x.shape[2:])))
        with _exact():
            condition, inner = self.conditioner.step(x, self.network.sizes(size), state.parts[0])
            frames = self._draw(condition, x, size, self.sampling or Sampling(), state.phase[0])
        return frames, State((), (state.phase[0] + size[0],), (inner,))

    def _draw(
        self, condition: Condition, like: Tensor, size: Shape, sampling: Sampling, first: int = 0
    ) -> Float[Tensor, "b c *space"]:
        """Signals of a representation of ``size`` whose first axis begins at ``first``, one per row of ``like``."""
        seed, steps, scale = sampling.over(self.sampler.sampling).whole()
        where = "cpu" if like.is_meta else like.device  # which numbers are tails is read back
        noise = normal_noise(seed, self.space.channels, size, first, where)
        x = (self.sampler.temperature * noise.to(like)).expand(len(like), *noise.shape)
        # on the CPU: what depends on times is then equal on every device, and decided without waiting for one
        times = torch.tensor(self.sampler.solver.times(steps, self.process.first))[:, None].expand(-1, len(like))
        field = self._field(condition, torch.full((len(like),), float(scale)))
        return self.space.decode(self.sampler.solver(self.process, field, x, times))

    def lead(
        self,
        latents: Float[Tensor, "b d *grid"],
        x: Float[Tensor, "b r *grid2"],
        times: Float[Tensor, "n b"],
        guidance: Float[Tensor, " b"],
    ) -> Float[Tensor, "b r *grid2"]:
        field = self._field(self._condition(latents, tuple(x.shape[2:])), guidance)
        return self.sampler.solver(self.process, field, x, times)

    def loss(self, signal: Float[Tensor, "b c *space"], latents: Float[Tensor, "b d *grid"]) -> dict[str, Tensor]:
        truth = self._truth(signal, latents)
        time = self.process.draw(len(latents), latents.device)
        x = self.process.at(truth, time)
        condition = self._forgetting(self._condition(latents, tuple(x.shape[2:])), len(latents), latents.device)
        output = self.network(x, time, torch.ones_like(time), condition)
        return {"denoising": self.process.loss(output, self.process.target(truth, time), time)}

    def follow(
        self,
        teacher: Sampled,
        signal: Float[Tensor, "b c *space"],
        latents: Float[Tensor, "b d *grid"],
        span: tuple[float, float],
        guidance: tuple[float, float],
    ) -> dict[str, Tensor]:
        """The velocity of one step is that of the teacher's two of half its length (ZipVoice-Distill, section 3.5)."""
        truth = self._truth(signal, latents)
        draws = torch.rand(3, len(latents), device=latents.device)
        length = (span[0] + (span[1] - span[0]) * draws[0]).clamp_min(1e-2 * span[1])  # shorter ones drown in rounding
        now = self.process.first + (1 - self.process.first - length) * draws[1]
        scale = guidance[0] + (guidance[1] - guidance[0]) * draws[2]
        x, times = self.process.at(truth, now), torch.stack([now, now + length / 2, now + length])
        with torch.no_grad():
            there = teacher.lead(latents, x, times, scale)
        target = (there - x) / length.view(-1, *(1,) * (x.ndim - 1))
        field = self._field(self._condition(latents, tuple(x.shape[2:])), scale)
        velocity = self.process.velocity(field(x, now), now)
        return {"distillation": (velocity.float() - target.float()).square().mean()}

    def _truth(self, signal: Tensor, latents: Tensor) -> Estimate:
        """The representation of the signal, as long as what the latents stand for, and noise for it."""
        with torch.no_grad():
            data = self.space.encode(pad_to(signal, self.conditioner.extent(tuple(latents.shape[2:]))))
        return Estimate(data, torch.randn_like(data))

    def _condition(self, latents: Tensor, size: Shape) -> Condition:
        return self.conditioner(latents, self.network.sizes(size))

    def _field(self, condition: Condition, guidance: Float[Tensor, " b"]) -> Field:
        everything = torch.ones_like(guidance, dtype=torch.bool)

        def field(x: Tensor, time: Tensor) -> Estimate:
            def evaluate(now: Tensor, dropped: Parts, scale: Tensor) -> Tensor:
                return self.network(x, now.to(x.device), scale.to(x.device), condition.without(dropped, everything))

            return self.process.resolve(self.sampler.guidance(evaluate, time, guidance), x, time)

        return field

    def _forgetting(self, condition: Condition, count: int, device: torch.device) -> Condition:
        """Each item has a chance to lose what one of the guidance's patterns leaves out."""
        patterns = self.sampler.guidance.patterns
        if not patterns:
            return condition
        chance = torch.rand(count, device=device) * len(patterns) / max(self.dropout, 1e-12)
        for index, dropped in enumerate(patterns):
            condition = condition.without(dropped, (index <= chance) & (chance < index + 1))
        return condition


@contextmanager
def _exact() -> Iterator[None]:
    """Convolutions in full float32 whose algorithm is not chosen by how fast it was: the same output every time."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
