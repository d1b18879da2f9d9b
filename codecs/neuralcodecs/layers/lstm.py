"""Recurrent bottleneck of SEANet as EnCodec uses it (https://arxiv.org/abs/2210.13438, section 3.1)."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.layers.streamed import State, Streamed


class ResidualLSTM(Streamed):
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

    def start(self, batch: int) -> State:
        weight = next(self.parameters())
        hidden = weight.new_zeros(batch, self.lstm.num_layers, self.lstm.hidden_size)
        return State((hidden, hidden))

    def step(self, x: Float[Tensor, "b d t"], state: State, last: bool) -> tuple[Float[Tensor, "b d t"], State]:
        if not x.shape[-1]:
            return x, state
        hidden, cell = (rearrange(rows, "b l d -> l b d").contiguous() for rows in state.tensors)
        output, memory = self.lstm(rearrange(x, "b d t -> t b d"), (hidden, cell))
        return rearrange(output, "t b d -> b d t") + x, State(tuple(rearrange(m, "l b d -> b l d") for m in memory))

    def reach(self, position: int) -> int:
        return position
