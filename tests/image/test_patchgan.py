"""PatchGAN: the published layers, the stated initial weights, and what its norms make of a joint batch."""

import pytest
import torch
from torch import Tensor, nn

from neuralcodecs.errors import CodecError
from neuralcodecs.image.discriminators import BlurredConv, PatchGAN, StridedConv
from neuralcodecs.training.adversary import Adversary
from neuralcodecs.training.combine import WeightedSum
from neuralcodecs.training.terms import Output


def published(filters: int, layers: int) -> nn.Sequential:
    """pix2pix's layer list: kernel 4, padding 1, no bias before batch norm."""
    stack: list[nn.Module] = [nn.Conv2d(3, filters, 4, 2, 1), nn.LeakyReLU(0.2)]
    width = filters
    for n in range(1, layers + 1):
        wider = filters * min(2**n, 8)
        stride = 2 if n < layers else 1
        stack += [nn.Conv2d(width, wider, 4, stride, 1, bias=False), nn.BatchNorm2d(wider), nn.LeakyReLU(0.2)]
        width = wider
    return nn.Sequential(*stack, nn.Conv2d(width, 1, 4, 1, 1))


@pytest.mark.parametrize("layers", [1, 3, 5])
def test_it_equals_the_published_one(layers: int) -> None:
    ours, theirs = PatchGAN(filters=4, layers=layers), published(4, layers)
    convs = [m for m in ours.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in ours.modules() if isinstance(m, nn.BatchNorm2d)]
    for own, other in zip(convs, (m for m in theirs if isinstance(m, nn.Conv2d)), strict=True):
        other.weight.data.copy_(own.weight.data)
        if other.bias is not None:
            other.bias.data.copy_(own.bias.data)
    for own, other in zip(norms, (m for m in theirs if isinstance(m, nn.BatchNorm2d)), strict=True):
        other.load_state_dict(own.state_dict())
    picture = torch.randn(2, 3, 99, 130)
    (verdict,) = ours(picture)
    torch.testing.assert_close(verdict.logits, theirs(picture), rtol=1e-4, atol=1e-5)
    assert len(verdict.features) == layers + 1


def test_the_published_size() -> None:
    assert sum(p.numel() for p in PatchGAN().parameters()) == 2_765_633
    assert PatchGAN()(torch.zeros(2, 3, 256, 256))[0].logits.shape == (2, 1, 30, 30)


def test_weights_are_drawn_as_stated() -> None:
    for down in (StridedConv, BlurredConv):
        judge = PatchGAN(down=down)
        for module in judge.modules():
            if isinstance(module, nn.Conv2d):
                assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
                assert module.weight.mean().abs() < 0.002 and (module.bias is None or not module.bias.any())
            if isinstance(module, nn.BatchNorm2d):
                assert module.weight.mean().item() == pytest.approx(1, abs=0.01) and not module.bias.any()
                assert 0 < module.weight.std().item() < 0.04


def test_a_logit_sees_70_pixels() -> None:
    judge = PatchGAN(filters=4, norm=nn.InstanceNorm2d).eval()
    for stage in judge.stages:
        for index, module in enumerate(stage):
            if isinstance(module, nn.InstanceNorm2d):
                stage[index] = nn.Identity()
    picture = torch.randn(1, 3, 256, 256, requires_grad=True)
    (gradient,) = torch.autograd.grad(judge(picture)[0].logits[0, 0, 15, 15], picture)
    rows = gradient.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    assert rows.max() - rows.min() + 1 == 70


def test_blurring_keeps_the_size_and_lets_flat_areas_pass() -> None:
    layer = BlurredConv(3, 5)
    for size in (16, 17, 33):
        assert (
            layer(torch.zeros(1, 3, size, size + 1)).shape == StridedConv(3, 5)(torch.zeros(1, 3, size, size + 1)).shape
        )
    assert "kernel" not in layer.state_dict() and layer.kernel.sum(dim=(1, 2, 3)).allclose(torch.ones(5))
    sharp, smooth = (torch.zeros(1, 1, 64, 64) for _ in range(2))
    sharp[..., ::2] = 1.0  # the highest frequency: a stride of 2 alone would take it for a flat area
    smooth += 0.5
    layer = BlurredConv(1, 1)
    layer.conv.weight.data.zero_()[0, 0, 1, 1] = 1.0
    layer.conv.bias.data.zero_()
    inside = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(layer(sharp)[inside], layer(smooth)[inside])


def test_verdicts_are_independent_with_instance_norm_and_joint_with_batch_norm() -> None:
    pictures = torch.randn(4, 3, 64, 64)
    alone, joint = PatchGAN(filters=4, norm=nn.InstanceNorm2d), PatchGAN(filters=4)
    torch.testing.assert_close(alone(pictures)[0].logits[:1], alone(pictures[:1])[0].logits, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(joint(pictures)[0].logits[:1], joint(pictures[:1])[0].logits, atol=1e-3)


@pytest.mark.parametrize("down", [StridedConv, BlurredConv])
def test_both_players_get_gradients_from_the_one_forward(down: type[nn.Module]) -> None:
    adversary = Adversary(PatchGAN(filters=4, down=down))
    decoded = torch.randn(2, 3, 48, 48, requires_grad=True)
    output = Output.of(decoded * 1)
    WeightedSum()(adversary(output, torch.randn(2, 3, 48, 48), 0, 0), output).backward()
    gradients: list[Tensor | None] = [decoded.grad, *(p.grad for p in adversary.parameters())]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    # the last bias stands still: the hinge pulls it up by the real logits as much as down by the decoded ones
    last = adversary.discriminator.logits.bias
    assert all(p.grad is not None and p.grad.any() for p in adversary.parameters() if p is not last)


def test_small_pictures_and_no_layers_are_refused() -> None:
    for layers in (1, 2, 3):
        judge = PatchGAN(filters=4, layers=layers)
        assert judge(torch.randn(2, 3, judge.smallest, judge.smallest))[0].logits.numel() == 2
        with pytest.raises(CodecError, match=f"at least {judge.smallest}"):
            judge(torch.randn(2, 3, judge.smallest - 1, 99))
    with pytest.raises(CodecError, match="layers 0"):
        PatchGAN(layers=0)
