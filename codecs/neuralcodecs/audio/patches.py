"""Frozen features of spectrogram patches: AudioMAE's shape (https://arxiv.org/abs/2207.06405), as in SemantiCodec."""

from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from neuralcodecs.audio.mel import LogMelEncoder
from neuralcodecs.codec import Encoder
from neuralcodecs.codes import Shape
from neuralcodecs.errors import CodecError
from neuralcodecs.layers import EMBEDDING_STD, keep_variance, pad_to, vit_blocks


class PatchEncoder(Encoder):
    """Log-mel patches through a transformer that never learns; neighbours in frequency are stacked.

        log-mel (10 ms, 128 bands) -> 16 x 16 patches, positions -> transformer -> K patches as one latent

    A latent has ``width * stack`` channels; there are ``8 / stack`` of them per 160 ms, low bands first. Signals are at
    most ``seconds`` long: the codec cuts longer ones by ``OverlapAdd``. Without ``weights`` the network is random, a
    stand-in that keeps every shape and of which nothing can be learned but what random features tell.

    Args:
        width, depth, heads: of the transformer; AudioMAE: 768, 12, 12.
        stack: patches per latent, 1, 2, 4 or 8; SemantiCodec at 100, 50 and 25 tokens a second: 1, 2 and 4.
        seconds: longest signal.
        weights: safetensors file with the weights of a ``PatchEncoder``'s ``features`` of this size.

    Raises:
        CodecError: the file is missing, or its weights are not of this size.
    """

    bands, patch, hop, rate = 128, 16, 160, 16000

    def __init__(
        self,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        stack: int = 2,
        seconds: float = 10.24,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        rows = self.bands // self.patch
        if stack < 1 or rows % stack:
            raise CodecError(f"stack {stack}: give a divisor of the {rows} patches of a column")
        self.channels, self.dim, self.stack = 1, width * stack, stack
        column = self.patch * self.hop
        self.strides = (column * stack // rows,)
        self.columns = max(1, round(seconds * self.rate) // column)
        self.mel = LogMelEncoder(self.rate, 1, self.bands, 400, self.hop, "same")
        self.features = nn.ModuleDict(
            {
                "embed": keep_variance(nn.Conv2d(1, width, self.patch, self.patch)),
                "transformer": vit_blocks(width, depth, heads),
            }
        )
        self.positions = nn.Parameter(EMBEDDING_STD * torch.randn(self.columns * rows, width))
        self.weights = weights
        if weights is not None:
            self._load(Path(weights))
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "PatchEncoder":
        return super().train(False)  # frozen for good

    @torch.no_grad()
    def forward(self, signal: Float[Tensor, "b 1 t"]) -> Float[Tensor, "b d n"]:
        (frames,) = self.frames(tuple(signal.shape[2:]))
        whole = pad_to(signal, (frames * self.strides[0],))
        # about zero mean and unit variance, as AudioMAE's input has
        patches = self.features["embed"]((self.mel(whole)[:, None].transpose(2, 3) + 4.0) / 4.0)
        tokens = patches.flatten(2).transpose(1, 2)
        features = self.features["transformer"](tokens + self.positions[: tokens.shape[1]])
        return features.reshape(len(signal), frames, self.dim).transpose(1, 2)

    def frames(self, shape: Shape) -> Shape:
        (length,) = shape
        column = self.patch * self.hop
        columns = -(-length // column)
        if columns > self.columns:
            longest = self.columns * column / self.rate
            raise CodecError(f"{length} samples are more than {longest:g} s: give the codec an OverlapAdd segmenter")
        return (columns * column // self.strides[0],)

    def _load(self, path: Path) -> None:
        try:
            state = load_file(path)
            self.load_state_dict({f"features.{name}": value for name, value in state.items()}, strict=False)
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise CodecError(
                f"{path} holds no features of this size ({reason}): leave weights out, or fix it"
            ) from error
        missing = sorted({f"features.{n}" for n in self.features.state_dict()} - {f"features.{n}" for n in state})
        if missing:
            raise CodecError(f"{path} lacks {missing[0]} and {len(missing) - 1} more: give all weights of the features")
