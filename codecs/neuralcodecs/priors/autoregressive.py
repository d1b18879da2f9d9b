"""Transformers that learn what codes follow those before (as in EnCodec, https://arxiv.org/abs/2210.13438, 3.3).

    ParallelTransformer     codes of frame t-1, summed embeddings --Stack over time--> logits of all levels of frame t
    FactorisedTransformer   ... --Stack over time--> + embedding of level k-1 of frame t --Stack over levels--> level k

The second is LMCodec's factorisation (https://arxiv.org/abs/2303.12984) made of two stacks as in RQ-Transformer
(https://arxiv.org/abs/2203.01941). Both are made of what PEM-24 computes exactly (``integer.py``): ReLU, RMS norm
without gain, a learned bias per distance. They are trained in float; files are coded with their export (``export.py``).
"""

from abc import abstractmethod

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuralcodecs.codes import Shape
from neuralcodecs.priors.arithmetic import check_alphabet
from neuralcodecs.priors.blocks import Embeddings, Head, stack
from neuralcodecs.priors.export import export_embeddings, export_head, export_stack
from neuralcodecs.priors.integer import IntegerPrior
from neuralcodecs.priors.integer_autoregressive import IntegerFactorised, IntegerParallel
from neuralcodecs.priors.learned import LearnedPrior, bits_of
from neuralcodecs.priors.prior import before


class TokenTransformer(LearnedPrior):
    """Logits of codes given those before; ``alphabet``: sizes of the codebooks, of which codes may have the first."""

    alphabet: Shape
    embeddings: Embeddings
    given: Embeddings
    time: nn.Sequential
    head: Head

    @abstractmethod
    def forward(
        self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"] | None = None
    ) -> Float[Tensor, "b n q v"]:
        """Logits of all codes, each from those before it only; -inf for symbols beyond a codebook's alphabet."""

    @abstractmethod
    def export(self) -> IntegerPrior:
        """The same network in exact integers, on the CPU: what codes files. Raises CodecError for huge weights."""

    def code_bits(
        self, codes: Int64[Tensor, "b q *grid"], cond: Int64[Tensor, "_ c *grids"] | None = None
    ) -> Float[Tensor, "b q *grid"]:
        """The grid is taken in row-major order, the last axis fastest."""
        flat = codes.flatten(2)
        return bits_of(self(flat, None if cond is None else cond.flatten(2)), flat).view(codes.shape)

    def _frames(self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"] | None) -> Float[Tensor, "b n d"]:
        """What the stack over time says of frames, given the codes before each."""
        given = codes[:, :0] if cond is None else cond
        x = self.embeddings(before(codes, self.alphabet)).sum(-2) + self.given(given.transpose(1, 2)).sum(-2)
        return self.time(x)

    def _fill(self, prior: IntegerPrior) -> None:
        export_embeddings(self.embeddings, prior.embeddings)
        export_embeddings(self.given, prior.given)
        export_stack(self.time, prior.time)
        export_head(self.head, prior.head)


class ParallelTransformer(TokenTransformer):
    """All levels of a frame at once, each independent of the others given the frames before.

    Args:
        alphabet: sizes of the codebooks, each at most 4096.
        dim: channels, at most 512. heads: must divide it. layers: of the stack.
        window: frames that a frame sees; EnCodec's 3.5 s are 262 at 75 Hz.
        conditions: alphabets of codes that the receiver has before (``TokenPrior``).
    """

    def __init__(
        self,
        alphabet: Shape,
        dim: int = 128,
        heads: int = 4,
        layers: int = 4,
        window: int = 262,
        conditions: Shape = (),
    ) -> None:
        super().__init__()
        self.alphabet = check_alphabet(alphabet)
        self.sizes = (dim, heads, layers, window, tuple(conditions))
        self.embeddings = Embeddings(self.alphabet, dim)
        self.given = Embeddings(tuple(conditions), dim)
        self.time = stack(dim, heads, layers, window)
        self.head = Head(self.alphabet, dim)

    def export(self) -> IntegerParallel:
        prior = IntegerParallel(self.alphabet, *self.sizes)
        self._fill(prior)
        prior.seal()
        return prior

    def forward(
        self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"] | None = None
    ) -> Float[Tensor, "b n q v"]:
        x = self._frames(codes, cond)
        return self.head(x.unsqueeze(-2).expand(-1, -1, codes.shape[1], -1))


class FactorisedTransformer(TokenTransformer):
    """Each level given the earlier levels of its frame and all levels of the frames before.

    Args:
        alphabet, dim, heads, layers, window, conditions: as of ``ParallelTransformer``.
        depth_layers: layers of the stack over the levels of one frame.
    """

    def __init__(
        self,
        alphabet: Shape,
        dim: int = 128,
        heads: int = 4,
        layers: int = 4,
        window: int = 262,
        depth_layers: int = 1,
        conditions: Shape = (),
    ) -> None:
        super().__init__()
        self.alphabet = check_alphabet(alphabet)
        self.sizes = (dim, heads, layers, window, depth_layers, tuple(conditions))
        self.embeddings = Embeddings(self.alphabet, dim)
        self.given = Embeddings(tuple(conditions), dim)
        self.time = stack(dim, heads, layers, window)
        # level k is told the code of level k - 1; the first is told nothing
        self.told = Embeddings((1, *self.alphabet[:-1]), dim)
        self.depth = stack(dim, heads, depth_layers, len(self.alphabet))
        self.head = Head(self.alphabet, dim)

    def export(self) -> IntegerFactorised:
        prior = IntegerFactorised(self.alphabet, *self.sizes)
        self._fill(prior)
        export_embeddings(self.told, prior.told)
        export_stack(self.depth, prior.depth)
        prior.seal()
        return prior

    def forward(
        self, codes: Int64[Tensor, "b q n"], cond: Int64[Tensor, "_ c m"] | None = None
    ) -> Float[Tensor, "b n q v"]:
        frames = self._frames(codes, cond)
        earlier = F.pad(codes[:, :-1], (0, 0, 1, 0)).transpose(1, 2)
        x = frames.unsqueeze(-2) + self.told(earlier)
        levels = self.depth(x.flatten(0, 1)).view_as(x)
        return self.head(levels)
