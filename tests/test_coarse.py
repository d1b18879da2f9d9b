"""Files of coarse levels: what was sent reads back, what was not is predicted alike everywhere, the file says which."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from bitstream_forgery import reseal, take_apart
from coded import with_priors
from examples import clip, make_codec, speech
from priors.pem24_reference import tables

from neuralcodecs import Codec
from neuralcodecs.bitstream.coarse import Coarse
from neuralcodecs.cli import main
from neuralcodecs.codes import Codes
from neuralcodecs.coding import Coding
from neuralcodecs.errors import CodecError
from neuralcodecs.files import encode_signals, open_codes, read_codes, write_codes
from neuralcodecs.prior_coders import LearnedPriorCoder
from neuralcodecs.priors.autoregressive import FactorisedTransformer, ParallelTransformer
from neuralcodecs.stream_files import encode_stream

SEEDS = (None, 2**32 - 1)


@pytest.fixture(scope="module", params=[False, True], ids=["parallel", "factorised"])
def codec(request: pytest.FixtureRequest) -> Codec:
    return with_priors(factorised=request.param)


def written(codec: Codec, path: Path, coarse: Coarse | None, levels: int = 4) -> Codes:
    """Codes of a recording, of which ``path`` has all or the coarse ones."""
    signal, original = codec.medium.read(speech()[0])
    codes = encode_signals(codec, [signal[:, :8000]], levels)[0]
    info = type(original)(codec.medium.rate, 1, codes.shapes[0])
    write_codes(path, codec, codes, info, coding=Coding(codec, "learned", coarse))
    return codes


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("sent", [1, 3])
def test_a_file_costs_what_its_coarse_levels_do_and_reads_alike_each_time(
    codec: Codec, sent: int, seed: int | None, tmp_path: Path
) -> None:
    codes = written(codec, tmp_path / "a.ncs", Coarse(sent, seed))["codes"]
    written(codec, tmp_path / "b.ncs", None, sent)
    assert 0 < (tmp_path / "a.ncs").stat().st_size - (tmp_path / "b.ncs").stat().st_size <= 8
    read = read_codes(tmp_path / "a.ncs", codec)[0]["codes"]
    assert read.shape == codes.shape and torch.equal(read[:, :sent], codes[:, :sent])
    assert read.min() >= 0 and read.max() < 60 and not torch.equal(read, codes)
    before = torch.get_num_threads()
    torch.set_num_threads(1 + before % 2)
    try:
        assert torch.equal(read_codes(tmp_path / "a.ncs", codec)[0]["codes"], read)
    finally:
        torch.set_num_threads(before)


def test_draws_depend_on_the_seed_and_on_the_lane(codec: Codec, tmp_path: Path) -> None:
    read = {}
    for seed in (*SEEDS, 0):
        written(codec, tmp_path / "a.ncs", Coarse(1, seed))
        read[seed] = read_codes(tmp_path / "a.ncs", codec)[0]["codes"]
    assert not torch.equal(read[0], read[2**32 - 1]) and not torch.equal(read[0], read[None])
    alike, drawn = (codec.priors["learned"].predict(torch.zeros(1, 256, dtype=torch.int64), 2, n) for n in (None, 0))
    assert torch.equal(*alike.chunk(2, 1)) and not torch.equal(*drawn.chunk(2, 1))


@pytest.mark.parametrize("seed", [None, 5])
def test_numbers_of_another_program(codec: Codec, seed: int | None) -> None:
    """NumPy and Python integers only, after docs/entropy.md: lanes of 128 or 129 positions, 257 in all."""
    coder = codec.priors["learned"]
    values = torch.randint(60, (2, 257))
    found = coder.predict(values, 4, seed)
    ours, start = found.numpy(), 0
    model = {name: value.cpu().numpy() for name, value in coder.get_submodule("prior").state_dict().items()}
    model = {name: -np.log2(x) if name.endswith("scale") else x for name, x in model.items()}
    model = {name: x.astype(np.int64) for name, x in model.items()}
    for length in (129, 128):
        run = tables(model, [60] * 4, heads=2, window=20, levels=4)
        following = next(run)
        for position in range(start, start + 40):
            for level in range(4):
                symbol = int(values[level, position]) if level < 2 else _chosen(following, seed, 4 * position + level)
                assert ours[level, position] == symbol
                following = run.send(symbol)
        start += length


def _chosen(table: np.ndarray, seed: int | None, place: int) -> int:
    if seed is None:
        return int(np.diff(table).argmax())
    number = _mix(_mix(place) ^ _mix((seed + 0x9E3779B9) % 2**32)) >> 8
    return int(np.searchsorted(table, number, side="right")) - 1


def _mix(x: int) -> int:
    x = (x ^ x >> 16) * 0x7FEB352D % 2**32
    x = (x ^ x >> 15) * 0x846CA68B % 2**32
    return x ^ x >> 16


def test_pieces_with_a_scale_and_files_that_are_streamed(tmp_path: Path) -> None:
    codec = with_priors(segmented=True)
    source, coding = clip(tmp_path), Coding(codec, coarse=Coarse(2, 9))
    signal, original = codec.medium.read(source)
    codes = encode_signals(codec, [signal])[0]
    write_codes(tmp_path / "whole.ncs", codec, codes, original, coding=coding)
    with (tmp_path / "streamed.ncs").open("wb") as file:
        encode_stream(codec, codec.medium.read_blocks(source), file, coding=coding)
    assert (tmp_path / "streamed.ncs").read_bytes() == (tmp_path / "whole.ncs").read_bytes()
    read = read_codes(tmp_path / "whole.ncs", codec)[0]
    assert torch.equal(read["scale"], codes["scale"]) and torch.equal(read["codes"][:, :2], codes["codes"][:, :2])


@pytest.mark.parametrize("kind", [ParallelTransformer, FactorisedTransformer])
@pytest.mark.parametrize("size", [60, 4100, 5000])
def test_predicted_digits_stay_in_the_alphabet(size: int, kind: type) -> None:
    torch.manual_seed(0)
    digits = (60,) * 3 if size == 60 else (-(-size // _base(size)), _base(size)) * 3
    coder = LearnedPriorCoder(kind(digits, 8, 2, 1, 9).export(), (size,) * 3)
    values = torch.randint(size, (1, 4, 15))
    found = coder.predict(values, 3, 1)
    assert found.shape == (3, 4, 15) and torch.equal(found[:1], values)
    assert found.min() >= 0 and size * 0.9 < found.max() < size


def _base(size: int) -> int:
    return int(np.ceil(np.sqrt(size)))


def test_another_model_cannot_decode_it(codec: Codec, tmp_path: Path) -> None:
    written(codec, tmp_path / "a.ncs", Coarse(2))
    with pytest.raises(CodecError, match=rf"coder 5, prior {codec.priors['learned'].fingerprint.hex()}.*get the model"):
        read_codes(tmp_path / "a.ncs", make_codec())


@pytest.mark.parametrize(("sent", "seed"), [(0, None), (4, None), (-1, None), (2, -1), (2, 2**32)])
def test_what_cannot_be_sent_is_refused(codec: Codec, sent: int, seed: int | None, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"coarse of 4 levels: send 1 to 3|whole number from 0 to"):
        written(codec, tmp_path / "a.ncs", Coarse(sent, seed))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("prior", ["none", "static", "adaptive"])
def test_priors_that_predict_nothing_are_refused(codec: Codec, prior: str) -> None:
    with pytest.raises(CodecError, match=f"--coarse: the {prior} prior predicts no levels"):
        Coding(codec, prior, Coarse(1))
    with pytest.raises(CodecError, match="predicts no levels"):
        codec.priors["static"].predict(torch.zeros(1, 3, dtype=torch.int64), 2, None)


@pytest.mark.parametrize(
    ("start", "said"),
    [(b"\0\0", "0 coarse of 4"), (b"\4\0", "4 coarse"), (b"\2" + b"\xff" * 9, "seed"), (b"\x82\0", "shortest")],
)
def test_forged_beginnings_of_payloads_are_refused(
    codec: Codec, start: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(codec, tmp_path / "a.ncs", Coarse(2))
    parts = take_apart((tmp_path / "a.ncs").read_bytes())
    chunk = parts.chunks[0]
    data = start + chunk.payload[len(start) :]
    (tmp_path / "b.ncs").write_bytes(reseal(parts._replace(chunks=(chunk._replace(payload=data),))))
    with pytest.raises(CodecError, match=said):
        read_codes(tmp_path / "b.ncs", codec)
    assert main(["info", str(tmp_path / "b.ncs")]) == (2 if said in ("seed", "shortest") else 0)
    assert capsys.readouterr().err.count("\n") <= 1


def test_the_commands(codec: Codec, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, model, coded = (str(tmp_path / name) for name in ("clip.wav", "model", "a.ncs"))
    clip(tmp_path, 6000)
    codec.save_pretrained(model)
    encode = ["encode", source, "-m", model, "-o", coded, "--overwrite"]
    for options, refused in (
        (["--draw", "1"], "--coarse"),
        (["--coarse", "4"], "send 1 to 3"),
        (["--coarse", "2", "--levels", "2"], "send 1 to 1"),
        (["--coarse", "1", "--prior", "adaptive"], "predicts no levels"),
    ):
        assert main([*encode, *options]) == 2
        assert refused in capsys.readouterr().err and not Path(coded).exists()
    assert main([*encode, "--coarse", "1", "--draw", "12"]) == 0
    assert main(["info", coded]) == 0
    plain = capsys.readouterr().out
    assert "coarse levels" in plain and "1 of 4" in plain and "drawn with seed 12" in plain
    assert main(["info", coded, "-m", model, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert int(facts["entropy of codes"].split()[0]) <= int(facts["bits of codes"].split(", ")[1].split()[0])
    assert main(["decode", coded, "-m", model, "-o", str(tmp_path / "a.wav")]) == 0
    assert main([*encode, "--coarse", "1", "--draw", "12"]) == 0
    assert main(["decode", coded, "-m", model, "-o", str(tmp_path / "b.wav")]) == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    with open_codes(Path(coded)) as reader:
        assert reader.header.streams[0].prior == codec.priors["learned"].fingerprint
