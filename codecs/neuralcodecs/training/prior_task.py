"""The Lightning module that trains a prior on the codes of a frozen codec, made on the fly from signals.

signals --frozen codec, random number of levels--> codes --prior--> bits of a code --> Lightning
"""

import random
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from neuralcodecs.errors import CodecError
from neuralcodecs.pretrained import locate, named
from neuralcodecs.priors.dropout import drop
from neuralcodecs.priors.learned import LearnedPrior
from neuralcodecs.training.data import Batch
from neuralcodecs.training.optimization import Optimization, Optimized
from neuralcodecs.training.seeds import derive
from neuralcodecs.training.terms import Term

STREAM = "codes"
"""The stream that priors are of: every codec's main one."""

PriorFactory = Callable[[tuple[int, ...]], LearnedPrior]


class PriorTask(Optimized):
    """Trains a prior; the codec does not move, and both are in the checkpoints.

    Args:
        codec: a checkpoint, run, exported folder, hub id, or a YAML config (fresh weights: for trials).
        prior: called with the sizes of the codec's codebooks.
        optimization: optimizer and schedule; the prior's group has the settings named ``codec``.
        trust: whether the codec may name classes from outside this package.
        dropout: share of what the prior's branches add that is left out in training: an hour of speech is soon known
            by heart.
    """

    def __init__(
        self, codec: str, prior: PriorFactory, optimization: Optimization, trust: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__(optimization)
        self.codec = named(codec, trust).requires_grad_(False).eval()
        self.prior = prior(self.codec.quantizer.codebook_sizes)
        drop(self.prior, dropout)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        torch.manual_seed(derive(batch.seed, self.global_rank))
        levels = random.Random(derive(batch.seed, 0)).choice(self.codec.quantizer.levels)
        bits = self.prior.bits(self.codes(batch, levels))
        self.guard.watch({"bits": Term(bits, 1.0)})
        figures = {"train/bits_per_code": bits.detach(), f"train/bits_per_code/{levels}_levels": bits.detach()}
        self.log_dict(figures, batch_size=len(batch.signal))
        self.log_skipped(len(batch.signal))
        self.advance(batch)
        return bits

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._validate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._validate("test", batch)

    def codes(self, batch: Batch, levels: int) -> Int64[Tensor, "b q *grid"]:
        """Codes of a batch of signals of one shape."""
        return self.codec.encode(batch.signal, levels)[STREAM]

    def train(self, mode: bool = True) -> "PriorTask":
        super().train(mode)
        self.codec.eval()
        return self

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"codec": list(self.prior.parameters())}

    def start_from(self, source: str) -> None:
        state = torch.load(locate(source), map_location="cpu", weights_only=True)["state_dict"]
        own = {name.removeprefix("prior."): value for name, value in state.items() if name.startswith("prior.")}
        try:
            self.prior.load_state_dict(own)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise CodecError(f"the prior in {source} does not fit this config ({reason}): use its config") from error

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["codec"] = self.codec.config()
        checkpoint["prior"] = self.prior.describe()

    def _validate(self, stage: str, batch: Batch) -> None:
        """Each item without its padding, at most levels."""
        codes = self.codec.encode(batch.signal, None, batch.shapes)
        bits = [self.prior.bits(item[STREAM]) for item in codes.items()]
        self.log(f"{stage}/loss", torch.stack(bits).mean(), batch_size=len(bits), sync_dist=True, prog_bar=True)
