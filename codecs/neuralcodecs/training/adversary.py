"""The adversarial game as one object: a discriminator, its loss, and the gradients it gives to the codec.

Losses (``training/games.py``): hinge (EnCodec, https://arxiv.org/abs/2210.13438 section 3.4), least squares (DAC,
https://arxiv.org/abs/2306.06546) and others.

    real        --> discriminator --> real logits, features
    output.leaf --> discriminator --> fake logits, features
        fake logits, features --> adversarial, features: differentiated down to output.leaf only (terms on the output)
        real and fake logits  --> discriminator, regularizer: reach the discriminator's parameters, end at the leaf

Each signal is judged once and serves both players. Not as one batch [real; fake]: its halves share a graph, so that
both gradients at the output would be computed for the real half too.
"""

import random

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.criteria import Discriminator, Verdict
from neuralcodecs.layers.distributed import idle
from neuralcodecs.layers.fused import l1_distance
from neuralcodecs.training.games import Game, Hinge, Regularizer
from neuralcodecs.training.seeds import derive
from neuralcodecs.training.terms import Output, Term, Terms


def feature_distance(real: list[Verdict], fake: list[Verdict], relative: bool) -> Float[Tensor, ""]:
    """Mean over all layers of the L1 distance of features, relative to the mean magnitude of the real ones if asked."""
    distances = []
    for real_verdict, fake_verdict in zip(real, fake, strict=True):
        for a, b in zip(real_verdict.features, fake_verdict.features, strict=True):
            distances.append(l1_distance(a, b, relative))
    return torch.stack(distances).mean()


class Adversary(nn.Module):
    """Plays a discriminator against the codec.

    Args:
        discriminator: judges real and decoded signals.
        game: hinge by default.
        weight: of the adversarial term.
        feature_weight: of feature matching; 0 leaves it out.
        relative_features: divide each layer's distance by the real features' mean magnitude (EnCodec eq. 2).
        probability: share of optimizer steps in which the discriminator learns (EnCodec: 2/3 at 24 kHz, 1/2 at 48).
        start: batches before the game begins; until then the codec trains on the other terms alone.
        regularizer: a further term of the discriminator, for example ``LeCam``.
        optimistic: extrapolate its gradients (``training.optimism``), because both players step at once.
    """

    def __init__(
        self,
        discriminator: Discriminator,
        game: Game | None = None,
        weight: float = 1.0,
        feature_weight: float = 1.0,
        relative_features: bool = True,
        probability: float = 1.0,
        start: int = 0,
        regularizer: Regularizer | None = None,
        optimistic: bool = False,
    ) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.game = game or Hinge()
        self.weight = weight
        self.feature_weight = feature_weight
        self.relative_features = relative_features
        self.probability = probability
        self.start = start
        self.regularizer = regularizer
        self.optimistic = optimistic

    def decide(self, batch: int, seed: int) -> tuple[bool, bool]:
        """Whether the game is on, and whether the discriminator learns: the same answer on every rank."""
        playing = batch >= self.start
        return playing, playing and random.Random(derive(seed, 1)).random() < self.probability

    def forward(self, output: Output, target: Float[Tensor, "b c *space"], batch: int, seed: int) -> Terms:
        """Terms of both players from one forward on each signal.

        ``batch`` and ``seed`` of the step decide as ``decide`` says.
        """
        playing, learns = self.decide(batch, seed)
        if not playing:
            return {"discriminator": Term(output.leaf.new_zeros(()) + idle([self.discriminator]), 0.0)}
        real, fake = self._judge(target), self._judge(output.leaf)
        generator = torch.stack([self.game.generator(v.logits) for v in fake]).mean()
        terms = {"adversarial": Term(generator, self.weight, on_output=True)}
        if self.feature_weight:
            distance = feature_distance(real, fake, self.relative_features)
            terms["features"] = Term(distance, self.feature_weight, on_output=True)
        terms |= self._own(real, fake)
        if learns:
            return terms
        # a loss with weight 0 would go back through the whole discriminator for nothing
        rests = idle([self.discriminator])
        return terms | {n: Term(t.value.detach() + rests, 0.0) for n, t in terms.items() if not t.on_output}

    def _own(self, real: list[Verdict], fake: list[Verdict]) -> Terms:
        """The terms with which the discriminator learns."""
        pairs = zip(real, fake, strict=True)
        loss = torch.stack([self.game.discriminator(r.logits, f.logits) for r, f in pairs]).mean()
        terms = {"discriminator": Term(loss, 1.0)}
        if self.regularizer is not None:
            penalty = self.regularizer([v.logits for v in real], [v.logits for v in fake])
            terms["regularizer"] = Term(penalty, self.regularizer.weight)
        return terms

    def _judge(self, signal: Float[Tensor, "b c *space"]) -> list[Verdict]:
        """Verdicts with logits in fp32: near the hinge half precision rounds most of what they tell away."""
        return [Verdict(v.logits.float(), v.features) for v in self.discriminator(signal)]
