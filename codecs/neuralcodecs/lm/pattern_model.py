"""A transformer over any pattern: embeddings of the codes just known are summed, and each row has a head.

    codes (b rows *grid) --sum of embeddings--> states (b n d) --transformer, the pattern's mask--> a head for each row

MusicGen: https://arxiv.org/abs/2306.05284; with a flat pattern an ordinary language model.
"""

from functools import lru_cache

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from neuralcodecs.codes import Shape
from neuralcodecs.lm.layout import FREQUENCIES, Layout
from neuralcodecs.lm.network import (
    CodeModel,
    Network,
    code_embedding,
    fresh_cache,
    heads,
    keep_in_cache,
    row_starts,
)
from neuralcodecs.lm.patterns import Pattern
from neuralcodecs.lm.sampling import Sampling

LAYOUTS = 8
"""Grid shapes whose layouts are remembered."""


class PatternModel(CodeModel):
    """One pass for each step of the pattern.

    Args:
        alphabet: size of each row's alphabet.
        axes: of the grid.
        pattern: which codes are known when.
        network: the transformer's size.
    """

    starts: Tensor

    def __init__(self, alphabet: tuple[int, ...], axes: int, pattern: Pattern, network: Network) -> None:
        super().__init__()
        self.alphabet = tuple(alphabet)
        self.pattern = pattern
        self.embedding = code_embedding(self.alphabet, network.width)
        self.row = nn.Embedding(len(alphabet), network.width)
        nn.init.normal_(self.row.weight, std=0.02)
        self.where = nn.Linear(axes * 2 * FREQUENCIES, network.width, bias=False)
        nn.init.normal_(self.where.weight, std=0.02)
        self.dropout = nn.Dropout(network.dropout)
        self.decoder = network.build()
        self.heads = heads(self.alphabet, network.width)
        self.register_buffer("starts", row_starts(self.alphabet), persistent=False)
        self._layout = lru_cache(LAYOUTS)(self._make_layout)

    def forward(self, codes: Int64[Tensor, "b rows *grid"]) -> Float[Tensor, "b rows *grid"]:
        layout = self._layout(tuple(codes.shape[2:]), codes.device)
        flat = codes.flatten(1)
        states = torch.arange(len(layout.inputs), device=codes.device)
        seen = None if layout.mask is None else layout.mask[None, None].expand(len(codes), 1, -1, -1)
        hidden = self.decoder(
            inputs_embeds=self._embed(layout, self._entries(codes), states),
            attention_mask=seen,
            position_ids=states[None],
            use_cache=False,
        ).last_hidden_state
        nats = torch.zeros(flat.shape, device=codes.device)
        for row, at, numbers in layout.due:
            logits = self.heads[row](hidden[:, at]).float()
            information = F.cross_entropy(logits.transpose(1, 2), flat[:, numbers], reduction="none")
            nats = nats.index_copy(1, numbers, information)
        return nats.view(codes.shape)

    def steps(self, grid: Shape) -> int:
        return self._layout(grid, self.starts.device).plan.count

    @torch.no_grad()
    def sample(
        self, grid: Shape, sampling: Sampling, count: int = 1, prompt: Int64[Tensor, "rows *known"] | None = None
    ) -> Int64[Tensor, "b rows *grid"]:
        device = self.starts.device
        layout, generator, cache = self._layout(grid, device), sampling.generator(device), fresh_cache()
        known = self.known(grid, prompt, device)
        codes = known.expand(count, *known.shape).clone().flatten(1)
        entries, known = self._entries(codes.clamp(min=0).view(count, *known.shape)), known.flatten()
        cached = 0
        for step in layout.steps():
            states = step.states.to(device)
            hidden = self.decoder(
                inputs_embeds=self._embed(layout, entries, states),
                attention_mask=step.mask[None, None].expand(count, 1, -1, -1),
                position_ids=states[None],
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
            if not step.kept.all():
                now = cached + step.kept.nonzero().flatten()
                keep_in_cache(cache, torch.cat([torch.arange(cached), now]).to(device))
            cached += int(step.kept.sum())
            for row, at, numbers in step.due:
                drawn = sampling.draw(self.heads[row](hidden[:, at]), generator)
                codes[:, numbers] = torch.where(known[numbers] < 0, drawn, known[numbers])
                entries[:, numbers] = codes[:, numbers] + self.starts[row]
        return codes.view(count, len(self.alphabet), *grid)

    def _make_layout(self, grid: Shape, device: torch.device) -> Layout:
        return Layout(self.pattern, grid, len(self.alphabet), device)

    def _entries(self, codes: Int64[Tensor, "b rows *grid"]) -> Int64[Tensor, "b entries"]:
        """The embedding's entry of each code, then those of the beginning and of nothing."""
        flat = (codes.flatten(2) + self.starts[:, None]).flatten(1)
        extra = sum(self.alphabet) + torch.arange(2, device=codes.device)
        return torch.cat([flat, extra.expand(len(codes), 2)], dim=1)

    def _embed(
        self, layout: Layout, entries: Int64[Tensor, "b _"], states: Int64[Tensor, " n"]
    ) -> Float[Tensor, "b n d"]:
        taken = self.embedding(entries[:, layout.inputs[states]]).sum(2)
        return self.dropout(taken + self.row(layout.row[states]) + self.where(layout.where[states]))
