"""A codec whose networks run compiled and as CUDA graphs, for many signals of few shapes on a GPU.

Python launches the hundreds of kernels of a codec, most of them small or bound by memory: compiled, chains of them are
one pass; replayed, all of them are one launch. Codes and signals are those of the same networks but for rounding.
"""

import copy
import gc
from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Codec, Decoder, Encoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError

MOST_SHAPES = 8
"""Graphs that a network keeps; each holds the memory of one batch."""


def accelerated(codec: Codec, dtype: torch.dtype = torch.float32, compiled: bool = True) -> Codec:
    """The codec for many whole signals of few shapes on a GPU. Its codes are the codec's, by which files are written.

    The first batch of a shape takes the time to compile (some 10 s for each network), later ones are replayed; of more
    than 8 shapes the least used are forgotten. On a CPU the networks run as ever. Raises CodecError for a generative
    decoder, a network that cannot be compiled, and another dtype than the codec's on a CPU.

    Args:
        codec: its quantizer is shared, and in its own dtype its networks, whose weights must then stay where they are.
        dtype: what encoder and decoder compute in, for example bfloat16. The quantizer keeps its own.
        compiled: whether ``torch.compile`` makes the networks, beside the graphs.
    """
    if codec.decoder.sampling is not None:
        raise CodecError("a generative decoder is run many times for one signal: it is not accelerated")
    if dtype != codec.dtype and codec.device.type == "cpu":
        # oneDNN with AMX, torch 2.11: a strided convolution of 2000 bfloat16 samples is off by 80 %, of 2003 it is not
        raise CodecError(f"on a CPU networks run in {codec.dtype}, which is safe: leave out {dtype}")
    encoder, decoder = codec.encoder, codec.decoder
    if dtype != codec.dtype:
        encoder, decoder = copy.deepcopy(encoder).to(dtype), copy.deepcopy(decoder).to(dtype)
    return codec.with_networks(FastEncoder(encoder.eval(), compiled), FastDecoder(decoder.eval(), compiled))


class FastEncoder(Encoder):
    """``encoder``, replayed; signals and latents in float32."""

    def __init__(self, encoder: Encoder, compiled: bool) -> None:
        super().__init__()
        self.channels, self.dim, self.strides = encoder.channels, encoder.dim, encoder.strides
        self.encoder = encoder
        self.replayed = Replayed(encoder, compiled)

    def forward(self, signal: Float[Tensor, "b c *space"]) -> Float[Tensor, "b d *grid"]:
        return self.replayed(signal)

    def frames(self, shape: Shape) -> Shape:
        return self.encoder.frames(shape)


class FastDecoder(Decoder):
    """``decoder``, replayed; latents and signals in float32."""

    def __init__(self, decoder: Decoder, compiled: bool) -> None:
        super().__init__()
        self.decoder = decoder
        self.replayed = Replayed(decoder, compiled)

    def forward(self, latents: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b c *space"]:
        return self.replayed(latents)


class Replayed:
    """A network as one CUDA graph for each shape of its input, in the dtype of its weights; float32 outside."""

    def __init__(self, network: nn.Module, compiled: bool) -> None:
        self.network, self.compiled = network, compiled
        self._recorded: OrderedDict[Shape, tuple[Tensor, Tensor, torch.cuda.CUDAGraph]] = OrderedDict()

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(next(self.network.parameters()).dtype).contiguous()  # as it lies in memory, so it is recorded
        if not x.is_cuda or torch.is_grad_enabled():
            return self.network(x).float()
        shape = tuple(x.shape)
        if shape not in self._recorded:
            self._recorded[shape] = self._record(x)
            if len(self._recorded) > MOST_SHAPES:
                self._recorded.popitem(last=False)
        self._recorded.move_to_end(shape)
        inside, outside, graph = self._recorded[shape]
        inside.copy_(x)
        graph.replay()
        return outside.to(torch.float32, copy=True)  # the next replay overwrites what it has given

    def _record(self, x: Tensor) -> tuple[Tensor, Tensor, torch.cuda.CUDAGraph]:
        network = torch.compile(self.network, dynamic=False) if self.compiled else self.network
        inside, graph = x.clone(), torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        # an LSTM is one operation of ours; shapes beyond the limit would run uncompiled without a word
        with torch._dynamo.config.patch(allow_rnn=True, recompile_limit=8 * MOST_SHAPES):
            try:
                with torch.cuda.stream(stream):
                    for _ in range(3):
                        network(inside)
            except torch._dynamo.exc.TorchDynamoException as error:
                reason = str(error).strip().splitlines()[0]
                raise CodecError(f"this network cannot be compiled ({reason}): use compiled=False") from error
            torch.cuda.current_stream().wait_stream(stream)
            gc.collect()  # a graph that nobody holds any more must not be destroyed while another is recorded
            with torch.cuda.graph(graph):
                outside = network(inside)
        return inside, outside, graph
