"""Log-mel spectrograms as latents: what vocoders are trained on (Vocos, https://arxiv.org/abs/2306.00814, 3)."""

import torch
from jaxtyping import Float
from torch import Tensor

from neuralcodecs.audio.spectral import STFT, MelScale
from neuralcodecs.codec import Encoder
from neuralcodecs.codes import Shape
from neuralcodecs.decoders.vocos import Padding
from neuralcodecs.errors import CodecError

FLOOR = 1e-7


class LogMelEncoder(Encoder):
    """Natural logarithm of mel magnitudes (HTK scale, clamped at 1e-7 below); nothing in it learns.

    Every channel's ``bands`` follow each other. Values lie in -16.1 to about 6. The end of the signal is mirrored up
    to whole hops; ``center`` makes one frame more than there are hops, ``same`` as many.

    Args:
        sample_rate: of the signal, in Hz.
        channels: of the signal.
        bands: mel bands per channel.
        window: samples of the Hann window.
        hop: samples from one frame to the next.
        padding: where the frames are, as for ``VocosDecoder``.
    """

    def __init__(
        self,
        sample_rate: int = 24000,
        channels: int = 1,
        bands: int = 100,
        window: int = 1024,
        hop: int = 256,
        padding: Padding = "center",
    ) -> None:
        super().__init__()
        if not 0 < hop <= window or bands < 1:
            raise CodecError(f"hop {hop}, window {window}, bands {bands}: give at least 1, no hop above the window")
        self.channels, self.dim, self.strides = channels, channels * bands, (hop,)
        self.more = {"center": 1, "same": 0}[padding]
        mirrored = {"center": window // 2, "same": (window - hop) // 2}[padding]
        self.transform = STFT(window, hop, mirrored, fill=True)
        self.mel = MelScale(sample_rate, window, bands)

    def forward(self, signal: Float[Tensor, "b c t"]) -> Float[Tensor, "b d n"]:
        (frames,) = self.frames(tuple(signal.shape[2:]))
        spectrum = self.transform(signal)[:, :, :frames]  # a signal too short to be mirrored was lengthened
        mel = self.mel(spectrum.abs())
        return torch.log(mel.clamp(min=FLOOR)).transpose(2, 3).flatten(1, 2)

    def frames(self, shape: Shape) -> Shape:
        (length,) = shape
        return (-(-length // self.strides[0]) + self.more,)
