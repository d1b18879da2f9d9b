"""What every language model of codes is made of: the contract, and a causal transformer of the transformers library.

Llama: https://arxiv.org/abs/2302.13971
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from neuralcodecs.codes import Shape
from neuralcodecs.configured import Configured
from neuralcodecs.errors import CodecError
from neuralcodecs.lm.sampling import Sampling

EXPANSION = 4
"""Width of a block's hidden layer, in widths of the network."""


class Network(Configured):
    """The size of a causal transformer: a Llama without embeddings.

    Args:
        width: of the hidden states; ``heads`` divides it.
        layers: number of blocks.
        heads: of the attention.
        dropout: of attention, and of what goes in.
    """

    def __init__(self, width: int = 256, layers: int = 6, heads: int = 4, dropout: float = 0.0) -> None:
        if width % (2 * heads):
            raise CodecError(f"width {width} is no multiple of twice {heads} heads: change one")
        self.width = width
        self.layers = layers
        self.heads = heads
        self.dropout = dropout

    def build(self) -> nn.Module:
        """A new one with random weights; its input is ``inputs_embeds``."""
        from transformers import LlamaConfig, LlamaModel

        config = LlamaConfig(
            vocab_size=1,
            hidden_size=self.width,
            intermediate_size=EXPANSION * self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            bos_token_id=None,
            eos_token_id=None,
            attention_dropout=self.dropout,
            attn_implementation="sdpa",
        )
        model = LlamaModel(config)
        model.embed_tokens = nn.Identity()  # codes have embeddings of their own, and an unused parameter breaks DDP
        return model


class CodeModel(Configured, nn.Module, ABC):
    """A probability of codes ``(rows, *grid)``: of each, given those that the model's order has before it.

    Made for ``alphabet``, the size of each row's alphabet, and ``axes`` of the grid. Each row has a head of its own
    alphabet's size, so a model cannot say a code that does not exist.
    """

    alphabet: Shape

    @abstractmethod
    def forward(self, codes: Int64[Tensor, "b rows *grid"]) -> Float[Tensor, "b rows *grid"]:
        """The information of each code, -log p in nats."""

    @abstractmethod
    def steps(self, grid: Shape) -> int:
        """Passes through the network, one after the other, that generation of a grid takes."""

    @abstractmethod
    def sample(
        self, grid: Shape, sampling: Sampling, count: int = 1, prompt: Int64[Tensor, "rows *known"] | None = None
    ) -> Int64[Tensor, "b rows *grid"]:
        """``count`` grids of codes. ``prompt``: the codes that each begins with, along the grid's first axis.

        Raises CodecError when the prompt does not fit the grid.
        """

    def known(
        self, grid: Shape, prompt: Int64[Tensor, "rows *known"] | None, device: torch.device
    ) -> Int64[Tensor, "rows *grid"]:
        """The grid with the prompt's codes, and -1 where there are none."""
        whole = torch.full((len(self.alphabet), *grid), -1, device=device)
        if prompt is not None:
            rows, first, *rest = prompt.shape
            if (rows, *rest) != (len(self.alphabet), *grid[1:]) or first > grid[0]:
                raise CodecError(
                    f"a prompt of {tuple(prompt.shape)} codes does not begin {(len(self.alphabet), *grid)}: "
                    "cut it, or ask for more"
                )
            whole[:, :first] = prompt.to(device)
        return whole


ModelFactory = Callable[[tuple[int, ...], int], CodeModel]


def code_embedding(alphabet: Shape, width: int) -> nn.Embedding:
    """One entry for each code of each row, one for the beginning, and a last one of zeros."""
    embedding = nn.Embedding(sum(alphabet) + 2, width, padding_idx=sum(alphabet) + 1)
    nn.init.normal_(embedding.weight, std=0.02)
    with torch.no_grad():
        embedding.weight[-1].zero_()
    return embedding


def row_starts(alphabet: Shape) -> Int64[Tensor, " rows"]:
    """The embedding's entry of each row's code 0."""
    return torch.tensor([sum(alphabet[:row]) for row in range(len(alphabet))])


def heads(alphabet: Shape, width: int) -> nn.ModuleList:
    """Hidden states to logits, for each row."""
    made = [nn.Linear(width, size, bias=False) for size in alphabet]
    for head in made:
        nn.init.normal_(head.weight, std=0.02)
    return nn.ModuleList(made)


def fresh_cache() -> Any:
    """An empty key-value cache."""
    from transformers import DynamicCache

    return DynamicCache()


def keep_in_cache(cache: Any, entries: Int64[Tensor, " n"]) -> None:
    """Drop all other entries of a cache."""
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[:, :, entries], layer.values[:, :, entries]
