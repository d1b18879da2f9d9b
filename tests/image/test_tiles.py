"""Tiles: every size is covered once, K tokens per tile, files, rates, and grids that cannot be joined."""

from pathlib import Path

import pytest
import torch
from image_networks import cnn_codec, picture, token_codec

from neuralcodecs import CodecError
from neuralcodecs.bitrates import nominal_rates
from neuralcodecs.codec import Codec
from neuralcodecs.files import read_codes, write_codes
from neuralcodecs.image import Tiles
from neuralcodecs.medium import SignalInfo
from neuralcodecs.pieces import crop

SIZES = [(1, 1), (32, 24), (33, 24), (31, 50), (70, 1), (96, 72)]


@pytest.mark.parametrize("shape", SIZES)
def test_join_undoes_split(shape: tuple[int, int]) -> None:
    tiles, signal = Tiles((32, 24)), picture(*shape, batch=2)
    boxes = tiles.split(shape)
    assert len(boxes) == -(-shape[0] // 32) * -(-shape[1] // 24)
    pieces = [crop(signal, box) for box in boxes]
    assert torch.equal(tiles.join(pieces, boxes), signal)
    padded = [torch.nn.functional.pad(p, (0, 24 - p.shape[-1], 0, 32 - p.shape[-2]), value=9.0) for p in pieces]
    assert torch.equal(tiles.join(padded, boxes), signal)


@pytest.mark.parametrize("shape", SIZES)
def test_pictures_of_any_size_through_tokens_and_a_file(shape: tuple[int, int], tmp_path: Path) -> None:
    codec, signal = token_codec(), picture(*shape)
    codes = codec.encode(signal)
    tiles = -(-shape[0] // 32) * -(-shape[1] // 24)
    assert codes["codes"].shape == (1, 2, 5 * tiles) and codec.grid(shape) == (5 * tiles,)
    assert float(codec.bits(codes)[0]) == 6 * 5 * tiles
    write_codes(tmp_path / "a.ncs", codec, codes, SignalInfo(0, 3, shape))
    again, original = read_codes(tmp_path / "a.ncs", codec)
    assert torch.equal(again["codes"], codes["codes"]) and original.shape == shape
    decoded = codec.decode(again)
    assert decoded.shape == signal.shape
    for index, box in enumerate(codec.pieces(shape)):
        alone = codec.encode(crop(signal, box))
        assert torch.equal(alone["codes"], codes["codes"][..., 5 * index : 5 * index + 5])
        torch.testing.assert_close(codec.decode(alone), crop(decoded, box))


def test_pictures_of_different_sizes_in_one_batch() -> None:
    codec, signal = token_codec(), picture(70, 50, batch=3)
    shapes = [(70, 50), (3, 2), (32, 50)]
    together = codec.encode(signal, shapes=shapes)
    for index, (height, width) in enumerate(shapes):
        alone = codec.encode(signal[index : index + 1, :, :height, :width])
        assert torch.equal(together.item(index)["codes"], alone["codes"])


def test_nominal_rate_of_tokens_counts_all_of_a_tile() -> None:
    codec = token_codec()
    full = codec.bits(codec.encode(picture(32, 24)))
    assert nominal_rates(codec) == [3 * 5 / (32 * 24), 6 * 5 / (32 * 24)]
    assert nominal_rates(codec)[-1] == float(full[0]) / (32 * 24)


def test_grids_that_do_not_join_are_refused() -> None:
    whole = cnn_codec()
    codec = Codec(whole.medium, whole.encoder, lambda dim: whole.quantizer, lambda *sizes: whole.decoder, Tiles((8, 8)))
    assert codec.encode(picture(8, 20))["codes"].shape == (1, 2, 2, 5)
    with pytest.raises(CodecError, match=r"grids \[\(1, 2\), \(2, 2\)\], which do not join"):
        codec.encode(picture(12, 8))


def test_errors_name_the_value() -> None:
    with pytest.raises(CodecError, match=r"size \(0, 8\)"):
        Tiles((0, 8))
    with pytest.raises(CodecError, match=r"size \(8, 8\) cannot cut a signal of shape \(5,\)"):
        Tiles((8, 8)).split((5,))
