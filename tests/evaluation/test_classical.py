"""Classical codecs: delays are found and removed, rates follow the ladder, files are read back as they were."""

from pathlib import Path

import pytest
import torch
from conftest import SAMPLES

from neuralcodecs import CodecError
from neuralcodecs.audio import Audio
from neuralcodecs.audio.metrics import SISDR
from neuralcodecs.evaluation.candidate import Candidate
from neuralcodecs.evaluation.classical import classical, judges_medium, names_of
from neuralcodecs.evaluation.classical_audio import ClassicalAudio, Program, align
from neuralcodecs.image import Image
from neuralcodecs.image.metrics import PSNR
from neuralcodecs.medium import Medium

SPEECH = sorted((SAMPLES / "speech" / "test").glob("*.flac"))[0]
KODAK = SAMPLES / "image" / "test" / "kodim23.png"


def sound(samples: int = 32000) -> torch.Tensor:
    return Audio(16000).read(SPEECH)[0][:, 8000 : 8000 + samples]


@pytest.mark.parametrize("delay", [0, 1, 312, -105, 3999])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_delay_is_found_and_removed(delay: int, channels: int) -> None:
    reference = sound().repeat(channels, 1)
    noisy = reference + 0.01 * torch.randn(reference.shape, generator=torch.Generator().manual_seed(0))
    late = torch.cat([torch.zeros(channels, max(delay, 0)), noisy], dim=1)[:, max(-delay, 0) :]
    aligned, found = align(late, reference, 4000)
    assert found == delay and aligned.shape == reference.shape
    kept = slice(max(-delay, 0), reference.shape[1])
    assert torch.equal(aligned[:, kept], noisy[:, kept])


def test_a_signal_of_other_content_is_not_moved() -> None:
    noise = 0.1 * torch.randn(1, 32000, generator=torch.Generator().manual_seed(1))
    _, found = align(noise, noise.clone(), 4000)
    assert found == 0
    assert align(torch.zeros(1, 100), sound(), 4000)[1] == 0, "silence has no delay"


def trip(candidate: Candidate, index: int, medium: Medium, path: Path, folder: Path) -> tuple[int, torch.Tensor, int]:
    signal = sound() if medium.rate else medium.read(path)[0]
    point = sorted(candidate.points, key=lambda point: point.order)[index]
    target = folder / f"{candidate.name}{index}{candidate.suffix}"
    candidate.encode(path, signal, point, target)
    decoded = candidate.decode(target, signal)
    assert decoded.signal.shape == signal.shape
    return target.stat().st_size, decoded.signal, decoded.delay


@pytest.mark.parametrize("name", ["opus", "mp3"])
def test_sound_comes_back_in_time_and_better_for_more_bits(name: str, tmp_path: Path) -> None:
    medium = Audio(16000)
    found, absent = classical([name], medium)
    if not found:
        pytest.skip(absent[name])
    low, high = (trip(found[0], index, medium, SPEECH, tmp_path) for index in (2, -1))
    assert low[0] < high[0]
    figures = [SISDR()(decoded, sound(), 16000)["si_sdr"] for _, decoded, _ in (low, high)]
    assert figures[1] > max(figures[0], 12), "a delay of one sample would leave less"
    assert found[0].identity.count(":") >= 1 and name in found[0].identity.lower().replace("lame", "mp3")


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif", "jxl", "jpeg2000"])
def test_pictures_come_back_better_for_more_bits(name: str, tmp_path: Path) -> None:
    medium = Image()
    found, absent = classical([name], medium)
    if not found:
        pytest.skip(absent[name])
    low, high = (trip(found[0], index, medium, KODAK, tmp_path) for index in (1, -1))
    reference = medium.read(KODAK)[0]
    figures = [PSNR()(decoded, reference, 0)["psnr"] for _, decoded, _ in (low, high)]
    assert low[0] < high[0] and figures[0] + 5 < figures[1] and figures[1] > 35


def test_what_is_not_installed_is_said_and_names_are_checked() -> None:
    nothing = Program(("no-such-encoder", "{source}"), ("no-such-decoder",), ("no-such-encoder",))
    with pytest.raises(CodecError, match="opus: no no-such-encoder on this machine"):
        ClassicalAudio("opus", ".opus", [nothing], [8], 16000)
    with pytest.raises(CodecError, match="--against vvc: no such classical codec: give some of opus, mp3, jpeg"):
        names_of("opus,vvc")
    with pytest.raises(CodecError, match="sound and of pictures"):
        names_of("opus,jpeg")
    assert names_of(" opus,mp3,opus,") == ["opus", "mp3"]


def test_the_judges_medium() -> None:
    narrow, wide = Audio(16000), Audio(24000)
    assert judges_medium([wide, wide], [], [SPEECH], None) is wide
    with pytest.raises(CodecError, match="--rate"):
        judges_medium([narrow, wide], [], [SPEECH], None)
    assert judges_medium([narrow, wide], [], [SPEECH], 16000).rate == 16000
    assert judges_medium([], ["mp3"], [SPEECH], None).rate == 16000
    assert judges_medium([], ["jxl"], [KODAK], None).rate == 0
    with pytest.raises(CodecError, match="name a MODEL"):
        judges_medium([], [], [SPEECH], None)
    with pytest.raises(CodecError, match="apart"):
        judges_medium([narrow, Image()], [], [SPEECH], None)
