"""How the next code is chosen from a model's logits."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from neuralcodecs.errors import CodecError


@dataclass(frozen=True)
class Sampling:
    """A choice among likely codes.

    Args:
        temperature: below 1 sharper, above flatter; 0 takes the most likely code.
        top_k: only so many of the most likely; 0: all.
        top_p: only the most likely ones that have this probability together, in (0, 1].
        seed: of the choice; the same seed, model and device give the same codes.

    Raises:
        CodecError: a value out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise CodecError(
                f"temperature {self.temperature}, top-k {self.top_k}, top-p {self.top_p}: "
                "give at least 0, at least 0, and above 0 to 1"
            )

    def generator(self, device: torch.device) -> torch.Generator:
        """The source of a whole generation's choices."""
        return torch.Generator(device).manual_seed(self.seed)

    def draw(self, logits: Float[Tensor, "b n v"], generator: torch.Generator) -> Int64[Tensor, "b n"]:
        """A code for each of the ``b n`` distributions."""
        if self.temperature == 0:
            return logits.argmax(-1)
        ranked, ids = (logits.float() / self.temperature).sort(-1, descending=True)
        probabilities = ranked.softmax(-1)
        out = probabilities.cumsum(-1) - probabilities >= self.top_p
        if self.top_k:
            out[..., self.top_k :] = True
        kept = probabilities.masked_fill(out, 0.0)
        chosen = torch.multinomial(kept.flatten(0, 1), 1, generator=generator).view(*kept.shape[:-1], 1)
        return ids.gather(-1, chosen)[..., 0]
