"""Generative decoders in files and commands: what a file says of its decoding, and what goes before it."""

from functools import partial
from pathlib import Path

import pytest
import torch
from examples import clip, make_codec
from generative import SMALL, flow_picture_codec, flow_speech_codec
from image_networks import cnn_codec, picture

from neuralcodecs import CodecError
from neuralcodecs.bitstream import Reader
from neuralcodecs.cli import main
from neuralcodecs.decoders import FlowDecoder
from neuralcodecs.decoders.solvers import Sampler
from neuralcodecs.files import decode_file, encode_file, read_codes, write_codes
from neuralcodecs.medium import SignalInfo
from neuralcodecs.sampling import Sampling
from neuralcodecs.streaming import decode_blocks
from neuralcodecs.tiled import tiled


def test_a_file_names_seed_and_steps_and_decodes_by_them(tmp_path: Path) -> None:
    codec, signal = flow_picture_codec(), picture(21, 30)
    info = SignalInfo(0, 3, (21, 30))
    codes = codec.encode(signal)
    write_codes(tmp_path / "a.ncs", codec, codes, info)
    with (tmp_path / "a.ncs").open("rb") as file:
        assert Reader(file).header.metadata == {"seed": 11, "steps": 3}
    decoded = codec.decode(read_codes(tmp_path / "a.ncs", codec)[0])
    other = flow_picture_codec(partial(FlowDecoder, **SMALL | {"sampler": Sampler(steps=5, seed=1)}))
    read, _ = read_codes(tmp_path / "a.ncs", other)  # the decoder's own defaults are others, the file's go before them
    assert torch.equal(other.decode(read), decoded)
    assert not torch.equal(other.decode(codes), decoded)
    assert torch.equal(codec.decode(codes, Sampling(1, 5)), other.decode(codes))
    write_codes(tmp_path / "a.ncs", codec, codes, info, metadata={"seed": 5, "steps": 4})
    assert torch.equal(codec.decode(read_codes(tmp_path / "a.ncs", codec)[0]), codec.decode(codes, Sampling(5, 4)))
    write_codes(tmp_path / "a.ncs", codec, codes, info, metadata={"steps": 10**6})
    with pytest.raises(CodecError, match="1000000 steps: give a whole number from 1 to 1000"):
        read_codes(tmp_path / "a.ncs", codec)


def test_a_deterministic_decoder_reads_the_same_file(tmp_path: Path) -> None:
    flow, plain = flow_picture_codec(), cnn_codec()
    plain.encoder.load_state_dict(flow.encoder.state_dict())
    codes = flow.encode(picture(16, 16))
    write_codes(tmp_path / "a.ncs", flow, codes, SignalInfo(0, 3, (16, 16)), metadata={"steps": "no number"})
    read, _ = read_codes(tmp_path / "a.ncs", plain)
    assert torch.equal(plain.decode(read), plain.decode(codes))
    with pytest.raises(CodecError, match="decoder is deterministic: leave out steps"):
        plain.decode(codes, Sampling(steps=2))
    with pytest.raises(CodecError, match="leave out --tile"):
        tiled(flow, 16)


def test_pieces_streamed_are_pieces_decoded_whole() -> None:
    codec = flow_speech_codec(segmented=True)
    codes = codec.encode(0.1 * torch.randn(1, 1, 20_011))
    whole = codec.decode(codes, Sampling(seed=3))
    stream = codec.decoder_stream(Sampling(seed=3))
    assert torch.equal(torch.cat(list(decode_blocks(stream, [codes])), dim=-1), whole[0])


@pytest.mark.parametrize("segmented", [False, True])
def test_commands_decode_as_the_file_says_or_as_they_are_told(
    tmp_path: Path, segmented: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    codec, source = flow_speech_codec(segmented), clip(tmp_path)
    codec.save_pretrained(tmp_path / "model")
    coded, model = tmp_path / "a.ncs", str(tmp_path / "model")
    encode_file(codec, source, coded)

    def decoded(name: str, *options: str) -> bytes:
        assert main(["decode", str(coded), "-o", str(tmp_path / name), "-m", model, *options]) == 0
        return (tmp_path / name).read_bytes()

    plain = decoded("plain.wav")
    decode_file(codec, coded, tmp_path / "again.wav")
    assert plain == (tmp_path / "again.wav").read_bytes() == decoded("same.wav", "--seed", "11", "--steps", "3")
    told = [
        decoded(f"{i}.wav", *options.split()) for i, options in enumerate(("--seed 12", "--steps 4", "--guidance 2"))
    ]
    assert len({plain, *told}) == 4
    part = decoded("part.wav", "--from", "0.2", "--to", "0.3", "--seed", "12")
    assert part[-3200:] == told[0][44 + 6400 :][:3200]
    capsys.readouterr()
    assert main(["decode", str(coded), "-o", str(tmp_path / "x.wav"), "-m", model, "--steps", "0"]) == 2
    assert "0 steps: give a whole number from 1 to 1000" in capsys.readouterr().err


def test_options_of_a_generative_decoder_are_refused_by_others_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for segmented in (False, True):
        codec, coded = make_codec(segmented=segmented), tmp_path / f"{segmented}.ncs"
        codec.save_pretrained(tmp_path / "model")
        encode_file(codec, clip(tmp_path), coded)
        for more in ([], ["--salvage"], ["--from", "0.1"]):
            target = tmp_path / "x.wav"
            command = ["decode", str(coded), "-o", str(target), "-m", str(tmp_path / "model"), "--guidance", "1.5"]
            assert main([*command, *more]) == 2
            message = capsys.readouterr().err
            assert "deterministic: leave out steps, guidance and seed" in message and message.count("\n") == 1
            assert not target.exists()
