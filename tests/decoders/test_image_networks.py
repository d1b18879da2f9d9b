"""CNN, ViT and light networks: published sizes, any height and width, gradients, batches, variance, conditioning."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import yaml
from image_networks import CNN, VIT, cnn_codec, picture, token_codec
from torch import Tensor, nn

from neuralcodecs import CodecError
from neuralcodecs.codec import Decoder, Encoder
from neuralcodecs.decoders import AdaptiveGroupNorm, CNNDecoder, LightDecoder, SpatialNorm, ViTDecoder
from neuralcodecs.encoders import CNNEncoder, ViTEncoder
from neuralcodecs.pretrained import build

SIZES = [(1, 1), (1, 19), (4, 4), (5, 3), (16, 24), (31, 33)]

NETWORKS: dict[str, Callable[[], tuple[Encoder, Decoder]]] = {
    "plain": lambda: cnn(),
    "attention": lambda: cnn({"attention": 2}),
    "space_to_depth": lambda: (CNNEncoder(dim=6, space_to_depth=True, **CNN), CNNDecoder(6, 3, (4, 4), **CNN)),
    "adagn": lambda: cnn(level_norm=AdaptiveGroupNorm),
    "movq": lambda: cnn({"attention": 1}, norm=SpatialNorm),
    "both": lambda: cnn(norm=SpatialNorm, level_norm=AdaptiveGroupNorm),
    "light": lambda: (CNNEncoder(dim=6, **CNN), LightDecoder(6, 3, (4, 4), width=8, blocks=1)),
    "vit": lambda: (ViTEncoder(dim=6, size=(32, 40), **VIT), ViTDecoder(6, 3, (32, 40), **VIT)),
}
everyone = pytest.mark.parametrize("name", NETWORKS)


def cnn(shared: dict | None = None, **norms: type) -> tuple[Encoder, Decoder]:
    encoder = CNNEncoder(dim=6, **CNN, **(shared or {}))
    return encoder, CNNDecoder(6, 3, encoder.strides, **CNN, **(shared or {}), **norms)


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("dim", "multipliers", "published"),
    [(32, (1, 1, 2, 2, 4), (198.9, 261.4)), (64, (1, 2, 2, 4), (193.7, 254.8)), (32, (1, 2, 2, 4), (193.6, 254.3))],
    ids=["192x", "24x", "48x"],
)
def test_wetok_parameter_counts(dim: int, multipliers: tuple[int, ...], published: tuple[float, float]) -> None:
    network = {"width": 256, "multipliers": multipliers, "blocks": 4}
    with torch.device("meta"):
        encoder = CNNEncoder(dim=dim, **network)
        decoder = CNNDecoder(dim, 3, encoder.strides, level_norm=AdaptiveGroupNorm, **network)
    assert (round(size(encoder) / 1e6, 1), round(size(decoder) / 1e6, 1)) == published


def test_light_decoder_has_the_published_parameters() -> None:
    with torch.device("meta"):
        assert size(LightDecoder(4, 3, (8, 8))) == 1_222_531


def test_titok_b_is_a_vit_b() -> None:
    """ViT-B's twelve blocks have 85.05 M parameters: 12 x 7,087,872, as in torchvision's and timm's."""
    with torch.device("meta"):
        encoder, decoder = ViTEncoder(), ViTDecoder(12, 3, (256, 256))
    blocks = 12 * 7_087_872
    outside = 768 * (3 * 256 + 1 + 256 + 64 + 64 + 4 + 12) + 12  # patches, positions, tokens, two norms, last
    assert size(encoder) == blocks + outside
    assert size(decoder) > blocks and encoder.frames((256, 256)) == (64,)


@everyone
@torch.no_grad()
def test_any_height_and_width(name: str) -> None:
    encoder, decoder = (part.eval() for part in NETWORKS[name]())
    for shape in SIZES:
        signal = picture(*shape, batch=2)
        latents = encoder(signal)
        assert latents.shape == (2, 6, *encoder.frames(shape))
        output = decoder(latents)
        assert output.shape[:2] == (2, 3) and output.isfinite().all()
        stride_or_less = [o - n for o, n in zip(output.shape[2:], shape, strict=True)]
        assert all(0 <= d < s for d, s in zip(stride_or_less, encoder.strides, strict=True))


@everyone
@torch.no_grad()
def test_a_picture_is_not_lost(name: str) -> None:
    """Also one of a single position per group: two pictures keep two latents, and two latents two outputs."""
    encoder, decoder = (part.eval() for part in NETWORKS[name]())
    for shape in ((1, 1), (16, 24)):
        one, other = encoder(picture(*shape, batch=2, top=100))
        assert (one - other).abs().max() > 1e-4
        one, other = decoder(torch.stack([one, other]))
        assert (one - other).abs().max() > 1e-5


@everyone
@torch.no_grad()
def test_a_batch_is_its_items(name: str) -> None:
    encoder, decoder = (part.eval() for part in NETWORKS[name]())
    signal = picture(13, 22, batch=3)
    latents = encoder(signal)
    output = decoder(latents)
    for i in range(3):
        torch.testing.assert_close(encoder(signal[i : i + 1]), latents[i : i + 1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(decoder(latents[i : i + 1]), output[i : i + 1], rtol=1e-4, atol=1e-5)


@everyone
def test_every_parameter_gets_a_gradient(name: str) -> None:
    encoder, decoder = NETWORKS[name]()
    (decoder(encoder(picture(16, 24, batch=2))) * torch.randn(2, 3, 1, 1)).square().sum().backward()
    network = nn.ModuleList([encoder, decoder])
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("name", ["plain", "adagn", "movq", "light", "vit"])
@torch.no_grad()
def test_fresh_networks_keep_the_scale_of_a_signal(name: str) -> None:
    """Neither vanishing nor growing: torch's own start leaves TAESD's decoder at 0.03."""
    encoder, decoder = NETWORKS[name]()
    latents = encoder(torch.randn(4, 3, 32, 40))
    assert 0.5 < latents.std() < 2
    assert 0.3 < decoder(torch.randn_like(latents)).std() < 3


@pytest.mark.parametrize("axes", [1, 2, 3])
@torch.no_grad()
def test_any_number_of_axes(axes: int) -> None:
    shape = (9, 6, 7)[:axes]
    encoder = CNNEncoder(2, 6, axes=axes, attention=1, **CNN)
    latents = encoder(torch.randn(1, 2, *shape))
    assert latents.shape[2:] == encoder.frames(shape)
    for decoder in (
        CNNDecoder(6, 2, encoder.strides, norm=SpatialNorm, level_norm=AdaptiveGroupNorm, **CNN),
        LightDecoder(6, 2, encoder.strides, 8, 1),
    ):
        assert decoder(latents).shape[2:] == tuple(4 * n for n in latents.shape[2:])
    vit = ViTEncoder(2, 6, (16,) * axes, **VIT)
    assert ViTDecoder(6, 2, vit.strides, **VIT)(vit(torch.randn(1, 2, *shape))).shape == (1, 2, *(16,) * axes)


@torch.no_grad()
def test_light_decoder_of_unequal_strides() -> None:
    assert LightDecoder(4, 1, (1, 8, 2), 8, 1)(torch.randn(1, 4, 2, 3, 5)).shape == (1, 1, 2, 24, 10)


@pytest.mark.parametrize("norm", [AdaptiveGroupNorm, SpatialNorm])
@torch.no_grad()
def test_conditioned_norms_are_what_they_say(norm: type) -> None:
    layer, x, latents = norm(32, 5, 2), torch.randn(2, 32, 8, 6), torch.randn(2, 5, 4, 3)
    plain = nn.functional.group_norm(x, 8, eps=1e-6)
    torch.testing.assert_close(layer(x, latents), plain)
    for parameter in (*layer.scale.parameters(), *layer.bias.parameters()):
        nn.init.normal_(parameter)
    deviation, mean = latents.std((2, 3), correction=0)[..., None, None], latents.mean((2, 3), keepdim=True)
    expanded = latents.repeat_interleave(2, 2).repeat_interleave(2, 3)
    seen = {AdaptiveGroupNorm: (deviation, mean), SpatialNorm: (expanded, expanded)}[norm]
    expected = apply(layer.scale, seen[0]) * plain + apply(layer.bias, seen[1])
    torch.testing.assert_close(layer(x, latents), expected, rtol=1e-4, atol=1e-4)


def apply(layer: nn.Module, x: Tensor) -> Tensor:
    weight, bias = layer.weight.flatten(1), layer.bias
    return torch.einsum("oi,bihw->bohw", weight, x) + bias[:, None, None]


def test_codecs_of_them_describe_themselves() -> None:
    for codec in (cnn_codec(), token_codec(), cnn_codec(partial(CNNDecoder, norm=SpatialNorm, **CNN))):
        config = yaml.safe_load(yaml.safe_dump(codec.config()))
        again = build(config, "a test")
        assert again.config() == codec.config()
        again.load_state_dict(codec.state_dict())
        signal = picture(20, 22)
        assert torch.equal(again.eval().decode(again.encode(signal)), codec.decode(codec.encode(signal)))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(CodecError, match=r"3 multipliers make strides of 4, the encoder's are \(8, 8\)"):
        CNNDecoder(4, 3, (8, 8), **CNN)
    with pytest.raises(CodecError, match="axes 4"):
        CNNEncoder(axes=4)
    with pytest.raises(CodecError, match="attention 6"):
        CNNEncoder(attention=6)
    with pytest.raises(CodecError, match=r"strides \(8, 12\)"):
        LightDecoder(4, 3, (8, 12))
    with pytest.raises(CodecError, match=r"size \(250, 256\) is no multiple of patch 16"):
        ViTEncoder(size=(250, 256))
    with pytest.raises(CodecError, match="width 30 is no multiple of heads 4"):
        ViTEncoder(size=(32, 32), width=30, heads=4)
    with pytest.raises(CodecError, match=r"shape \(33, 8\) does not fit .* Tiles segmenter"):
        ViTEncoder(size=(32, 32), **VIT)(torch.zeros(1, 3, 33, 8))
