"""How a generative decoder is run: seed, number of steps and guidance, in the decoder, in a file and by the user.

A file names its seed and its number of steps, so that it decodes to the same signal everywhere; whoever decodes may
override them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from neuralcodecs.errors import CodecError

MOST_STEPS = 1000
"""Bounds the time that a forged file can ask for."""
LARGEST_GUIDANCE = 100.0
SEED, STEPS = "seed", "steps"
"""Keys of a file's metadata."""


@dataclass(frozen=True)
class Sampling:
    """What one decode of a generative decoder is a function of, beside the codes; None takes the default.

    ``seed``: of the noise, 0 to 2**63 - 1. ``steps``: of the solver, 1 to 1000. ``guidance``: scale of the condition,
    0 to 100; 1 is the condition as it was trained. Raises CodecError for values outside.
    """

    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None

    def __post_init__(self) -> None:
        if self.seed is not None and not (type(self.seed) is int and 0 <= self.seed < 2**63):
            raise CodecError(f"seed {self.seed!r}: give a whole number from 0 to 2**63 - 1")
        if self.steps is not None and not (type(self.steps) is int and 1 <= self.steps <= MOST_STEPS):
            raise CodecError(f"{self.steps!r} steps: give a whole number from 1 to {MOST_STEPS}")
        if self.guidance is not None and not 0 <= self.guidance <= LARGEST_GUIDANCE:  # False for NaN too
            raise CodecError(f"guidance {self.guidance!r}: give a number from 0 to {LARGEST_GUIDANCE:g}")

    def over(self, default: "Sampling") -> "Sampling":
        """This, with the default's value wherever it has none."""
        mine = (self.seed, self.steps, self.guidance)
        theirs = (default.seed, default.steps, default.guidance)
        seed, steps, guidance = (b if a is None else a for a, b in zip(mine, theirs, strict=True))
        return Sampling(seed, steps, guidance)  # type: ignore[arg-type]

    def whole(self) -> tuple[int, int, float]:
        """Seed, steps and guidance; CodecError where one is still open."""
        if self.seed is None or self.steps is None or self.guidance is None:
            raise CodecError(f"{self}: seed, steps and guidance must all be known to decode")
        return self.seed, self.steps, self.guidance

    def metadata(self) -> dict[str, object]:
        """What a file says of it."""
        return {key: value for key, value in ((SEED, self.seed), (STEPS, self.steps)) if value is not None}

    @staticmethod
    def of(metadata: Mapping[str, object] | None) -> "Sampling":
        """What a file's metadata says; nothing is said by files of deterministic decoders."""
        seed, steps = ((metadata or {}).get(key) for key in (SEED, STEPS))
        return Sampling(seed, steps)  # type: ignore[arg-type]


NO_SAMPLING = Sampling()


class Sampled:
    """The part of a decoder's contract that generative ones fill in; a deterministic decoder ignores a file's seed.

    ``sampling``: what it decodes with by default; None says that it is deterministic.
    ``embeds_guidance``: whether its network takes the guidance as an input.
    """

    sampling: Sampling | None = None
    embeds_guidance: bool = False

    def said(self, metadata: Mapping[str, object] | None) -> Sampling:
        """What a file's metadata says of its decoding; a deterministic decoder does not read it."""
        return NO_SAMPLING if self.sampling is None else Sampling.of(metadata)

    def choose(self, wanted: Sampling, said: Sampling) -> Sampling:
        """What the user wants, else what the file says; CodecError for a wish that a deterministic decoder has not."""
        if self.sampling is None and wanted != NO_SAMPLING:
            raise CodecError("this model's decoder is deterministic: leave out steps, guidance and seed")
        return NO_SAMPLING if self.sampling is None else wanted.over(said)

    def decode(self, latents: Float[Tensor, "b d *grid"], sampling: Sampling) -> Float[Tensor, "b c *space"]:
        """The signal of latents, the same for every item that has the same latents."""
        return self(latents)  # type: ignore[operator]

    def loss(self, signal: Float[Tensor, "b c *space"], latents: Float[Tensor, "b d *grid"]) -> dict[str, Tensor]:
        """Scalar losses by name whose gradients teach the decoder the distribution of signals given latents.

        Random numbers are torch's global ones. Raises CodecError for a deterministic decoder.
        """
        raise self._deterministic("Denoise")

    def follow(
        self,
        teacher: "Sampled",
        signal: Float[Tensor, "b c *space"],
        latents: Float[Tensor, "b d *grid"],
        span: tuple[float, float],
        guidance: tuple[float, float],
    ) -> dict[str, Tensor]:
        """Losses that teach it to go in one step where two of the teacher's lead, ``span`` of the way."""
        raise self._deterministic("Distill")

    def lead(
        self,
        latents: Float[Tensor, "b d *grid"],
        x: Float[Tensor, "b r *grid2"],
        times: Float[Tensor, "n b"],
        guidance: Float[Tensor, " b"],
    ) -> Float[Tensor, "b r *grid2"]:
        """Where steps at ``times`` of an item's own take it from ``x`` at the first to the last of them."""
        raise self._deterministic("Distill")

    def _deterministic(self, objective: str) -> CodecError:
        return CodecError(
            f"{type(self).__name__} is deterministic, and {objective} trains generative decoders: use Reconstruct"
        )
