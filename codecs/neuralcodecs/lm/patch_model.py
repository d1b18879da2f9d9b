"""Patches of codes, a transformer over patches and a small one within each: MEGABYTE, and RQ- or depth-transformers.

    codes, rows of a position side by side --patches--> outer transformer (shifted a patch) --> inner (shifted a code)

MEGABYTE: https://arxiv.org/abs/2305.07185; RQ-Transformer: https://arxiv.org/abs/2203.01941.
"""

import math

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.codes import Shape
from neuralcodecs.lm.network import CodeModel, Network, code_embedding, fresh_cache, heads, row_starts
from neuralcodecs.lm.sampling import Sampling


class PatchModel(CodeModel):
    """Positions in row-major order, the rows of each one after the other; ``positions`` of them are a patch.

    With ``positions`` 1 the outer transformer goes over frames and the inner one over levels; with one row of bytes a
    patch is ``positions`` bytes. Cost of attention: O((n / p)^2 + n p) for n codes in patches of p.

    Args:
        alphabet: size of each row's alphabet.
        axes: of the grid.
        outer: over patches.
        inner: within a patch.
        positions: of the grid in a patch.
    """

    starts: Tensor

    def __init__(
        self, alphabet: tuple[int, ...], axes: int, outer: Network, inner: Network, positions: int = 1
    ) -> None:
        super().__init__()
        self.alphabet = tuple(alphabet)
        self.positions = positions
        self.patch = len(alphabet) * positions
        self.embedding = code_embedding(self.alphabet, inner.width)
        self.join = nn.Linear(self.patch * inner.width, outer.width)
        self.start = nn.Parameter(torch.randn(outer.width) * 0.02)
        self.outer = outer.build()
        self.spread = nn.Linear(outer.width, self.patch * inner.width)
        self.inner = inner.build()
        self.outer_dropout, self.inner_dropout = nn.Dropout(outer.dropout), nn.Dropout(inner.dropout)
        self.heads = heads(self.alphabet, inner.width)
        self.register_buffer("starts", row_starts(self.alphabet), persistent=False)

    def forward(self, codes: Int64[Tensor, "b rows *grid"]) -> Float[Tensor, "b rows *grid"]:
        rows, positions = len(self.alphabet), math.prod(codes.shape[2:])
        padded = F.pad(codes.flatten(2), (0, -positions % self.positions))
        patches = rearrange(padded, "b q (n p) -> b n (p q)", p=self.positions)
        embedded = self.embedding(patches + self.starts.repeat(self.positions))
        before = self.join(embedded[:, :-1].flatten(2))
        start = self.start.expand(len(codes), 1, -1)
        outer = self._run(self.outer, self.outer_dropout(torch.cat([start, before], dim=1)))
        context = rearrange(self.spread(outer), "b n (p d) -> (b n) p d", p=self.patch)
        inner = self._run(self.inner, self.inner_dropout(context + self._shifted(embedded.flatten(0, 1))))
        targets = patches.flatten(0, 1)
        nats = torch.stack(
            [
                F.cross_entropy(
                    head(inner[:, row::rows]).float().transpose(1, 2), targets[:, row::rows], reduction="none"
                )
                for row, head in enumerate(self.heads)
            ],
            dim=1,
        )
        whole = rearrange(nats, "(b n) q p -> b q (n p)", b=len(codes))
        return whole[..., :positions].reshape(codes.shape)

    def steps(self, grid: Shape) -> int:
        patches = -(-math.prod(grid) // self.positions)
        return patches * (1 + self.patch)

    @torch.no_grad()
    def sample(
        self, grid: Shape, sampling: Sampling, count: int = 1, prompt: Int64[Tensor, "rows *known"] | None = None
    ) -> Int64[Tensor, "b rows *grid"]:
        device, rows, positions = self.starts.device, len(self.alphabet), math.prod(grid)
        generator, cache = sampling.generator(device), fresh_cache()
        known = F.pad(self.known(grid, prompt, device).flatten(1), (0, -positions % self.positions), value=0)
        ready = rearrange(known, "q (n p) -> n (p q)", p=self.positions)
        feed = self.start.expand(count, 1, -1)
        patches = []
        for given in ready:
            outer = self.outer(inputs_embeds=feed, past_key_values=cache, use_cache=True).last_hidden_state
            context = rearrange(self.spread(outer), "b 1 (p d) -> b p d", p=self.patch)
            codes = self._sample_patch(context, given, sampling, generator)
            patches.append(codes)
            feed = self.join(self.embedding(codes + self.starts.repeat(self.positions)).flatten(1))[:, None]
        whole = rearrange(torch.stack(patches, dim=1), "b n (p q) -> b q (n p)", q=rows)
        return whole[..., :positions].reshape(count, rows, *grid)

    def _sample_patch(
        self,
        context: Float[Tensor, "b p d"],
        given: Int64[Tensor, " p"],
        sampling: Sampling,
        generator: torch.Generator,
    ) -> Int64[Tensor, "b p"]:
        cache, rows, codes = fresh_cache(), len(self.alphabet), []
        before = self.embedding.weight[sum(self.alphabet)].expand(len(context), -1)
        for slot, code in enumerate(given.tolist()):
            step = (context[:, slot] + before)[:, None]
            hidden = self.inner(inputs_embeds=step, past_key_values=cache, use_cache=True).last_hidden_state
            row = slot % rows
            drawn = sampling.draw(self.heads[row](hidden), generator)[:, 0]
            codes.append(drawn if code < 0 else torch.full_like(drawn, code))
            before = self.embedding(codes[-1] + self.starts[row])
        return torch.stack(codes, dim=1)

    def _shifted(self, embedded: Float[Tensor, "n p d"]) -> Float[Tensor, "n p d"]:
        begin = self.embedding.weight[sum(self.alphabet)].expand(len(embedded), 1, -1)
        return torch.cat([begin, embedded[:, :-1]], dim=1)

    @staticmethod
    def _run(network: nn.Module, embedded: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        return network(inputs_embeds=embedded, use_cache=False).last_hidden_state
