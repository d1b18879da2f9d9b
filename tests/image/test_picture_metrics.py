"""Metrics of pictures: against formulas and other packages, failures, and networks by path only."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pictures import KODAK, picture
from torch import Tensor

from neuralcodecs.criteria import MetricFailure
from neuralcodecs.errors import CodecError
from neuralcodecs.image import LPIPS, Image, files
from neuralcodecs.image.metrics import FID, MSSSIM, PSNR, SSIM, PictureLPIPS, patches


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    signal, _ = files.read(KODAK, 3)
    return (signal + 0.1 * torch.randn(signal.shape, generator=torch.Generator().manual_seed(1))).clamp(-1, 1), signal


def test_psnr_is_that_of_rounded_bytes(pair: tuple[Tensor, Tensor]) -> None:
    decoded, reference = pair
    a, b = (((x + 1) * 127.5).round().double() for x in pair)
    expected = 10 * torch.log10(255**2 / (a - b).square().mean())
    assert PSNR()(decoded, reference, 0)["psnr"] == pytest.approx(
        float(expected), abs=1e-5
    )  # its logarithm is in float32
    # less than half a step: the picture that is written is the reference
    assert PSNR()(reference + 0.4 / 127.5, reference, 0)["psnr"] == 100
    small = reference[:, :64, :64]
    one = small.clone()
    one[0, 0, 0] += 1 / 127.5 if one[0, 0, 0] < 0 else -1 / 127.5
    assert PSNR()(one, small, 0)["psnr"] == pytest.approx(
        48.1308 + 10 * torch.tensor(one.numel()).log10().item(), abs=1e-3
    )


def test_structure_is_one_for_equal_pictures_and_falls_with_noise(pair: tuple[Tensor, Tensor]) -> None:
    decoded, reference = pair
    for metric in (SSIM(), MSSSIM()):
        (name,) = metric.names
        noisier = (reference + 2 * (decoded - reference)).clamp(-1, 1)
        assert metric(reference, reference, 0)[name] == pytest.approx(1, abs=1e-5)
        assert 0 < metric(noisier, reference, 0)[name] < metric(decoded, reference, 0)[name] < 0.99


def test_ssim_equals_its_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randint(0, 256, (64, 64), generator=generator).double() for _ in range(2))
    row = torch.exp(-((torch.arange(11) - 5.0) ** 2) / (2 * 1.5**2)).double()
    window = torch.outer(row, row) / row.sum() ** 2

    def blur(x: Tensor) -> Tensor:
        mirrored = torch.nn.functional.pad(x[None, None], (5, 5, 5, 5), mode="reflect")
        return torch.nn.functional.conv2d(mirrored, window[None, None])[0, 0]

    means = blur(a), blur(b)
    va, vb = blur(a * a) - means[0] ** 2, blur(b * b) - means[1] ** 2
    cov = blur(a * b) - means[0] * means[1]
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = ((2 * means[0] * means[1] + c1) * (2 * cov + c2)) / (
        (means[0] ** 2 + means[1] ** 2 + c1) * (va + vb + c2)
    )
    ours = SSIM()(a[None].float() / 127.5 - 1, b[None].float() / 127.5 - 1, 0)["ssim"]
    assert ours == pytest.approx(float(expected.mean()), abs=1e-5)


@pytest.mark.parametrize(("metric", "side"), [(SSIM(), 11), (MSSSIM(), 176)], ids=["ssim", "ms_ssim"])
def test_pictures_too_small_have_no_figure(metric: Any, side: int) -> None:
    assert metric(torch.zeros(3, side, side + 1), torch.zeros(3, side, side + 1), 0)
    with pytest.raises(MetricFailure, match=f"smaller than {side}"):
        metric(torch.zeros(3, side + 9, side - 1), torch.zeros(3, side + 9, side - 1), 0)


def test_undefined_pixels_have_no_figure() -> None:
    with pytest.raises(MetricFailure, match="undefined"):
        PSNR()(torch.full((3, 9, 9), float("nan")), torch.zeros(3, 9, 9), 0)


def test_default_metrics_say_what_they_are() -> None:
    metrics = Image().metrics()
    assert [m.names for m in metrics] == [("psnr",), ("ssim",), ("ms_ssim",)]
    assert all("rounded 8-bit" in m.definition and "mean of per-picture values" in m.definition for m in metrics)


def test_networks_come_from_a_path_or_not_at_all(tmp_path: Path) -> None:
    for build in (LPIPS, PictureLPIPS):
        with pytest.raises(CodecError, match=r"no file .*absent\.pth: download https://download\.pytorch\.org"):
            build(str(tmp_path / "absent.pth"))
    with pytest.raises(CodecError, match=r"FID: no file .*absent\.pth: download weights-inception"):
        FID(str(tmp_path / "absent.pth"))
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "other.pth")
    pytest.importorskip("lpips")
    with pytest.raises(CodecError, match="no weights of vgg"):
        LPIPS(str(tmp_path / "other.pth"))


def test_weights_are_never_unpickled(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"features.0.weight": Payload()}, tmp_path / "evil.pth")
    for build in (LPIPS, FID):
        with pytest.raises(CodecError, match="read safely"):
            build(str(tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("lpips")
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    state = torchvision.models.alexnet(weights=None).features.state_dict()
    torch.save({f"features.{name}": value for name, value in state.items()}, path)
    return path


def test_lpips_equals_torchmetrics_with_the_same_backbone(alexnet: Path, pair: tuple[Tensor, Tensor]) -> None:
    from torchmetrics.functional.image.lpips import _LPIPS

    theirs = _LPIPS(net="alex", pnet_rand=True)
    state = torch.load(alexnet, weights_only=True)
    for key in theirs.net.state_dict():
        theirs.net.state_dict()[key].copy_(state[f"features.{key.partition('.')[2]}"])
    ours = LPIPS(str(alexnet), "alex")
    a, b = (x[None] for x in pair)
    assert ours(a, b).item() == pytest.approx(theirs(a, b).item(), rel=1e-5) and ours(a, b).item() > 0
    assert ours(a, a).item() == 0
    rounded = [files.from_bytes(files.to_bytes(x)) for x in (a, b)]
    metric = PictureLPIPS(str(alexnet), "alex")
    assert metric(*pair, 0)["lpips"] == pytest.approx(theirs(*rounded).item(), rel=1e-5)
    assert "alex" in metric.definition and "alexnet.pth" in metric.definition and "no resize" in metric.definition
    with pytest.raises(MetricFailure, match="smaller than 31"):
        metric(torch.zeros(3, 30, 40), torch.zeros(3, 30, 40), 0)


def test_lpips_is_in_no_checkpoint_and_trains_the_output_only(alexnet: Path) -> None:
    loss = LPIPS(str(alexnet), "alex").train()
    assert loss.state_dict() == {} and list(loss.parameters()) == []
    assert not any(m.training for m in loss.held.network.modules())
    output = torch.randn(1, 1, 40, 40, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(output, torch.zeros(1, 1, 40, 40))
    value.backward()
    assert value.dtype == torch.float32 and output.grad is not None and output.grad.any()
    assert all(p.grad is None for p in loss.held.network.parameters())
    loss.double()  # whatever moves the loss moves its network
    assert all(p.dtype == torch.float64 for p in loss.held.network.parameters())


def test_patches_are_two_grids() -> None:
    assert len(list(patches(torch.zeros(1, 3, 256, 256, dtype=torch.uint8)))) == 1
    assert len(list(patches(torch.zeros(1, 3, 512, 768, dtype=torch.uint8)))) == 6 + 2
    assert list(patches(torch.zeros(1, 3, 255, 999, dtype=torch.uint8))) == []


@pytest.mark.slow
def test_fid_is_zero_for_equal_sets_and_refused_for_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    cls = fidelity.FeatureExtractorInceptionV3
    with monkeypatch.context() as patched:  # random weights instead of a download
        patched.setattr(fidelity, "load_state_dict_from_url", lambda *_, **__: {})
        patched.setattr(cls, "load_state_dict", lambda *_: None)
        state = cls("inception-v3-compat", ["2048"]).state_dict()
    torch.save(state, tmp_path / "inception.pth")
    metric = FID(str(tmp_path / "inception.pth"), least=2)
    signals = [files.from_bytes(files.to_tensor(picture(256, 256).rotate(90 * n))) for n in range(3)]
    same, other = metric.fresh(), metric.fresh()
    for signal in signals:
        assert same(signal, signal, 0) == {}
        other((signal * 0.2).clamp(-1, 1), signal, 0)
    assert abs(same.over_files()["fid"]) < 1e-2 * other.over_files()["fid"]
    with pytest.raises(MetricFailure, match="these files have 0"):
        metric.over_files()
    assert "inception.pth" in metric.definition and "299" in metric.definition and "float32" in metric.definition
