"""Who moves first in EnCodec's game: both at once, the discriminator first, or both at once with optimistic gradients.

A small EnCodec (8 filters, a discriminator of 3 resolutions) in fp32; networks, data, losses and balancer are the same.
Mel distance of test files every 50 steps, of the weights as they are and of their average, and the means of both.

    python benchmarks/order_of_play.py together|in_turn|optimistic --data DIR [--steps 1000] [--seed 0]
"""

import argparse
import contextlib
import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from equal_quality import Average, Judge
from gan_step import ADAM, RATE, WINDOWS, Networks, Ours, Recipe
from torch import Tensor

from neuralcodecs import Codec
from neuralcodecs.audio import Audio, GainAndMix
from neuralcodecs.audio.discriminators import MultiScaleSTFTDiscriminator
from neuralcodecs.decoders import SEANetDecoder
from neuralcodecs.encoders import SEANetEncoder
from neuralcodecs.quantizers import ResidualVQ
from neuralcodecs.training import AudioDataModule, Loading
from neuralcodecs.training.seeds import derive

START, EVERY, SETTLED = 100, 50, 300
LEVELS = (2, 4, 8)


class InTurn(Ours):
    """The discriminator steps first, and the codec plays against what it has become."""

    def __init__(self, networks: Networks, recipe: Recipe) -> None:
        super().__init__(networks, recipe, contextlib.nullcontext)
        self.ours = torch.optim.Adam(self.trained.parameters(), **ADAM)
        self.theirs = torch.optim.Adam(self.adversary.parameters(), **ADAM)

    def __call__(self, real: Tensor, index: int, seed: int, levels: int) -> None:
        playing, learns = self.adversary.decide(index, seed)
        terms, output, _ = self.objective(self.trained, real, levels)
        if learns:
            ended = replace(output, leaf=output.leaf.detach())
            own = self.adversary(ended, real, index, seed)["discriminator"].value
            self.theirs.zero_grad()
            own.backward()
            self.theirs.step()
        if playing:
            judged = self.adversary(output, real, index, seed)
            terms |= {name: term for name, term in judged.items() if term.on_output}
        total = self.balancer(terms, output)
        self.ours.zero_grad()
        total.backward()
        self.ours.step()
        self.trained.quantizer.update()


def step_of(order: str, networks: Networks) -> Ours:
    recipe = Recipe(START, 0.6667)
    if order == "in_turn":
        return InTurn(networks, recipe)
    step = Ours(networks, recipe, contextlib.nullcontext)
    step.adversary.optimistic = order == "optimistic"
    return step


def small(seed: int) -> Networks:
    torch.manual_seed(seed)
    settings = {"filters": 8, "lstm_layers": 1}
    quantizer = partial(ResidualVQ, codebooks=LEVELS[-1], levels=LEVELS)
    decoder = partial(SEANetDecoder, **settings)
    codec = Codec(Audio(RATE), SEANetEncoder(dim=64, **settings), quantizer, decoder)
    return Networks(codec.train(), MultiScaleSTFTDiscriminator(WINDOWS[1:4], filters=8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("order", choices=["together", "in_turn", "optimistic"])
    parser.add_argument("--data", type=Path, required=True, help="holds speech/{train,val,test}")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=float, default=0.25, help="seconds")
    options = parser.parse_args()
    torch.set_num_threads(1)
    step = step_of(options.order, small(options.seed))
    average = Average(step.learned())
    judge = Judge(options.data / "speech" / "test", 8, torch.device("cpu"), Path())
    judge.signals = [signal[:, : 2 * RATE] for signal in judge.signals]
    folders = ([str(options.data / "speech" / split)] for split in ("train", "val"))
    loading = Loading(workers=0, seed=options.seed, cache=True)
    data = AudioDataModule(*folders, RATE, 1, options.crop, options.batch, GainAndMix(), loading)
    data.setup("fit")
    settled: list[tuple[float, float]] = []
    for number, batch in enumerate(data.train_dataloader(), 1):
        levels = random.Random(derive(batch.seed, 0)).choice(LEVELS)
        step(batch.signal, batch.index, batch.seed, levels)
        average.update()
        if number % EVERY == 0:
            raw = judge(step.codec(), None, 0)["mel"]
            average.swap()
            settled += [(raw, judge(step.codec(), None, 0)["mel"])] if number > SETTLED else []
            average.swap()
            print(f"{options.order} {options.seed}: {number} steps, mel {raw:.3f}", flush=True)
        if number == options.steps:
            break
    if settled:
        raw, averaged = (fmean(column) for column in zip(*settled, strict=True))
        print(f"{options.order} {options.seed}: mean from step {SETTLED} on {raw:.3f}, of averages {averaged:.3f}")


if __name__ == "__main__":
    main()
