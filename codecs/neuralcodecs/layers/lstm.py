"""Recurrent bottleneck of SEANet as EnCodec uses it (https://arxiv.org/abs/2210.13438, section 3.1)."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


class ResidualLSTM(nn.Module):
    """Unidirectional LSTM over time, added to its input.

    Args:
        dim: channels, and width of the hidden state.
        layers: stacked LSTM layers, one residual connection around all of them.
    """

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dim, dim, layers)

    def forward(self, latents: Float[Tensor, "b d t"]) -> Float[Tensor, "b d t"]:
        output, _ = self.lstm(rearrange(latents, "b d t -> t b d"))
        return rearrange(output, "t b d -> b d t") + latents
