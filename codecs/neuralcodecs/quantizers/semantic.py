"""A frozen semantic codebook, and a second one that is told its choice: SemantiCodec's pair
(https://arxiv.org/abs/2405.00233, sections III.B and III.C).
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.codec import Quantized, Quantizer, QuantizerFactory
from neuralcodecs.errors import CodecError
from neuralcodecs.layers.distributed import copy_from_first_rank
from neuralcodecs.quantizers.gathered import Gathered
from neuralcodecs.quantizers.kmeans import kmeans
from neuralcodecs.quantizers.numerics import at_least_float32, checked_levels, straight_through
from neuralcodecs.quantizers.search import nearest
from neuralcodecs.quantizers.usage import codebook_statistics

POOL = 2**16
"""Most vectors that k-means is fitted to, per process."""


class NestedKMeans(Quantizer):
    """Centroids of features that are given, fitted once; the first of them are codebooks of smaller sizes.

    The vectors of the first ``gather`` training steps are clustered, for each size those beyond the smaller one around
    what is there; nothing moves after that, and no gradient reaches it. Until then a run's checkpoints hold the vectors
    (``gathered``), so that it ends alike wherever it is resumed. In training a size is drawn per batch, so that
    what follows learns them all; in evaluation ``size`` is used. Codes of any size are read alike.

    Args:
        dim: channels of the features.
        sizes: of the codebooks, ascending; the alphabet is the largest.
        size: used outside training; None for the largest.
        gather: training steps to cluster; with several processes the first one's vectors are.
        iterations: of k-means.
    """

    centroids: Tensor
    steps: Tensor

    def __init__(
        self,
        dim: int,
        sizes: tuple[int, ...] = (4096, 8192, 16384, 32768),
        size: int | None = None,
        gather: int = 10,
        iterations: int = 20,
    ) -> None:
        super().__init__()
        if not sizes or sizes[0] < 2 or list(sizes) != sorted(set(sizes)) or (size is not None and size not in sizes):
            raise CodecError(f"sizes {sizes} must ascend from at least 2, and size {size} be one of them")
        self.dim, self.sizes, self.size = dim, tuple(sizes), size or sizes[-1]
        self.gather, self.iterations = gather, iterations
        self.codebook_sizes, self.levels = (sizes[-1],), (1,)
        self.register_buffer("centroids", torch.randn(sizes[-1], dim))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.pool = Gathered()

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        size = self.size
        if self.training:
            size = self.sizes[int(torch.randint(len(self.sizes), ()))]
            if int(self.steps) < self.gather:
                self.pool.parts.append(self._vectors(latents.detach()))
        codes = self._encode(latents, size)
        output = straight_through(latents, self.decode(codes))
        return Quantized(output, codes, {}, codebook_statistics(codes, self.codebook_sizes))

    def encode(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Int64[Tensor, "b 1 *grid"]:
        checked_levels(levels, 1)
        return self._encode(latents, self.size)

    def decode(self, codes: Int64[Tensor, "b 1 *grid"]) -> Float[Tensor, "b d *grid"]:
        return F.embedding(codes[:, 0], self.centroids).movedim(-1, 1)

    @property
    def settled(self) -> bool:
        return False  # asks the host in every forward how far it is

    @torch.no_grad()
    def update(self) -> None:
        if int(self.steps) >= self.gather:
            return
        self.steps += 1
        if int(self.steps) == self.gather and self.pool.parts:
            self._fit(torch.cat([part.to(self.centroids.device) for part in self.pool.parts])[:POOL])
            copy_from_first_rank([self.centroids])
            self.pool.parts = []

    def discard(self) -> None:
        self.pool.parts = self.pool.parts[:-1]

    def _fit(self, vectors: Float[Tensor, "n d"]) -> None:
        """For each size, new centroids of what the smaller codebook serves worst."""
        done = 0
        for size in self.sizes:
            weights = vectors.new_ones(len(vectors))
            if done:
                codebook = self.centroids[:done]
                weights = (vectors - codebook[nearest(vectors, codebook)]).square().sum(-1)
            new, _ = kmeans(vectors, weights, size - done, self.iterations, self.steps)
            self.centroids[done:size] = new
            done = size

    @torch.no_grad()
    def _encode(self, latents: Float[Tensor, "b d *grid"], size: int) -> Int64[Tensor, "b 1 *grid"]:
        indices = nearest(self._vectors(latents), self.centroids[:size])
        return indices.view(len(latents), 1, *latents.shape[2:])

    def _vectors(self, latents: Float[Tensor, "b d *grid"]) -> Float[Tensor, "n d"]:
        return at_least_float32(latents).movedim(1, -1).reshape(-1, self.dim).float()


class Conditional(Quantizer):
    """Semantic codes of the features, and acoustic codes of a network that sees the features and the semantic choice.

        features --semantic--> E_s                                       quantized latents: E_a and E_s, side by side
        features, E_s --bidirectional LSTM--> linear --acoustic--> E_a

    The latents' first half are the features; the second is room for the result (``SpareEncoder(spare=-1)``). Codes of
    the semantic codebook come first. At one level there are no acoustic codes, and E_a is zero.

    Args:
        dim: channels of the latents, twice those of the features.
        semantic: called with half of them.
        acoustic: the same.
        layers: of the LSTM; published: 4, 3 and 2 at 100, 50 and 25 tokens a second, of twice the features' width.
        hidden: of the LSTM, both directions together; None for twice the features' width.
    """

    made_by_codec = {"semantic": ("dim",), "acoustic": ("dim",)}

    def __init__(
        self,
        dim: int,
        semantic: QuantizerFactory,
        acoustic: QuantizerFactory,
        layers: int = 3,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        if dim % 2:
            raise CodecError(f"dim {dim}: half of it are features, give the encoder SpareEncoder(spare=-1)")
        self.dim, self.features = dim, dim // 2
        self.semantic, self.acoustic = semantic(self.features), acoustic(self.features)
        hidden = hidden or dim
        self.network = nn.LSTM(dim, hidden // 2, layers, batch_first=True, bidirectional=True)
        self.last = nn.Linear(2 * (hidden // 2), self.features, bias=False)
        self.first = len(self.semantic.codebook_sizes)
        self.codebook_sizes = (*self.semantic.codebook_sizes, *self.acoustic.codebook_sizes)
        self.levels = (len(self.codebook_sizes),)

    def forward(self, latents: Float[Tensor, "b d n"], levels: int | None = None) -> Quantized:
        further = self._further(levels)
        semantic = self.semantic(latents[:, : self.features])
        if not further:
            return semantic._replace(latents=torch.cat([torch.zeros_like(semantic.latents), semantic.latents], dim=1))
        acoustic = self.acoustic(self._told(latents, semantic.latents), further)
        both = semantic.statistics.keys() & acoustic.statistics.keys()
        statistics = {name: torch.cat([semantic.statistics[name], acoustic.statistics[name]]) for name in sorted(both)}
        output = torch.cat([acoustic.latents, semantic.latents], dim=1)
        codes = torch.cat([semantic.codes, acoustic.codes], dim=1)
        return Quantized(output, codes, semantic.losses | acoustic.losses, statistics)

    def encode(self, latents: Float[Tensor, "b d n"], levels: int | None = None) -> Int64[Tensor, "b q n"]:
        further = self._further(levels)
        semantic = self.semantic.encode(latents[:, : self.features])
        if not further:
            return semantic
        told = self._told(latents, self.semantic.decode(semantic))
        return torch.cat([semantic, self.acoustic.encode(told, further)], dim=1)

    def decode(self, codes: Int64[Tensor, "b q n"]) -> Float[Tensor, "b d n"]:
        semantic = self.semantic.decode(codes[:, : self.first])
        acoustic = codes[:, self.first :]
        told = self.acoustic.decode(acoustic) if acoustic.shape[1] else torch.zeros_like(semantic)
        return torch.cat([told, semantic], dim=1)

    @property
    def settled(self) -> bool:
        return self.semantic.settled and self.acoustic.settled

    def update(self) -> None:
        self.semantic.update()
        self.acoustic.update()

    def discard(self) -> None:
        self.semantic.discard()
        self.acoustic.discard()

    def _told(self, latents: Float[Tensor, "b d n"], semantic: Float[Tensor, "b e n"]) -> Float[Tensor, "b e n"]:
        seen = torch.cat([latents[:, : self.features], semantic.detach()], dim=1).transpose(1, 2)
        return self.last(self.network(seen)[0]).transpose(1, 2)

    def _further(self, levels: int | None) -> int:
        levels = checked_levels(levels, len(self.codebook_sizes))
        if levels < self.first:
            raise CodecError(f"{levels} levels asked for, this quantizer has {self.first} that are always in use")
        return levels - self.first
