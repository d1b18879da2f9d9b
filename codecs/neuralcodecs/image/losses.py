"""Reconstruction losses of picture codecs, in fp32 under autocast: pixel distances and LPIPS."""

import warnings
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neuralcodecs.criteria import Loss
from neuralcodecs.errors import CodecError
from neuralcodecs.layers.frozen import Outside

BACKBONES = {"vgg": "vgg16-397923af.pth", "alex": "alexnet-owt-7be5be79.pth"}
"""torchvision's ImageNet weights, as found below https://download.pytorch.org/models/"""
SMALLEST = {"vgg": 16, "alex": 31}
"""Shortest side in pixels that the backbone can see."""


class L1(Loss):
    """Mean absolute difference of the pixels."""

    def forward(self, output: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
        return F.l1_loss(output.float(), target.float())


class MSE(Loss):
    """Mean squared difference of the pixels."""

    def forward(self, output: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
        return F.mse_loss(output.float(), target.float())


class LPIPS(Loss):
    """Learned perceptual image patch similarity, mean over the batch. https://arxiv.org/abs/1801.03924

    The package ``lpips`` computes it (version 0.1 linear heads, which it ships), in fp32, without resizing, on pictures
    in [-1, 1]; gray ones get three equal channels. Nothing is downloaded: the backbone's weights come from ``weights``.
    The network is in no checkpoint.

    Args:
        weights: torchvision's ImageNet weights of the backbone: ``vgg16-397923af.pth`` or ``alexnet-owt-7be5be79.pth``
            of https://download.pytorch.org/models/.
        network: the backbone. Training commonly takes ``vgg``, reported figures either: name it.

    Raises:
        CodecError: the file is missing, is not such weights, or ``lpips`` is not installed.
    """

    def __init__(self, weights: str, network: Literal["vgg", "alex"] = "vgg") -> None:
        super().__init__()
        self.smallest = SMALLEST[network]
        self.held = Outside(_network(Path(weights), network))

    def forward(self, output: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
        if min(output.shape[2:]) < self.smallest:
            raise CodecError(f"LPIPS of {tuple(output.shape[2:])} pixels: the shortest side must be {self.smallest}")
        with torch.autocast(output.device.type, enabled=False):
            ours, theirs = (x.float().expand(-1, 3, -1, -1) for x in (output, target))
            return self.held.network(ours, theirs).mean()


def load_weights(path: Path, what: str, remedy: str) -> dict[str, Tensor]:
    """Tensors of a ``.pth`` file, without unpickling anything else; CodecError with the remedy where there is none."""
    if not path.is_file():
        raise CodecError(f"{what}: no file {path}: {remedy}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load has no common base for what damaged or hostile files raise
        raise CodecError(f"{what}: {path} holds no weights that can be read safely: {remedy}") from error
    if not isinstance(state, dict):
        raise CodecError(f"{what}: {path} holds no weights by name: {remedy}")
    return state


def _network(path: Path, network: str) -> nn.Module:
    remedy = f"download https://download.pytorch.org/models/{BACKBONES[network]} and give its path"
    state = load_weights(path, "LPIPS", remedy)
    try:
        import lpips
        import torchvision
    except ImportError as error:
        raise CodecError(f"LPIPS needs more packages: pip install 'neuralcodecs[perceptual]' ({error})") from error
    build = {"vgg": torchvision.models.vgg16, "alex": torchvision.models.alexnet}[network]
    with torch.device("meta"):
        expected = build(weights=None).features.state_dict()
    features = {name.removeprefix("features."): value for name, value in state.items() if name.startswith("features.")}
    if {n: v.shape for n, v in features.items()} != {n: v.shape for n, v in expected.items()}:
        raise CodecError(f"LPIPS: {path} holds no weights of {network}: {remedy}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lpips calls torchvision by names that it will drop
        module = lpips.LPIPS(net=network, pnet_rand=True, verbose=False, eval_mode=True)
    # lpips cuts the features into slices and keeps their numbers: slice2.5.weight is features.5.weight
    module.net.load_state_dict({name: features[name.partition(".")[2]] for name in module.net.state_dict()})
    return module
