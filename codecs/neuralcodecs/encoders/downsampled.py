"""An encoder at a lower frame rate (Mimi, https://arxiv.org/abs/2410.00037, section 3.3.1)."""

from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Encoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import Conv, State, through


class DownsampledEncoder(Encoder):
    """n latents to ceil(n / stride), by a causal convolution of kernel 2 * stride without bias.

    What is missing at the ends repeats the first and the last latent, which are not zero in silence.

    Args:
        encoder: whose latents are thinned out, on one axis.
        stride: latents per new latent.

    Raises:
        CodecError: the stride is below 1.
    """

    def __init__(self, encoder: Encoder, stride: int = 2) -> None:
        super().__init__()
        if stride < 1:
            raise CodecError(f"stride {stride}: give at least 1")
        self.channels, self.dim, self.strides = encoder.channels, encoder.dim, (encoder.strides[0] * stride,)
        self.stride = stride
        self.encoder = encoder
        conv = nn.Conv1d(encoder.dim, encoder.dim, 2 * stride, stride, bias=False)
        self.downsample = Conv(conv, causal=True, pad_mode="replicate")

    def forward(self, signal: Float[Tensor, "b c t"]) -> Float[Tensor, "b d n"]:
        return self.downsample(self.encoder(signal))

    def frames(self, shape: Shape) -> Shape:
        (length,) = self.encoder.frames(shape)
        return (-(-length // self.stride),)

    def start(self, batch: int) -> State:
        return State(parts=tuple(part.start(batch) for part in (self.encoder, self.downsample)))

    def step(self, x: Float[Tensor, "b c t"], state: State, last: bool) -> tuple[Float[Tensor, "b d n"], State]:
        return through((self.encoder, self.downsample), x, state, last)

    def reach(self, position: int) -> int:
        return self.encoder.reach(self.downsample.reach(position))
