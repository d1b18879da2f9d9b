"""The losses of a GAN's two players, and what else a discriminator is trained with."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from neuralcodecs.errors import CodecError
from neuralcodecs.layers.distributed import rank_and_world, sum_over_ranks


class Game(ABC):
    """The two losses of a GAN, each for the logits of one (sub-)discriminator."""

    @abstractmethod
    def discriminator(self, real: Tensor, fake: Tensor) -> Float[Tensor, ""]: ...

    @abstractmethod
    def generator(self, fake: Tensor) -> Float[Tensor, ""]: ...


class Hinge(Game):
    """max(0, 1 - real) + max(0, 1 + fake); the generator's is max(0, 1 - fake)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Float[Tensor, ""]:
        return torch.relu(1 - real).mean() + torch.relu(1 + fake).mean()

    def generator(self, fake: Tensor) -> Float[Tensor, ""]:
        return torch.relu(1 - fake).mean()


class LeastSquares(Game):
    """(1 - real)^2 + fake^2; the generator's is (1 - fake)^2."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Float[Tensor, ""]:
        return (1 - real).square().mean() + fake.square().mean()

    def generator(self, fake: Tensor) -> Float[Tensor, ""]:
        return (1 - fake).square().mean()


class NonSaturating(Game):
    """softplus(-real) + softplus(fake); the generator's is softplus(-fake). https://arxiv.org/abs/1406.2661"""

    def discriminator(self, real: Tensor, fake: Tensor) -> Float[Tensor, ""]:
        return functional.softplus(-real).mean() + functional.softplus(fake).mean()

    def generator(self, fake: Tensor) -> Float[Tensor, ""]:
        return functional.softplus(-fake).mean()


class Linear(Game):
    """fake - real; the generator's is -fake (that of VQGAN, https://arxiv.org/abs/2012.09841, with a hinge)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Float[Tensor, ""]:
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor) -> Float[Tensor, ""]:
        return -fake.mean()


class Mixed(Game):
    """The discriminator's loss of one game and the generator's of another.

    WeTok (https://arxiv.org/abs/2508.05599): ``Mixed(Hinge(), NonSaturating())``; VQGAN: ``Mixed(Hinge(), Linear())``.
    """

    def __init__(self, discriminator: Game, generator: Game) -> None:
        self.of_discriminator = discriminator
        self.of_generator = generator

    def discriminator(self, real: Tensor, fake: Tensor) -> Float[Tensor, ""]:
        return self.of_discriminator.discriminator(real, fake)

    def generator(self, fake: Tensor) -> Float[Tensor, ""]:
        return self.of_generator.generator(fake)


class Regularizer(nn.Module, ABC):
    """A further loss of the discriminator, of the logits of all its verdicts. ``weight``: of the term."""

    weight: float

    @abstractmethod
    def forward(self, real: list[Tensor], fake: list[Tensor]) -> Float[Tensor, ""]: ...


class LeCam(Regularizer):
    """Keeps the logits of one side near the other side's running mean. https://arxiv.org/abs/2104.03310

    mean(relu(real - <fake>)^2) + mean(relu(<real> - fake)^2), the one-sided form of the authors' code, averaged over
    verdicts; <> is an exponential average over batches that starts at 0 and takes in this batch first. The averages are
    buffers: checkpointed, the same on all ranks, and a batch whose logits are not finite leaves them as they were.

    Args:
        weight: of the term.
        decay: of the averages.
        verdicts: that the discriminator gives (1 for PatchGAN).
    """

    averages: Tensor

    def __init__(self, weight: float = 0.05, decay: float = 0.999, verdicts: int = 1) -> None:
        super().__init__()
        self.weight = weight
        self.decay = decay
        self.register_buffer("averages", torch.zeros(verdicts, 2))

    def forward(self, real: list[Tensor], fake: list[Tensor]) -> Float[Tensor, ""]:
        if len(real) != len(self.averages):
            raise CodecError(f"LeCam for {len(self.averages)} verdicts, the discriminator gives {len(real)}: change it")
        averages = self._update(
            torch.stack([torch.stack([r.float().mean(), f.float().mean()]) for r, f in zip(real, fake, strict=True)])
        )
        penalties = [
            torch.relu(r.float() - mean_fake).square().mean() + torch.relu(mean_real - f.float()).square().mean()
            for r, f, (mean_real, mean_fake) in zip(real, fake, averages, strict=True)
        ]
        return torch.stack(penalties).mean()

    @torch.no_grad()
    def _update(self, means: Float[Tensor, "verdicts 2"]) -> Float[Tensor, "verdicts 2"]:
        means = means.detach().clone()  # summed in place
        sum_over_ranks([means])
        means = means / rank_and_world()[1]
        self.averages.copy_(
            torch.where(means.isfinite().all(), torch.lerp(means, self.averages, self.decay), self.averages)
        )
        return self.averages.clone()  # the graph of this step must not see the next step's
