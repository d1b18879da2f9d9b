"""Clips: files come back exactly, chunks code as the whole does, and what is no clip is refused."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES
from torch import Tensor

from neuralcodecs import Codec, CodecError
from neuralcodecs.cli import main
from neuralcodecs.decoders import (
    DDIM,
    CausalPyramid,
    Cosine,
    Data,
    FlowDecoder,
    FoldedSpace,
    Framewise,
    Process,
    Pyramid,
    Sampler,
    UNet,
)
from neuralcodecs.encoders import ClipEncoder
from neuralcodecs.image.files import to_bytes
from neuralcodecs.layers.streamed import Streamed
from neuralcodecs.medium import SignalInfo
from neuralcodecs.quantizers.gaussian import GaussianKL
from neuralcodecs.sources import Entry
from neuralcodecs.video import Video, files
from neuralcodecs.video.dataset import VideoCentres, VideoClips, scan

BUNNY = SAMPLES / "video" / "test" / "bbb.mp4"
TOLERANCE = 1e-5


def clip(frames: int = 12, height: int = 40, width: int = 48) -> Tensor:
    return files.read(BUNNY)[0][:, :frames, :height, :width]


def small(conditioner: type = CausalPyramid) -> Codec:
    torch.manual_seed(0)
    network = partial(Framewise, network=partial(UNet, width=8, multipliers=(1, 2), blocks=1))
    decoder = partial(
        FlowDecoder,
        network=network,
        conditioner=partial(conditioner, widths=(8, 8)),
        space=partial(FoldedSpace, block=(1, 4, 4), scale=2.0),
        process=Process(Cosine(), Data()),
        sampler=Sampler(DDIM(), steps=1, temperature=0.8),
    )
    encoder = ClipEncoder(dim=8, width=8)
    codec = Codec(Video(), encoder, partial(GaussianKL, code_dim=4), decoder).eval()
    for parameter in codec.parameters():  # a fresh network gives zero whatever it is told
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return codec


@torch.no_grad()
def in_chunks(part: Streamed, whole: Tensor, sizes: list[int]) -> Tensor:
    state, outputs = part.start(len(whole)), []
    for index, chunk in enumerate(whole.split(sizes, dim=2)):
        output, state = part.step(chunk, state, last=index == len(sizes) - 1)
        outputs.append(output)
    return torch.cat(outputs, dim=2)


@pytest.mark.parametrize("sizes", [[12], [4, 4, 4], [1] * 12, [3, 5, 4], [1, 4, 4, 2], [7], [1]])
def test_encoder_in_chunks_is_the_encoder_of_the_whole(sizes: list[int]) -> None:
    encoder = small().encoder
    whole = clip(sum(sizes))[None]
    with torch.no_grad():
        expected = encoder(whole)
    assert tuple(expected.shape[2:]) == encoder.frames(tuple(whole.shape[2:]))
    assert (in_chunks(encoder, whole, sizes) - expected).abs().max() <= TOLERANCE


@pytest.mark.parametrize("sizes", [[3], [1, 1, 1], [2, 1]])
def test_decoder_in_chunks_is_the_decoder_of_the_whole(sizes: list[int]) -> None:
    codec = small()
    with torch.no_grad():
        latents = codec.encoder(clip()[None])
        expected = codec.decoder(latents)
        assert (codec.decoder(latents + 1) - expected).abs().max() > 100 * TOLERANCE
    assert (in_chunks(codec.decoder, latents, sizes) - expected).abs().max() <= TOLERANCE


def test_encoder_and_decoder_ignore_the_future() -> None:
    codec = small()
    whole = clip()[None]
    other = whole.clone()
    other[:, :, 8:] = -other[:, :, 8:]
    with torch.no_grad():
        first, second = codec.encoder(whole), codec.encoder(other)
        assert torch.equal(first[:, :, :2], second[:, :, :2]) and not torch.equal(first, second)
        first, second = codec.decoder(first), codec.decoder(second)
    assert torch.equal(first[:, :, :8], second[:, :, :8]) and not torch.equal(first, second)


def test_a_decoder_that_looks_at_the_whole_cannot_be_streamed() -> None:
    with pytest.raises(CodecError, match="use CausalPyramid"):
        small(Pyramid).decoder.start(1)


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 17, 23), (8, 16, 16)])
def test_any_size_round_trips_and_seeds_differ(shape: tuple[int, int, int], tmp_path: Path) -> None:
    from neuralcodecs.files import read_codes, write_codes
    from neuralcodecs.sampling import Sampling

    codec = small()
    codes = codec.encode(clip(*shape)[None])
    assert codec.decode(codes).shape == (1, 3, *shape)
    write_codes(tmp_path / "a.ncs", codec, codes, SignalInfo(24000, 3, shape))
    read, original = read_codes(tmp_path / "a.ncs", codec)
    assert torch.equal(read["codes"], codes["codes"]) and original == SignalInfo(24000, 3, shape)
    assert torch.equal(codec.decode(read, Sampling(seed=3)), codec.decode(codes, Sampling(seed=3)))
    assert not torch.equal(codec.decode(read, Sampling(seed=3)), codec.decode(read, Sampling(seed=4)))


@pytest.mark.parametrize(("suffix", "worst"), [(".mkv", 0), (".y4m", 6), (".mp4", 64)])
@pytest.mark.parametrize("size", [(40, 48), (41, 47)])
def test_files_come_back(suffix: str, worst: int, size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / f"clip{suffix}"
    whole = clip(7, *size)
    files.write(path, whole, 29970)
    again, original = files.read(path)
    assert original == files.info(path) == SignalInfo(29970, 3, (7, *size))
    difference = (to_bytes(again).int() - to_bytes(whole).int()).abs()
    assert difference.max() <= worst and difference.float().mean() <= max(2.5, worst / 20) * bool(worst)


def test_commands_code_a_clip(tmp_path: Path) -> None:
    codec = small()
    codec.save_pretrained(tmp_path / "model")
    files.write(tmp_path / "in.mp4", clip(9, 36, 50), 12500)
    coded, decoded = tmp_path / "in.ncs", tmp_path / "out.mp4"
    assert main(["encode", str(tmp_path / "in.mp4"), "-o", str(coded), "-m", str(tmp_path / "model")]) == 0
    assert main(["decode", str(coded), "-o", str(decoded), "-m", str(tmp_path / "model")]) == 0
    assert files.info(decoded) == SignalInfo(12500, 3, (9, 36, 50))


def test_what_is_no_clip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = BUNNY.read_bytes()
    for name, content in (("half.mp4", data[: len(data) // 2]), ("text.mp4", b"#EXTM3U\n"), ("empty.mkv", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CodecError, match=name):
            files.read(tmp_path / name)
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n{BUNNY}\n")
    with pytest.raises(CodecError, match="not a video by its name"):
        files.read(tmp_path / "list.m3u8")
    with pytest.raises(CodecError, match="no such file"):
        files.info(tmp_path / "none.mp4")
    monkeypatch.setattr(files, "MAX_PIXELS", 10 * 256 * 144)
    with pytest.raises(CodecError, match="exceed the limit"):
        files.read(BUNNY)
    with pytest.raises(CodecError, match="forged"):
        Video().check_original("x.ncs", (9, 8, 8), SignalInfo(0, 3, (9, 8, 8)))


@pytest.mark.parametrize("cache", [False, True])
def test_training_clips_are_functions_of_file_and_draw(cache: bool) -> None:
    found = [Entry(path, 1.0, "") for path in sorted((SAMPLES / "video" / "train").glob("*.mp4"))]
    videos, failed = scan(found)
    assert len(videos) == 2 and not failed
    clips = VideoClips(videos, 6, 32, cache=cache)
    first, again, other = (clips.draw(0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (3, 6, 32, 32) and first.abs().max() <= 1
    assert torch.equal(first, again) and not torch.equal(first, other)
    if cache:
        assert torch.equal(first, VideoClips(videos, 6, 32).draw(0, np.random.default_rng(1)))
    assert VideoCentres(videos, 70, 16)[0].shape == (3, 70, 16, 16)


def test_metrics_are_perfect_for_equal_clips_only() -> None:
    whole = clip()
    for metric in Video().metrics():
        equal, worse = (metric(x, whole, 0)[metric.names[0]] for x in (whole, whole * 0.8))
        assert equal > worse
