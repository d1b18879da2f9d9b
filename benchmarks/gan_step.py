"""EnCodec's GAN training step twice: the published parts in the published order, and ours; for the scripts beside this.

Published: the ``encodec`` package's model and MS-STFT discriminator, a discriminator step (forwards on real and fake),
then a generator step (both forwards again), two optimizers, the balancer's K + 1 backward passes. The package ships
neither its losses nor its balancer: both sides use our losses, and the published order is written out here.
"""

import contextlib
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, get_args

import torch
from torch import Tensor, nn

from neuralcodecs import Codec
from neuralcodecs.audio import Audio, EncodecMel, WaveformL1
from neuralcodecs.audio.discriminators import MultiScaleSTFTDiscriminator
from neuralcodecs.decoders import SEANetDecoder
from neuralcodecs.encoders import SEANetEncoder
from neuralcodecs.layers.paths import Path
from neuralcodecs.quantizers import ResidualVQ
from neuralcodecs.training import Adversary, Balancer, Eager, Graphs, Reconstruct, Weighted
from neuralcodecs.training.execution import Computed, Execution
from neuralcodecs.training.optimism import Optimism
from neuralcodecs.training.seeds import derive

RATE = 24000
FRAME_RATE = 75
BITS = 10
WINDOWS = (2048, 1024, 512, 256, 128)
WEIGHTS = {"waveform": 0.1, "spectrum": 1.0, "adversarial": 3.0, "features": 3.0}
TOTAL_NORM = 8.0
DECAY = 0.999
ADAM = {"lr": 3e-4, "betas": (0.5, 0.9)}
Autocast = Callable[[], contextlib.AbstractContextManager[object]]


class Recipe(NamedTuple):
    """``start``: batches before the game; ``probability``: that the discriminator learns from a batch."""

    start: int = 0
    probability: float = 1.0


class Networks(NamedTuple):
    """Fresh ones, with which both sides begin."""

    codec: Codec
    judge: MultiScaleSTFTDiscriminator

    @staticmethod
    def fresh(seed: int, device: torch.device) -> "Networks":
        torch.manual_seed(seed)
        quantizer = partial(ResidualVQ, codebooks=32, levels=(2, 4, 8, 16, 32))
        codec = Codec(Audio(RATE), SEANetEncoder(), quantizer, SEANetDecoder)
        return Networks(codec.to(device).train(), MultiScaleSTFTDiscriminator(WINDOWS).to(device))


def autocast(device: torch.device, precision: str) -> Autocast:
    return partial(torch.autocast, device.type, torch.bfloat16, enabled=precision == "bf16")


class Step(ABC):
    """One way to train on a batch ``(b, 1, t)``."""

    @abstractmethod
    def __call__(self, real: Tensor, index: int, seed: int, levels: int) -> None: ...

    @abstractmethod
    def codec(self) -> Codec:
        """What has been trained, for evaluation; a copy or the codec itself."""

    @abstractmethod
    def learned(self) -> list[nn.Parameter]:
        """The weights of that."""


class Published(Step):
    """Discriminator step, then generator step, each with its own forwards."""

    def __init__(self, networks: Networks, recipe: Recipe, autocast: Autocast) -> None:
        from encodec import EncodecModel
        from encodec.msstftd import MultiScaleSTFTDiscriminator as PublishedDiscriminator

        device = networks.codec.device
        self.model = EncodecModel.encodec_model_24khz(pretrained=False).to(device).train()
        self.judge = PublishedDiscriminator(
            filters=32, n_ffts=list(WINDOWS), hop_lengths=[w // 4 for w in WINDOWS], win_lengths=list(WINDOWS)
        ).to(device)
        copy_parameters(networks.codec.encoder, self.model.encoder)
        copy_parameters(networks.codec.decoder, self.model.decoder)
        copy_parameters(networks.judge, self.judge)
        self.waveform, self.spectrum = WaveformL1(), EncodecMel(RATE).to(device)
        self.ours = torch.optim.Adam(self.model.parameters(), **ADAM)
        self.theirs = torch.optim.Adam(self.judge.parameters(), **ADAM)
        self.recipe, self.autocast = recipe, autocast
        self.norms: dict[str, Tensor] = {}
        self.counts: dict[str, float] = {}

    def __call__(self, real: Tensor, index: int, seed: int, levels: int) -> None:
        model, playing = self.model, index >= self.recipe.start
        with self.autocast():
            bandwidth = levels * BITS * FRAME_RATE / 1000
            quantized = model.quantizer(model.encoder(real), model.frame_rate, bandwidth=bandwidth)
            fake = model.decoder(quantized.quantized)[..., : real.shape[-1]]
            commitment = quantized.penalty.mean()
        if playing and random.Random(derive(seed, 1)).random() < self.recipe.probability:
            self._discriminator_step(real, fake.detach())
        with self.autocast():
            losses = {"waveform": self.waveform(fake, real), "spectrum": self.spectrum(fake, real)}
            losses |= self._generator_losses(real, fake) if playing else {}
        self.ours.zero_grad()
        if commitment.requires_grad:
            commitment.backward(retain_graph=True)
        fake.backward(self._balanced(losses, fake))
        self.ours.step()

    def _discriminator_step(self, real: Tensor, fake: Tensor) -> None:
        with self.autocast():
            pairs = zip(self.judge(real)[0], self.judge(fake)[0], strict=True)
            own = [torch.relu(1 - r).mean() + torch.relu(1 + f).mean() for r, f in pairs]
        self.theirs.zero_grad()
        (sum(own) / len(own)).backward()
        self.theirs.step()

    def _generator_losses(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        _, wanted = self.judge(real)
        logits, features = self.judge(fake)
        distances = [
            (a.detach() - b).abs().mean() / a.detach().abs().mean()
            for x, y in zip(wanted, features, strict=True)
            for a, b in zip(x, y, strict=True)
        ]
        adversarial = sum(torch.relu(1 - f).mean() for f in logits) / len(logits)
        return {"adversarial": adversarial, "features": sum(distances) / len(distances)}

    def _balanced(self, losses: dict[str, Tensor], fake: Tensor) -> Tensor:
        total = torch.zeros_like(fake)
        weights = sum(WEIGHTS[name] for name in losses)
        for name, loss in losses.items():
            (gradient,) = torch.autograd.grad(loss, fake, retain_graph=True)
            norm = gradient.flatten(1).norm(dim=1).mean()
            self.norms[name] = DECAY * self.norms.get(name, torch.zeros_like(norm)) + norm
            self.counts[name] = DECAY * self.counts.get(name, 0.0) + 1
            average = float(self.norms[name]) / self.counts[name]  # the published balancer reads each on the host
            total += TOTAL_NORM / len(fake) * WEIGHTS[name] / weights * gradient / (1e-12 + average)
        return total

    def codec(self) -> Codec:
        from neuralcodecs.convert import from_encodec

        return from_encodec(self.model).to(next(self.model.parameters()).device)

    def learned(self) -> list[nn.Parameter]:
        return list(self.model.parameters())


class Ours(Step):
    """Each signal judged once, one backward, one optimizer: what CodecTask does, without Lightning around it."""

    def __init__(self, networks: Networks, recipe: Recipe, autocast: Autocast) -> None:
        device = networks.codec.device
        self.trained = networks.codec
        self.objective = Reconstruct(
            Weighted(WaveformL1(), WEIGHTS["waveform"]), Weighted(EncodecMel(RATE), WEIGHTS["spectrum"])
        ).to(device)
        self.adversary = Adversary(
            networks.judge,
            weight=WEIGHTS["adversarial"],
            feature_weight=WEIGHTS["features"],
            probability=recipe.probability,
            start=recipe.start,
            optimistic=True,
        ).to(device)
        self.balancer = Balancer(total_norm=TOTAL_NORM, decay=DECAY).to(device)
        self.players = nn.ModuleList([self.trained, self.adversary])
        groups = [{"params": list(player.parameters())} for player in self.players]
        self.optimizer = torch.optim.Adam(groups, **ADAM, fused=device.type == "cuda")
        self.autocast = autocast
        self.execution: Execution = Eager()
        self.optimism = Optimism()

    def __call__(self, real: Tensor, index: int, seed: int, levels: int) -> None:
        def compute(signal: Tensor) -> Computed:
            terms, output, statistics = self.objective(self.trained, signal, levels)
            terms |= self.adversary(output, signal, index, seed)
            return Computed(terms, statistics, self.balancer(terms, output))

        with self.autocast():
            key = levels, self.adversary.decide(index, seed)
            _, _, total = self.execution(compute, real, self.players, key, self.trained.quantizer.settled)
        self.optimizer.zero_grad()
        total.backward()
        if self.adversary.optimistic:
            self.optimism.extrapolate(self.optimizer, self.adversary.parameters())
        self.optimizer.step()
        self.optimism.remember()
        self.trained.quantizer.update()

    def codec(self) -> Codec:
        return self.trained

    def learned(self) -> list[nn.Parameter]:
        return list(self.trained.parameters())


def executions() -> dict[str, Execution]:
    """Ways to run our step."""
    every = get_args(Path)
    fused = Graphs(paths=("fused",))
    return {"plain": Eager(), "graphs": Graphs(), "graphs, fused": fused, "graphs, rows, fused": Graphs(paths=every)}


STEPS: dict[str, type[Published] | type[Ours]] = {"published": Published, "ours": Ours}


@torch.no_grad()
def copy_parameters(source: nn.Module, target: nn.Module) -> None:
    """Both list bias, magnitude and direction of each convolution in this order."""
    for theirs, ours in zip(source.parameters(), target.parameters(), strict=True):
        ours.copy_(theirs)
