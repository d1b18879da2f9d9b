"""A decoder of latents at a lower frame rate than its own (Mimi, https://arxiv.org/abs/2410.00037, section 3.3.1)."""

from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Decoder, DecoderFactory
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import State, TransposedConv, through


class UpsampledDecoder(Decoder):
    """n latents to n * stride, by a causal transposed convolution of kernel 2 * stride without bias, then decoded.

    Each channel is upsampled by itself, which Mimi's authors call an oversight and its published weights are made for.

    Args:
        dim, channels: of the latents and of the signal.
        strides: samples per latent, before it is upsampled.
        decoder: called with dim, channels and ``strides / stride``.
        stride: what ``DownsampledEncoder`` was given.

    Raises:
        CodecError: the stride does not divide the encoder's.
    """

    made_by_codec = {"decoder": ("dim", "channels", "strides")}

    def __init__(self, dim: int, channels: int, strides: Shape, decoder: DecoderFactory, stride: int = 2) -> None:
        super().__init__()
        if stride < 1 or strides[0] % stride:
            raise CodecError(f"stride {stride} does not divide the encoder's, {strides[0]}: give both the same")
        conv = nn.ConvTranspose1d(dim, dim, 2 * stride, stride, groups=dim, bias=False)
        self.upsample = TransposedConv(conv, causal=True)
        self.decoder = decoder(dim, channels, (strides[0] // stride,))

    def forward(self, latents: Float[Tensor, "b d n"]) -> Float[Tensor, "b c t"]:
        return self.decoder(self.upsample(latents))

    def start(self, batch: int) -> State:
        return State(parts=tuple(part.start(batch) for part in (self.upsample, self.decoder)))

    def step(self, x: Float[Tensor, "b d t"], state: State, last: bool) -> tuple[Float[Tensor, "b c n"], State]:
        return through((self.upsample, self.decoder), x, state, last)

    def reach(self, position: int) -> int:
        return self.upsample.reach(self.decoder.reach(position))
