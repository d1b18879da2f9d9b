"""Codes of a signal that arrives in chunks, and the signal of codes that do: equal to those of the whole signal.

    encoder = codec.encoder_stream();  state = encoder.start()        decoder = codec.decoder_stream()
    codes, state = encoder.push(chunk, state)                         signal, state = decoder.push(codes, state)
    codes, state = encoder.flush(state)                               signal, state = decoder.flush(state)

A stream object holds no state, so it serves any number of streams. Codecs with a segmenter are streamed piece by
piece (``piecewise``), all others position by position (``layers.streamed``), their quantizers being pointwise.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from neuralcodecs.codes import Codes, Shape, Stream
from neuralcodecs.errors import CodecError
from neuralcodecs.layers.streamed import State, Streamed


class EncoderStream(ABC):
    """Codes of signals ``(b, channels, t)`` that arrive in chunks."""

    @abstractmethod
    def start(self, batch: int = 1) -> State:
        """The state of ``batch`` streams before their first sample."""

    @abstractmethod
    def advance(self, chunk: Float[Tensor, "b c t"], state: State, last: bool) -> tuple[Codes, State]:
        """Codes that are certain once ``chunk`` is known; with ``last``, all that are left."""

    @torch.no_grad()
    def push(self, chunk: Float[Tensor, "b c t"], state: State) -> tuple[Codes, State]:
        """Codes of the frames that ``chunk`` completes, ``(b, q, 0)`` if none; chunks may be of any size.

        Their ``shapes`` are the samples by which they lengthen the signal, so that all of them add up to its length.
        """
        rows, channels = state.tensors[0].shape[:2]
        if chunk.ndim != 3 or chunk.shape[:2] != (rows, channels):
            raise CodecError(f"chunk of shape {tuple(chunk.shape)}: this state is of ({rows}, {channels}, samples)")
        return self.advance(chunk, state, last=False)

    @torch.no_grad()
    def flush(self, state: State) -> tuple[Codes, State]:
        """The last codes, and the state that other signals start with."""
        end = state.tensors[0][..., :0]
        return self.advance(end, state, last=True)[0], self.start(len(end))

    def push_each(self, chunks: Sequence[Float[Tensor, "1 c _"]], states: Sequence[State]) -> list[tuple[Codes, State]]:
        """``push`` for single streams that started at any time; those at the same place go through as one batch."""
        results: dict[int, tuple[Codes, State]] = {}
        for members in alike([chunk.shape[-1] for chunk in chunks], states):
            batch = torch.cat([chunks[i] for i in members])
            codes, state = self.push(batch, State.stack([states[i] for i in members]))
            apart = state.split([1] * len(members))
            results |= zip(members, zip(codes.items(), apart, strict=True), strict=True)
        return [results[i] for i in range(len(results))]


class DecoderStream(ABC):
    """Signals of codes that arrive in chunks, as an ``EncoderStream`` gives them or cut anywhere between frames."""

    @abstractmethod
    def start(self, batch: int = 1) -> State:
        """The state of ``batch`` streams before their first codes."""

    @abstractmethod
    def advance(
        self, codes: Codes | None, added: int, state: State, last: bool
    ) -> tuple[Float[Tensor, "b c t"], State]:
        """The signal that is certain once ``codes`` are known, which lengthen it by ``added`` samples."""

    @torch.no_grad()
    def push(self, codes: Codes, state: State) -> tuple[Float[Tensor, "b c t"], State]:
        """What of the signal is certain now, ``(b, c, 0)`` if nothing.

        Raises CodecError when the codes lengthen the streams of the batch differently.
        """
        if len(set(codes.shapes)) != 1 or len(codes.shapes) != len(state.tensors[0]):
            raise CodecError(
                f"codes that lengthen {len(state.tensors[0])} streams by {list(codes.shapes)} samples: streams of one "
                "batch advance together; push them apart, or with push_each"
            )
        return self.advance(codes, codes.shapes[0][0], state, last=False)

    @torch.no_grad()
    def flush(self, state: State) -> tuple[Float[Tensor, "b c t"], State]:
        """The rest of the signal, and the state that other codes start with."""
        signal, _ = self.advance(None, 0, state, last=True)
        return signal, self.start(len(state.tensors[0]))

    def push_each(self, chunks: Sequence[Codes], states: Sequence[State]) -> list[tuple[Float[Tensor, "1 c _"], State]]:
        """``push`` for single streams that started at any time; those at the same place go through as one batch."""
        results: dict[int, tuple[Tensor, State]] = {}
        for members in alike([(c.shapes, c["codes"].shape) for c in chunks], states):
            signal, state = self.push(
                Codes.batch([chunks[i] for i in members]), State.stack([states[i] for i in members])
            )
            apart = zip(signal.split(1), state.split([1] * len(members)), strict=True)
            results |= zip(members, apart, strict=True)
        return [results[i] for i in range(len(results))]


class FrameEncoderStream(EncoderStream):
    """Frame by frame.

    Args:
        encoder: of ``channels`` on one axis.
        quantize: codes ``(b, q, n)`` of latents, each position by itself.
        alphabet: of the codes.
        hop: samples per frame.
    """

    def __init__(
        self, encoder: Streamed, channels: int, quantize: Callable[[Tensor], Tensor], alphabet: Shape, hop: int
    ) -> None:
        self.encoder, self.channels, self.quantize, self.alphabet, self.hop = encoder, channels, quantize, alphabet, hop

    def start(self, batch: int = 1) -> State:
        nothing = next(self.encoder.parameters()).new_zeros(batch, self.channels, 0)
        return State((nothing,), (0,), (self.encoder.start(batch),))

    def advance(self, chunk: Float[Tensor, "b c t"], state: State, last: bool) -> tuple[Codes, State]:
        latents, inner = self.encoder.step(chunk, state.parts[0], last)
        frames = latents.shape[-1]
        values = self.quantize(latents) if frames else no_codes(chunk, self.alphabet)
        waiting = state.phase[0] + chunk.shape[-1]
        added = waiting if last else frames * self.hop
        codes = Stream("codes", values, self.alphabet, ((frames,),) * len(chunk))
        return Codes((codes,), ((added,),) * len(chunk)), State(state.tensors, (waiting - added,), (inner,))


class FrameDecoderStream(DecoderStream):
    """Frame by frame.

    Args:
        decoder: of latents of ``dim`` channels to a signal of ``channels``.
        latents: of codes ``(b, q, n)``, each position by itself.
    """

    def __init__(self, decoder: Streamed, dim: int, channels: int, latents: Callable[[Tensor], Tensor]) -> None:
        self.decoder, self.dim, self.channels, self.latents = decoder, dim, channels, latents

    def start(self, batch: int = 1) -> State:
        weight = next(self.decoder.parameters())
        nothing = weight.new_zeros(batch, self.dim, 0), weight.new_zeros(batch, self.channels, 0)
        return State(nothing, (0,), (self.decoder.start(batch),))

    def advance(
        self, codes: Codes | None, added: int, state: State, last: bool
    ) -> tuple[Float[Tensor, "b c t"], State]:
        latents, beyond = state.tensors
        nothing = latents
        if codes is not None and codes["codes"].shape[-1]:
            latents = self.latents(codes["codes"])
        signal, inner = self.decoder.step(latents, state.parts[0], last)
        signal = torch.cat([beyond, signal], dim=-1)
        owed = state.phase[0] + added
        given = min(owed, signal.shape[-1])
        return signal[..., :given], State((nothing, signal[..., given:]), (owed - given,), (inner,))


def no_codes(like: Tensor, alphabet: Shape) -> Int64[Tensor, "b q 0"]:
    return torch.zeros(len(like), len(alphabet), 0, dtype=torch.int64, device=like.device)


def alike(sizes: Sequence[object], states: Sequence[State]) -> list[list[int]]:
    """The numbers of the streams that can go in one batch, for each such batch."""
    groups: dict[object, list[int]] = {}
    for index, (size, state) in enumerate(zip(sizes, states, strict=True)):
        groups.setdefault((size, state.signature()), []).append(index)
    return list(groups.values())


def joined_codes(chunks: Iterable[Codes]) -> Codes:
    """The codes of whole signals from all that a stream gave for them."""
    chunks = list(chunks)
    streams = []
    for parts in zip(*chunks, strict=True):
        values = torch.cat([part.values for part in parts], dim=-1)
        grids = (tuple(values.shape[2:]),) * len(values)
        streams.append(Stream(parts[0].name, values, parts[0].alphabet, grids))
    lengths = [sum(shape[0] for shape in shapes) for shapes in zip(*(c.shapes for c in chunks), strict=True)]
    return Codes(tuple(streams), tuple((length,) for length in lengths))
