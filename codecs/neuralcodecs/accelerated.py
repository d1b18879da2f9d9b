"""A codec whose parts are replayed as CUDA graphs, its networks compiled, for many signals of few shapes on a GPU.

Python launches the hundreds of kernels of a codec, most of them small or bound by memory: compiled, chains of them are
one pass; replayed, all of them are one launch. Codes and signals are those of the same networks but for rounding.
"""

import copy
import warnings
from collections.abc import Callable, Hashable
from functools import cached_property, partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Codec, Decoder, Encoder, Quantized, Quantizer
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers.paths import Path, gpu_paths
from neuralcodecs.quantizers.wrapping import Transparent
from neuralcodecs.replayed import MOST_SHAPES, GraphPerShape, Work

PATHS: tuple[Path, ...] = ("rows",)
"""Networks go by rows and not ``fused``: the compiler makes such kernels itself, and cannot look into ours."""


def accelerated(codec: Codec, dtype: torch.dtype = torch.float32, compiled: bool = True) -> Codec:
    """The codec for many whole signals of few shapes on a GPU. Its codes are the codec's, by which files are written.

    The first batch of a shape takes the time to compile (some 10 s for each network), later ones are replayed; of more
    than 8 shapes the least used are forgotten. A quantizer that asks the host (coders do) goes on by Python, after a
    warning. On a CPU everything runs as ever. Raises CodecError for a generative decoder, a network that cannot be
    compiled, and another dtype than the codec's on a CPU.

    Args:
        codec: its quantizer is shared, and in its own dtype its networks; shared weights must stay where they are.
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
    fast = codec.with_networks(FastEncoder(encoder.eval(), compiled), FastDecoder(decoder.eval(), compiled))
    fast.quantizer = FastQuantizer(codec.quantizer)
    return fast


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


class FastQuantizer(Transparent):
    """``quantizer``, whose ``encode_streams`` and ``decode_streams`` are replayed; all else it does itself."""

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__(quantizer)
        self.encoding, self.decoding = Attempted(), Attempted()

    def forward(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> Quantized:
        quantized: Quantized = self.quantizer(latents, levels)
        return quantized

    def encode_streams(self, latents: Float[Tensor, "b d *grid"], levels: int | None = None) -> tuple[Tensor, ...]:
        return self.encoding(partial(self.quantizer.encode_streams, levels=levels), (latents,), levels)

    def widen(self, paths: int) -> None:
        super().widen(paths)
        self.encoding = Attempted()  # what is recorded is of the beam before

    def decode_streams(self, streams: tuple[Tensor, ...]) -> Float[Tensor, "b d *grid"]:
        return self.decoding(lambda *given: (self.quantizer.decode_streams(given),), streams)[0]


class Attempted:
    """Work that is replayed where it can be recorded, and from then on done by Python where it cannot."""

    def __init__(self) -> None:
        self.graphs = GraphPerShape()
        self._possible = True

    def __call__(self, work: Work, inputs: tuple[Tensor, ...], key: Hashable = None) -> tuple[Tensor, ...]:
        if not self._possible or torch.is_grad_enabled() or not all(x.is_cuda for x in inputs):
            return work(*inputs)
        try:
            return tuple(x.clone() for x in self.graphs(work, inputs, key))
        except RuntimeError as error:
            outputs = work(*inputs)  # what is wrong with the inputs is an error here, too, and no reason to give up
            self._possible = False
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"this quantizer is not replayed as a CUDA graph: {reason}", stacklevel=2)
            return outputs


class Replayed:
    """A network as one CUDA graph for each shape of its input, in the dtype of its weights; float32 outside."""

    def __init__(self, network: nn.Module, compiled: bool) -> None:
        self.network, self.compiled = network, compiled
        self.graphs = GraphPerShape()

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(next(self.network.parameters()).dtype)
        if not x.is_cuda or torch.is_grad_enabled():
            return self.network(x).float()
        (outside,) = self.graphs(self._launch, (x,))
        # a copy, since the next replay overwrites it; and not in rows, which are the network's own affair
        return outside.to(torch.float32, copy=True, memory_format=torch.contiguous_format)

    def _launch(self, x: Tensor) -> tuple[Tensor]:
        # an LSTM is one operation of ours; shapes beyond the limit would run uncompiled without a word
        with gpu_paths(PATHS), torch._dynamo.config.patch(allow_rnn=True, recompile_limit=8 * MOST_SHAPES):
            try:
                return (self._launched(x),)
            except torch._dynamo.exc.TorchDynamoException as error:
                reason = str(error).strip().splitlines()[0]
                raise CodecError(f"this network cannot be compiled ({reason}): use compiled=False") from error

    @cached_property
    def _launched(self) -> Callable[[Tensor], Tensor]:
        return torch.compile(self.network, dynamic=False) if self.compiled else self.network
