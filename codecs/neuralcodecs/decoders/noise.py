"""WeTok's second stage: a CNN decoder that is given noise too and so learns to generate (https://arxiv.org/abs/2508.05599).

latents --first convolution--> + <--widening-- noise
                               |
                          the rest of the decoder, conditioned by the latents alone
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.codec import Decoder
from neuralcodecs.codes import Shape
from neuralcodecs.decoders.cnn import CNNDecoder
from neuralcodecs.layers import CONVS

CNNDecoderFactory = Callable[[int, int, tuple[int, ...]], CNNDecoder]


class NoiseDecoder(Decoder):
    """A CNN decoder whose first convolution has twice the inputs, the second half being standard normal noise.

    The second half's weights start at zero, so a fresh wrapper gives the decoder's own output. It loads the weights of
    that decoder alone as well as its own: name the first stage's checkpoint in the ``Stage``.

    Noise in training is torch's, fresh at each call (``CodecTask`` seeds it by batch). In evaluation it depends on
    ``seed``, the shape of the latents and nothing else: the same for each item of a batch and on every machine.

    Args:
        dim, channels, strides: as for every decoder.
        decoder: called with them.
        seed: of the noise in evaluation.
    """

    made_by_codec = {"decoder": ("dim", "channels", "strides")}

    def __init__(self, dim: int, channels: int, strides: Shape, decoder: CNNDecoderFactory, seed: int = 0) -> None:
        super().__init__()
        self.decoder = decoder(dim, channels, strides)
        width = self.decoder.first.out_channels
        self.widening = CONVS[len(strides)](dim, width, 3, padding=1, bias=False)
        nn.init.zeros_(self.widening.weight)
        self.seed = seed
        self.register_load_state_dict_pre_hook(_accept_first_stage)

    def forward(self, latents: Float[Tensor, "b d *grid"]) -> Float[Tensor, "b c *space"]:
        noise = torch.randn_like(latents) if self.training else fixed_noise(latents, self.seed)
        return self.decoder.finish(self.decoder.first(latents) + self.widening(noise), latents)


def fixed_noise(like: Float[Tensor, "b d *grid"], seed: int) -> Float[Tensor, "b d *grid"]:
    """Normal noise of a tensor's shape, equal for all items of the batch.

    Random integers of NumPy's Philox, whose stream is guaranteed, through the inverse normal distribution in float64.
    """
    count = like[0].numel()
    uniform = ((np.random.Philox(key=seed).random_raw(count) >> np.uint64(11)) + 0.5) * 2.0**-53
    normal = torch.special.ndtri(torch.from_numpy(uniform))
    return normal.to(like).view(1, *like.shape[1:]).expand_as(like)


def _accept_first_stage(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    own = f"{prefix}widening.weight"
    if own in state:
        return
    for name in [name for name in state if name.startswith(prefix)]:
        state[f"{prefix}decoder.{name.removeprefix(prefix)}"] = state.pop(name)
    weight: Any = module.get_parameter("widening.weight")
    state[own] = torch.zeros_like(weight)
