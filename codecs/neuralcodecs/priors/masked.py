"""A transformer over a grid that is coded in groups: MaskGIT's masked schedules, ZipAR's wavefront, plain raster.

M2T, https://arxiv.org/abs/2304.07313; UniMIC, https://arxiv.org/abs/2509.22570; ZipAR, https://arxiv.org/abs/2412.04062.

    begin, codes   --content: sees positions of its own and earlier times--+ keys and values
    "what is here" --query: sees positions of earlier times only-----------+--> logits of all levels of each position

Both streams pass the same layers (XLNet, https://arxiv.org/abs/1906.08237), so all groups are learned in one pass, and
a decoder computes every position twice: when it is asked for and when it is known. Known positions are not sent.
"""

from typing import cast

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from neuralcodecs.codes import Shape
from neuralcodecs.priors.arithmetic import check_alphabet
from neuralcodecs.priors.blocks import Block, Embeddings, Head, stack
from neuralcodecs.priors.export import export_embeddings, export_head, export_stack
from neuralcodecs.priors.grid import Schedule, offsets, table_size, times_of, visible
from neuralcodecs.priors.integer_masked import IntegerMasked
from neuralcodecs.priors.learned import LearnedPrior, bits_of

INPAINTED = 0.5
"""Share of the training batches in which the receiver has the surroundings of a box."""


class MaskedTransformer(LearnedPrior):
    """Codes of a grid in the groups of a schedule, each given all groups before and what the receiver has.

    Args:
        alphabet: sizes of the codebooks, each at most 4096; all levels of a position are coded at once.
        schedule: for example ``neuralcodecs.lm.orders.Masked`` or ``Wavefront``; part of the format.
        axes: of the grid: 1 for audio, 2 for pictures.
        dim, heads, layers: as of ``ParallelTransformer``.
        reach: distance in each axis up to which positions are told apart.
        conditions: alphabets of codes that the receiver has before, one of each at every position.
    """

    def __init__(
        self,
        alphabet: Shape,
        schedule: Schedule,
        axes: int = 2,
        dim: int = 128,
        heads: int = 4,
        layers: int = 4,
        reach: int = 8,
        conditions: Shape = (),
    ) -> None:
        super().__init__()
        self.alphabet = check_alphabet(alphabet)
        entries = table_size(axes, reach)
        self.schedule, self.reach, self.begin = schedule, reach, entries - 1
        self.sizes = (axes, dim, heads, layers, reach, tuple(conditions))
        self.embeddings = Embeddings(self.alphabet, dim)
        self.given = Embeddings(tuple(conditions), dim)
        self.asked = Embeddings((1,), dim)
        self.layers = stack(dim, heads, layers, entries)
        self.head = Head(self.alphabet, dim)

    def forward(
        self,
        codes: Int64[Tensor, "b q *grid"],
        cond: Int64[Tensor, "_ c *grids"] | None = None,
        known: Bool[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "b n q v"]:
        """Logits of all codes; those of known positions mean nothing."""
        grid, levels = tuple(codes.shape[2:]), codes.shape[1]
        flat = codes.flatten(2).transpose(1, 2)
        given = self.given(flat[..., :0] if cond is None else cond.flatten(2).transpose(1, 2)).sum(-2)
        begin = self.embeddings(codes.new_tensor(self.alphabet[:levels])).sum(-2).expand(len(codes), 1, -1)
        content = torch.cat([begin, self.embeddings(flat).sum(-2) + given], 1)
        query = self.asked(torch.zeros_like(flat[..., :1])).sum(-2) + given
        x = torch.cat([content, query], 1)
        seen, place = visible(times_of(self.schedule, grid, known), offsets(grid, self.reach), self.begin)
        seen, place = seen.to(x.device), place.to(x.device)
        for layer in self.layers:
            block = cast(Block, layer)
            x = block.attend(x, block.bias[:, place].masked_fill(~seen, -torch.inf))
        return self.head(x[:, content.shape[1] :].unsqueeze(-2).expand(-1, -1, levels, -1))

    def bits(
        self, codes: Int64[Tensor, "b q *grid"], cond: Int64[Tensor, "_ c *grids"] | None = None
    ) -> Float[Tensor, ""]:
        """In training every second time with known positions, those outside a box, which are told and do not count."""
        if not self.training or torch.rand(()) < 1 - INPAINTED:
            return super().bits(codes, cond)
        known = outside_box(tuple(codes.shape[2:]))
        bits = bits_of(self(codes, cond, known), codes.flatten(2))
        return bits[..., ~known].mean()

    def code_bits(
        self, codes: Int64[Tensor, "b q *grid"], cond: Int64[Tensor, "_ c *grids"] | None = None
    ) -> Float[Tensor, "b q *grid"]:
        return bits_of(self(codes, cond), codes.flatten(2)).view(codes.shape)

    def export(self) -> IntegerMasked:
        prior = IntegerMasked(self.alphabet, self.schedule, *self.sizes)
        for name in ("embeddings", "given", "asked"):
            export_embeddings(getattr(self, name), getattr(prior, name))
        export_stack(self.layers, prior.stack)
        export_head(self.head, prior.head)
        prior.seal()
        return prior


def outside_box(grid: Shape) -> Bool[Tensor, " n"]:
    """Positions outside a random box, which is nowhere empty."""
    known = torch.ones(grid, dtype=torch.bool)
    box = []
    for size in grid:
        low, high = sorted(torch.randint(0, size + 1, (2,)).tolist())
        box.append(slice(low, high) if high > low else slice(min(low, size - 1), min(low, size - 1) + 1))
    known[tuple(box)] = False
    return known.flatten()
