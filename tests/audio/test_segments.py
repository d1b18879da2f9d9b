"""Chunks and loudness of EnCodec 48 kHz against the published functions and their own definition."""

import pytest
import torch
from encodec.utils import _linear_overlap_add

from neuralcodecs import CodecError
from neuralcodecs.audio.segments import OverlapAdd, RootMeanSquare


def test_published_chunks() -> None:
    assert OverlapAdd(48000, 0.01).split((100_000,)) == [((0, 48000),), ((47520, 95520),), ((95040, 100_000),)]
    assert OverlapAdd(48000, 0.01).split((48000,)) == [((0, 48000),), ((47520, 48000),)]
    assert OverlapAdd(48000, 0.01).split((1,)) == [((0, 1),)]


@pytest.mark.parametrize(("segment", "overlap"), [(100, 0.01), (100, 0.5), (100, 0.9), (64, 0.0), (7, 0.3), (1, 0.0)])
def test_join_undoes_split(segment: int, overlap: float) -> None:
    """Also where decoded pieces come back padded to a multiple of a stride."""
    segments = OverlapAdd(segment, overlap)
    for length in (1, 6, 50, 99, 100, 101, 130, 333):
        signal = torch.randn(2, 2, length)
        boxes = segments.split((length,))
        pieces = [signal[..., start:stop] for ((start, stop),) in boxes]
        torch.testing.assert_close(segments.join(pieces, boxes), signal)
        padded = [torch.nn.functional.pad(p, (0, -p.shape[-1] % 32), value=9.0) for p in pieces]
        torch.testing.assert_close(segments.join(padded, boxes)[..., :length], signal)


def test_cross_fade_equals_published() -> None:
    segments = OverlapAdd(1000, 0.3)
    for last in (1, 299, 500, 1000):
        pieces = [torch.randn(2, 2, 1000), torch.randn(2, 2, 1000), torch.randn(2, 2, last)]
        boxes = [((0, 1000),), ((700, 1700),), ((1400, 1400 + last),)]
        if last < 300:  # the published function has no room for the second piece's end
            assert segments.join(pieces, boxes).shape[-1] == 1700
            continue
        torch.testing.assert_close(segments.join(pieces, boxes), _linear_overlap_add(pieces, 700), rtol=0, atol=1e-6)


def test_cross_fade_is_linear() -> None:
    """From one piece to the next over the overlap, whatever the pieces hold."""
    joined = OverlapAdd(100, 0.2).join([torch.zeros(1, 1, 100), torch.ones(1, 1, 100)], [((0, 100),), ((80, 180),)])[
        0, 0
    ]
    assert not joined[:80].any() and (joined[100:] == 1).all()
    torch.testing.assert_close(joined[80:100], torch.arange(1, 21) / 21)


def test_scale_is_root_mean_square_of_the_mono_mean() -> None:
    left = torch.tensor([3.0, 1.0, -5.0, 7.0])
    signal = torch.stack([torch.stack([left, left]), torch.stack([left, -left])])
    torch.testing.assert_close(RootMeanSquare()(signal), torch.tensor([21**0.5, 1e-8]))
    assert (torch.zeros(1, 2, 9) / RootMeanSquare()(torch.zeros(1, 2, 9))).isfinite().all()


def test_errors_name_the_value() -> None:
    with pytest.raises(CodecError, match="segment 0"):
        OverlapAdd(0)
    with pytest.raises(CodecError, match=r"overlap 1\.0"):
        OverlapAdd(10, 1.0)
