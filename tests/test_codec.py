"""The codec's own promises: batches equal items, levels, lengths, bits, and what it says of itself."""

import copy

import pytest
import torch
import yaml
from examples import make_codec

from neuralcodecs import CodecError, Codes
from neuralcodecs.audio import Audio
from neuralcodecs.pretrained import build


@pytest.mark.parametrize("segmented", [False, True])
def test_codes_of_a_ragged_batch_are_the_codes_of_its_items(segmented: bool) -> None:
    codec = make_codec(segmented=segmented)
    lengths = [9000, 1, 20011, 9000, 320]
    signal = 0.1 * torch.randn(5, 1, max(lengths))
    together = codec.encode(signal, shapes=[(n,) for n in lengths])
    decoded = codec.decode(together)
    assert decoded.shape == (5, 1, max(lengths))
    for index, length in enumerate(lengths):
        alone = codec.encode(signal[index : index + 1, :, :length])
        item = together.item(index)
        assert all(torch.equal(a.values, b.values) for a, b in zip(item, alone, strict=True))
        torch.testing.assert_close(decoded[index : index + 1, :, :length], codec.decode(alone), rtol=0, atol=1e-5)
        assert not decoded[index, :, length:].any()


def test_batching_items_again_is_the_batch() -> None:
    codec = make_codec(segmented=True)
    codes = codec.encode(0.1 * torch.randn(3, 1, 9000), shapes=[(9000,), (100,), (8500,)])
    again = Codes.batch(codes.items())
    assert again.shapes == codes.shapes
    assert all(torch.equal(a.values, b.values) and a.grids == b.grids for a, b in zip(again, codes, strict=True))


def test_fewer_levels_are_a_prefix_and_cost_fewer_bits() -> None:
    codec, signal = make_codec(), 0.1 * torch.randn(2, 1, 5000)
    full = codec.encode(signal)
    for levels in (1, 2, 3):
        part = codec.encode(signal, levels)
        assert torch.equal(part["codes"], full["codes"][:, :levels])
        torch.testing.assert_close(codec.bits(part), codec.bits(full) * levels / 4)
    for levels in (0, 5):
        with pytest.raises(CodecError, match=f"{levels} levels asked for, this codec has 1 to 4"):
            codec.encode(signal, levels)


def test_side_streams_count_and_scales_travel_exactly() -> None:
    codec, signal = make_codec(segmented=True), 0.1 * torch.randn(1, 1, 12000)
    codes = codec.encode(signal)
    frames = codes["codes"].shape[-1]
    expected = 4 * frames * torch.log2(torch.tensor(60.0, dtype=torch.float64)) + 2 * 32
    torch.testing.assert_close(codec.bits(codes), expected[None])
    loud = codec.encode(signal * 8)
    assert torch.equal(loud["codes"], codes["codes"])
    torch.testing.assert_close(codec.decode(loud), codec.decode(codes) * 8, rtol=1e-4, atol=1e-5)


def test_forward_reconstructs_the_length_and_agrees_with_encode_and_decode() -> None:
    codec, signal = make_codec(), 0.1 * torch.randn(2, 1, 4321)
    with torch.no_grad():
        output, quantized = codec(signal)
    codes = codec.encode(signal)
    assert torch.equal(quantized.codes, codes["codes"])
    torch.testing.assert_close(output, codec.decode(codes))


def test_an_empty_signal_and_wrong_codes_are_refused() -> None:
    codec = make_codec()
    with pytest.raises(CodecError, match="empty"):
        codec.encode(torch.zeros(1, 1, 0))
    codes = codec.encode(torch.zeros(1, 1, 5000))
    with pytest.raises(CodecError, match="do not fit a signal of shape"):
        codec.decode(Codes(codes.streams, ((9999,),)))


def test_a_codec_describes_itself_and_is_built_again() -> None:
    codec = make_codec(segmented=True)
    config = yaml.safe_load(yaml.safe_dump(codec.config()))
    again = build(config, "a test")
    assert again.config() == codec.config()
    again.load_state_dict(codec.state_dict())
    signal = 0.1 * torch.randn(1, 1, 9000)
    assert torch.equal(again.eval().encode(signal)["codes"], codec.encode(signal)["codes"])
    assert torch.equal(copy.deepcopy(codec).encode(signal)["codes"], codec.encode(signal)["codes"])


def test_parts_that_do_not_fit_are_refused() -> None:
    config = make_codec().config()
    config["init_args"]["medium"] = Audio(16000, 2).describe()
    with pytest.raises(CodecError, match="encoder takes 1 channels, medium has 2"):
        build(config, "a test")
