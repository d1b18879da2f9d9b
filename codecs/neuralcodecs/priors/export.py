"""Float transformers to the exact integers of PEM-24, by rounding; what it costs is measured."""

import math
from typing import cast

import torch
from torch import nn

from neuralcodecs.priors.arithmetic import (
    HIDDEN_BITS,
    LOGIT_BITS,
    NORM_BITS,
    QUERY_BITS,
    RESIDUAL,
    RESIDUAL_BITS,
    VALUE_BITS,
    rounded,
)
from neuralcodecs.priors.blocks import Block, Embeddings, Head
from neuralcodecs.priors.stack import IntegerBlock, IntegerEmbeddings, IntegerHead, IntegerStack

OCTAVES = math.log2(math.e)
"""Of one unit of a float logit or score."""


@torch.no_grad()
def export_stack(blocks: nn.Sequential, stack: IntegerStack) -> None:
    for block, integer in zip(blocks, stack.blocks, strict=True):
        _export_block(cast(Block, block), cast(IntegerBlock, integer))


@torch.no_grad()
def export_embeddings(embeddings: Embeddings, integer: IntegerEmbeddings) -> None:
    integer.vectors.copy_(rounded(embeddings.vectors.double() * 2**RESIDUAL_BITS).clamp(-RESIDUAL, RESIDUAL))


@torch.no_grad()
def export_head(head: Head, integer: IntegerHead) -> None:
    rows = len(head.linear.weight)
    integer.linear.fill(
        OCTAVES * head.linear.weight, OCTAVES * head.linear.bias, NORM_BITS, torch.full((rows,), LOGIT_BITS)
    )


def _export_block(block: Block, integer: IntegerBlock) -> None:
    dim = block.out.in_features
    # scores count octaves of the softmax: the factor is shared by query and key
    share = math.sqrt(OCTAVES / math.sqrt(dim / block.heads))
    factor = torch.tensor([share, share, 1.0], dtype=torch.float64).repeat_interleave(dim).to(block.bias.device)
    bits = torch.tensor([QUERY_BITS, QUERY_BITS, VALUE_BITS]).repeat_interleave(dim)
    integer.qkv.fill(block.qkv.weight * factor[:, None], block.qkv.bias * factor, NORM_BITS, bits)
    integer.out.fill(block.out.weight, block.out.bias, VALUE_BITS, torch.full((dim,), RESIDUAL_BITS))
    integer.rise.fill(block.rise.weight, block.rise.bias, NORM_BITS, torch.full((4 * dim,), HIDDEN_BITS))
    integer.fall.fill(block.fall.weight, block.fall.bias, HIDDEN_BITS, torch.full((dim,), RESIDUAL_BITS))
    integer.distances.copy_(rounded(OCTAVES * 2**LOGIT_BITS * block.bias.double()).clamp(-RESIDUAL, RESIDUAL))
