"""Tiles: equal to the whole for local networks, files that either side reads, refusals."""

from pathlib import Path

import pytest
import torch
from conftest import SAMPLES
from PIL import Image as Pillow
from PIL import ImageChops
from torch import Tensor, nn

from neuralcodecs import Codec, CodecError, Decoder, Encoder
from neuralcodecs.audio import Audio, OverlapAdd
from neuralcodecs.cli import main
from neuralcodecs.decoders import LightDecoder, SEANetDecoder
from neuralcodecs.encoders import SEANetEncoder
from neuralcodecs.image import Image
from neuralcodecs.layers import CONVS, keep_variance, pad_to
from neuralcodecs.quantizers import ResidualVQ
from neuralcodecs.quantizers.binary import GroupedLFQ
from neuralcodecs.tiled import tiled, windows


class LocalEncoder(Encoder):
    """Two strided convolutions and no norm: a receptive field of 3 latents."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.channels, self.dim, self.strides = 3, dim, (4, 4)
        convs = [keep_variance(CONVS[2](a, b, 3, 2, padding=1)) for a, b in ((3, 16), (16, dim))]
        self.layers = nn.Sequential(convs[0], nn.SiLU(), convs[1])

    def forward(self, signal: Tensor) -> Tensor:
        return self.layers(pad_to(signal, tuple(4 * n for n in self.frames(tuple(signal.shape[2:])))))

    def frames(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(-(-n // 4) for n in shape)


class LocalDecoder(Decoder):
    """The mirror of ``LocalEncoder``."""

    def __init__(self, dim: int, channels: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            CONVS[2](dim, 16, 3, padding=1), nn.SiLU(), nn.ConvTranspose2d(16, channels, 4, 4), nn.Tanh()
        )

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents)


def local_codec() -> Codec:
    torch.manual_seed(0)
    return Codec(Image(), LocalEncoder(), lambda dim: GroupedLFQ(dim, 2), LocalDecoder).eval()


def picture(height: int, width: int) -> Tensor:
    signal, _ = Image().read(SAMPLES / "image" / "test" / "kodim23.png")
    return signal[None, :, :height, :width]


@pytest.mark.parametrize("length", [1, 7, 8, 9, 40, 41])
def test_windows_cover_every_position_once(length: int) -> None:
    found = windows(length, 8, 2)
    assert [p for w in found for p in range(w.first, w.last)] == list(range(length))
    assert all(0 <= w.start <= w.first < w.last <= w.stop <= length and w.stop - w.start <= 12 for w in found)


@pytest.mark.parametrize("size", [(200, 333), (64, 64), (1, 1), (311, 70), (3, 412)])
def test_tiles_of_local_networks_equal_the_whole(size: tuple[int, int]) -> None:
    codec, signal = local_codec(), picture(*size)
    view = tiled(codec, 64)
    codes = codec.encode(signal)
    assert torch.equal(view.encode(signal)["codes"], codes["codes"])
    torch.testing.assert_close(view.decode(codes), codec.decode(codes), rtol=0, atol=1e-6)


def test_networks_see_no_more_than_a_tile_and_its_margins(monkeypatch: pytest.MonkeyPatch) -> None:
    codec, seen = local_codec(), []
    codec.encoder.register_forward_hook(lambda m, args, out: seen.append(tuple(args[0].shape[2:])))
    codec.decoder.register_forward_hook(lambda m, args, out: seen.append(tuple(out.shape[2:])))
    view = tiled(codec, 64)
    view.decode(view.encode(picture(300, 480)))
    assert len(seen) == 2 * 5 * 8 and max(max(shape) for shape in seen) == 64 + 2 * 16


def test_the_light_decoder_is_local() -> None:
    """Its receptive field is known: 22 latents at most on either side for a stride of 4."""
    torch.manual_seed(0)
    codec = Codec(Image(), LocalEncoder(), lambda dim: GroupedLFQ(dim, 2), lambda *args: LightDecoder(*args, width=8))
    codes = codec.eval().encode(picture(320, 480))
    torch.testing.assert_close(tiled(codec, 320).decode(codes), codec.decode(codes), rtol=0, atol=1e-5)


def test_the_command_writes_the_same_file_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local_codec().save_pretrained(tmp_path / "model")
    source = SAMPLES / "image" / "test" / "kodim23.png"
    model = ["-m", str(tmp_path / "model"), "--trust"]
    for name, tile in (("whole", []), ("tiles", ["--tile", "128"])):
        assert main(["encode", str(source), "-o", str(tmp_path / f"{name}.ncs"), *model, *tile]) == 0
        assert main(["decode", str(tmp_path / f"{name}.ncs"), "-o", str(tmp_path / f"{name}.png"), *model, *tile]) == 0
    assert (tmp_path / "whole.ncs").read_bytes() == (tmp_path / "tiles.ncs").read_bytes()
    with Pillow.open(tmp_path / "whole.png") as whole, Pillow.open(tmp_path / "tiles.png") as tiles:
        assert whole.size == tiles.size == (480, 320)
        # float rounding may tip a pixel that stands between two values
        assert max(most for _, most in ImageChops.difference(whole, tiles).getextrema()) <= 1


def test_what_needs_no_tiles_is_refused() -> None:
    with pytest.raises(CodecError, match="smaller than the codec's stride 4"):
        tiled(local_codec(), 3)
    encoder = SEANetEncoder(filters=2, dim=4, ratios=(2,), lstm_layers=0)
    decoder = lambda *args: SEANetDecoder(*args, filters=2, ratios=(2,), lstm_layers=0)  # noqa: E731
    sound = Codec(Audio(8000), encoder, lambda dim: ResidualVQ(dim, 1, 4), decoder, OverlapAdd(800))
    with pytest.raises(CodecError, match="cuts its signals itself"):
        tiled(sound, 100)
