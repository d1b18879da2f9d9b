"""Recurrent bottleneck of SEANet as EnCodec uses it (https://arxiv.org/abs/2210.13438, section 3.1)."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.layers.streamed import State, Streamed

LSTM_MODE = 2  # of cuDNN's kinds of recurrent networks


@torch.library.custom_op("neuralcodecs::lstm", mutates_args=())
def _lstm(x: Tensor, weights: list[Tensor], layers: int) -> Tensor:
    """Outputs ``(t b d)`` from a state of zeros, in one piece: a compiler would unroll every position."""
    if persists(x, weights[1].shape[1]):
        return layered(x, weights)
    zeros = x.new_zeros(layers, x.shape[1], weights[1].shape[1])
    output: Tensor = torch.lstm(x, (zeros, zeros), weights, True, layers, 0.0, False, False, False)[0]
    return output


@_lstm.register_fake
def _(x: Tensor, weights: list[Tensor], layers: int) -> Tensor:
    return x.new_empty(*x.shape[:2], weights[1].shape[1])


def persists(x: Float[Tensor, "t b d"], hidden: int) -> bool:
    """Whether cuDNN, given an LSTM as ``layered`` does, keeps its recurrent weights on the multiprocessors.

    torch asks it to only for one layer at a time, in float16, of such sizes, and on such devices
    (``ATen/native/cudnn/RNN.cpp``). Other kernels read the weights anew at each position.
    """
    if not x.is_cuda or x.dtype not in (torch.float16, torch.bfloat16):
        return False
    batch, dim = x.shape[1:]
    device = torch.cuda.get_device_properties(x.device)
    large = device.major >= 8 and device.minor != 6 and device.multi_processor_count >= 98
    return large and hidden % 128 == dim % 128 == batch % 8 == 0 and hidden <= 1024 and batch <= 128


def layered(x: Float[Tensor, "t b d"], weights: list[Tensor]) -> Float[Tensor, "t b e"]:
    """The LSTM of the op layer by layer in float16, which has more bits than bfloat16 and room for what tanh bounds."""
    y = x.half()
    for first in range(0, len(weights), 4):
        layer = [weight.to(torch.float16, copy=True) for weight in weights[first : first + 4]]
        dim, hidden = y.shape[2], layer[1].shape[1]
        if y.is_cuda:  # or cuDNN is given a copy in one block at each call, with a warning
            torch._cudnn_rnn_flatten_weight(layer, 4, dim, LSTM_MODE, hidden, 0, 1, False, False)
        zeros = y.new_zeros(1, y.shape[1], hidden)
        y = torch.lstm(y, (zeros, zeros), layer, True, 1, 0.0, False, False, False)[0]
    return y.to(x.dtype)


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
        positions = rearrange(latents, "b d t -> t b d")
        if torch.compiler.is_compiling() and not torch.is_grad_enabled():
            output = _lstm(positions, list(self.lstm.parameters()), self.lstm.num_layers)
        else:
            output, _ = self.lstm(positions)
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
