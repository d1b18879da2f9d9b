"""Priors of a codec: files of each kind read back exactly, are the codec's own alone, and travel with the model."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from bitstream_forgery import reseal, take_apart
from coded import KINDS, with_priors
from examples import clip, make_codec, speech
from safetensors.torch import load_file, save_file

from neuralcodecs import Codec
from neuralcodecs.bitstream import Reader
from neuralcodecs.cli import main
from neuralcodecs.coding import Coding
from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.measure import evaluate
from neuralcodecs.files import decode_file, encode_file, encode_signals, open_codes, read_codes, write_codes
from neuralcodecs.layered_coder import LayeredPriorCoder
from neuralcodecs.medium import SignalInfo
from neuralcodecs.prior_coders import AdaptivePriorCoder, LearnedPriorCoder, StaticPriorCoder
from neuralcodecs.priors.autoregressive import FactorisedTransformer, ParallelTransformer
from neuralcodecs.priors.counted import StaticPrior
from neuralcodecs.spans import decode_span
from neuralcodecs.stream_files import Decoding, encode_stream


@pytest.fixture(scope="module")
def codec() -> Codec:
    return with_priors()


@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_codes_of_speech_read_back_within_a_few_bits_of_the_entropy(kind: str, segmented: bool, tmp_path: Path) -> None:
    codec = with_priors(factorised=segmented, segmented=segmented)
    signal, original = codec.medium.read(speech()[0])
    for levels in (1, 4):
        codes = encode_signals(codec, [signal], levels)[0]
        coding = Coding(codec, kind)
        size = write_codes(tmp_path / "a.ncs", codec, codes, original, coding=coding)
        read, info = read_codes(tmp_path / "a.ncs", codec)
        assert info == original
        for stream in codes:
            assert torch.equal(read[stream.name], stream.values)
        with open_codes(tmp_path / "a.ncs") as reader:
            payload = 8 * sum(sum(chunk.sizes) for chunk in reader.chunks)
        entropy = coding.bits(codes)
        if kind == "none":  # 60 symbols take 6 bits
            assert entropy == pytest.approx(float(codes.nominal_bits()[0])) and payload >= entropy
        else:
            assert entropy <= payload <= 1.005 * entropy + 64
        assert size * 8 < payload + 800


def test_static_counts_of_speech_save_bits(codec: Codec, tmp_path: Path) -> None:
    sizes = {kind: _size(codec, tmp_path / f"{kind}.ncs", kind) for kind in KINDS}
    assert sizes["static"] < 0.97 * sizes["none"]


def test_default_is_the_best_that_the_model_has() -> None:
    codec = with_priors()
    assert Coding(codec).prior == "learned"
    codec.priors = {"static": codec.priors["static"]}
    assert Coding(codec).prior == "static"
    assert Coding(make_codec()).prior == "none"


def test_absent_prior_is_named(codec: Codec) -> None:
    with pytest.raises(CodecError, match=r"--prior learned: this model has none; choose of none, adaptive"):
        Coding(make_codec(), "learned")


@pytest.mark.parametrize("kind", ["static", "learned"])
def test_another_models_prior_is_refused_with_the_remedy(kind: str, codec: Codec, tmp_path: Path) -> None:
    _size(codec, tmp_path / "a.ncs", kind)
    other = make_codec()  # the same weights, no priors
    with pytest.raises(CodecError, match=rf"coder \d, prior {codec.priors[kind].fingerprint.hex()}.*get the model"):
        read_codes(tmp_path / "a.ncs", other)
    alphabet = other.quantizer.codebook_sizes
    torch.manual_seed(2)
    other.attach("learned", LearnedPriorCoder(ParallelTransformer(alphabet, 16, 2, 1, 20).export(), alphabet))
    other.attach("static", StaticPriorCoder(StaticPrior(alphabet)))
    with pytest.raises(CodecError, match=other.priors[kind].fingerprint.hex()):
        read_codes(tmp_path / "a.ncs", other)


def test_a_reader_without_coders_shows_the_header_and_walks_the_chunks(codec: Codec, tmp_path: Path) -> None:
    _size(codec, tmp_path / "a.ncs", "learned")
    reader = Reader(io.BytesIO((tmp_path / "a.ncs").read_bytes()))
    assert reader.header.streams[0].coder == 3
    assert reader.header.streams[0].prior == codec.priors["learned"].fingerprint
    assert tuple(reader.checked()) == reader.chunks
    with pytest.raises(CodecError, match="open the file with the model"):
        reader.read_all()


@pytest.mark.parametrize("kind", ["static", "learned"])
def test_a_model_keeps_its_priors(kind: str, codec: Codec, tmp_path: Path) -> None:
    _size(codec, tmp_path / "a.ncs", kind)
    codec.save_pretrained(tmp_path / "model")
    assert "learned" in (tmp_path / "model" / "README.md").read_text()
    again = Codec.from_pretrained(tmp_path / "model")
    assert {n: p.fingerprint for n, p in again.priors.items()} == {n: p.fingerprint for n, p in codec.priors.items()}
    assert torch.equal(
        read_codes(tmp_path / "a.ncs", again)[0]["codes"], read_codes(tmp_path / "a.ncs", codec)[0]["codes"]
    )
    assert _size(again, tmp_path / "b.ncs", kind) == (tmp_path / "a.ncs").stat().st_size
    again.priors = {}
    again.save_pretrained(tmp_path / "model")
    assert Codec.from_pretrained(tmp_path / "model").priors == {}


def test_priors_are_stored_in_narrow_integers_and_wide_ones_are_read(codec: Codec, tmp_path: Path) -> None:
    codec.save_pretrained(tmp_path)
    for name, most in (("learned", 2.5), ("static", 4)):
        path, state = tmp_path / f"prior-{name}.safetensors", codec.priors[name].state_dict()
        stored = load_file(path)
        # tables of constants, all of them wide, are as large as a prior of this size
        own = [key for key in state if ".lookups." not in key]
        size = sum(stored[key].numel() * stored[key].element_size() for key in own)
        assert size <= most * sum(state[key].numel() for key in own)
        assert all(torch.equal(stored[key].to(state[key].dtype), state[key]) for key in state)
        save_file(state, path)  # as they were written before
        assert Codec.from_pretrained(tmp_path).priors[name].fingerprint == codec.priors[name].fingerprint
        save_file({key: value.half() for key, value in state.items()}, path)
        with pytest.raises(CodecError, match="type"):
            Codec.from_pretrained(tmp_path)
        save_file(stored, path)


def test_a_learned_prior_of_the_first_levels_and_a_static_one_of_the_others(codec: Codec, tmp_path: Path) -> None:
    layered, alphabet = make_codec(), codec.quantizer.codebook_sizes
    signal = layered.medium.read(speech(1)[0])[0][:, :8000]
    info = SignalInfo(layered.medium.rate, 1, (8000,))
    codes = encode_signals(layered, [signal])[0]
    static = StaticPrior(alphabet[2:])
    static.count(codes["codes"][:, 2:])
    torch.manual_seed(1)
    first = LearnedPriorCoder(FactorisedTransformer(alphabet[:2], 16, 2, 1, 20).export(), alphabet[:2])
    coder = LayeredPriorCoder(first, StaticPriorCoder(static))
    layered.attach("learned", coder)
    layered.save_pretrained(tmp_path / "model")
    layered = Codec.from_pretrained(tmp_path / "model")
    assert layered.priors["learned"].fingerprint == coder.fingerprint
    for levels in range(1, len(alphabet) + 1):
        codes = encode_signals(layered, [signal], levels)[0]
        size = write_codes(tmp_path / "a.ncs", layered, codes, info)
        assert torch.equal(read_codes(tmp_path / "a.ncs", layered)[0]["codes"], codes["codes"])
        bits = Coding(layered).stream_bits(codes)["codes"]
        assert 0 < 8 * size - bits < 8 * 160 + 0.01 * bits  # lanes, two coders, the header
        payload = coder.encode(codes["codes"][0], {})
        for damaged in (b"", payload[:1], b"\xff" + payload, *([payload + b"0"] if levels <= 2 else [])):
            with pytest.raises(CodecError):
                coder.decode(damaged, levels, tuple(codes["codes"].shape[2:]), {})
    with pytest.raises(CodecError, match="levels"):
        coder.decode(payload, len(alphabet) + 1, (3,), {})


def test_foreign_classes_and_damaged_weights_of_priors_are_refused(codec: Codec, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    codec.save_pretrained(folder)
    config = folder / "prior-learned.yaml"
    described = config.read_text()
    config.write_text(yaml.safe_dump({"class_path": "os.system", "init_args": {"command": "true"}}))
    with pytest.raises(CodecError, match="was refused"):
        Codec.from_pretrained(folder)
    config.write_text(described.replace("dim: 16", "dim: 512"))
    with pytest.raises(CodecError, match="shape"):
        Codec.from_pretrained(folder)
    config.write_text(described)
    shutil.copy(folder / "prior-static.safetensors", folder / "prior-learned.safetensors")
    with pytest.raises(CodecError, match="missing"):
        Codec.from_pretrained(folder)


def test_a_prior_of_other_codes_is_not_attached(codec: Codec) -> None:
    with pytest.raises(CodecError, match="make one of its codes"):
        codec.attach("static", StaticPriorCoder(StaticPrior((60, 60))))
    with pytest.raises(CodecError, match="static and learned"):
        codec.attach("best", codec.priors["static"])


@pytest.mark.parametrize("kind", [ParallelTransformer, FactorisedTransformer])
@pytest.mark.parametrize("size", [4097, 2**14, 2**18])
def test_large_alphabets_in_digits(size: int, kind: type) -> None:
    torch.manual_seed(0)
    values = torch.randint(size, (2, 9, 5))
    values[0, 0, :2] = torch.tensor([0, size - 1])
    alphabet = (size, size)
    static = StaticPriorCoder(StaticPrior(alphabet))
    adaptive = AdaptivePriorCoder(alphabet)
    learned = LearnedPriorCoder(kind(adaptive.prior.alphabet, 8, 2, 1, 9).export(), alphabet)
    for coder in (static, adaptive, learned):
        for levels in (1, 2):
            data = coder.encode(values[:levels], {})
            assert torch.equal(coder.decode(data, levels, (9, 5), {}), values[:levels])
            assert 8 * len(data) <= coder.bits(values[:levels], {}) + 64


@pytest.mark.parametrize("kind", ["adaptive", "learned"])
def test_streamed_files_are_the_whole_ones_and_parts_decode(kind: str, codec: Codec, tmp_path: Path) -> None:
    source, coding = speech()[0], Coding(codec, kind)
    blocks = codec.medium.read_blocks(source)
    signal, original = codec.medium.read(source)
    write_codes(tmp_path / "whole.ncs", codec, encode_signals(codec, [signal])[0], original, coding=coding)
    with (tmp_path / "streamed.ncs").open("wb") as file:
        encode_stream(codec, blocks, file, coding=coding)
    assert (tmp_path / "streamed.ncs").read_bytes() == (tmp_path / "whole.ncs").read_bytes()
    whole = codec.decode(read_codes(tmp_path / "whole.ncs", codec)[0])[0]
    with open_codes(tmp_path / "whole.ncs") as reader:
        streamed = torch.cat(list(Decoding(codec, reader, tmp_path)), -1)
        assert torch.allclose(streamed, whole, atol=1e-4)
    with open_codes(tmp_path / "whole.ncs") as reader:
        reader.use(coding.payloads)
        assert torch.allclose(decode_span(codec, reader, 3000, 9000), whole[:, 3000:9000], atol=1e-4)


@pytest.mark.parametrize("kind", ["static", "adaptive", "learned"])
def test_forged_payloads_and_headers_are_refused_or_codes(kind: str, codec: Codec, tmp_path: Path) -> None:
    """With every CRC right: what decodes is of the alphabet, all else is a CodecError."""
    encode_file(codec, clip(tmp_path, 6000), tmp_path / "a.ncs", 2)
    codes = encode_signals(codec, [codec.medium.read(tmp_path / "clip.wav")[0]], 2)[0]
    write_codes(tmp_path / "a.ncs", codec, codes, SignalInfo(16000, 1, codes.shapes[0]), coding=Coding(codec, kind))
    parts = take_apart((tmp_path / "a.ncs").read_bytes())
    chunk = parts.chunks[0]
    rng, refused = np.random.default_rng(0), 0
    for _ in range(40):
        payload, body = bytearray(chunk.payload), bytearray(parts.body)
        where = payload if rng.random() < 0.7 else body
        where[rng.integers(len(where))] ^= 1 << int(rng.integers(8))
        forged = parts._replace(body=bytes(body), chunks=(chunk._replace(payload=bytes(payload)), *parts.chunks[1:]))
        (tmp_path / "b.ncs").write_bytes(reseal(forged))
        try:
            read = read_codes(tmp_path / "b.ncs", codec)[0]["codes"]
        except CodecError:
            refused += 1
        else:
            assert read.min() >= 0 and read.max() < 60
    assert refused >= 30


@pytest.mark.parametrize("kind", KINDS)
def test_the_commands(kind: str, codec: Codec, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, model = clip(tmp_path), str(tmp_path / "model")
    codec.save_pretrained(model)
    coded = str(tmp_path / "clip.ncs")
    assert main(["encode", str(source), "-m", model, "-o", coded, "--prior", kind]) == 0
    assert main(["info", coded]) == 0
    assert main(["info", coded, "-m", model, "--json"]) == 0
    plain, facts = capsys.readouterr().out.split("{", 1)
    facts = json.loads("{" + facts)
    names = {"none": "fixed width", "static": "static prior", "adaptive": "adaptive prior", "learned": "learned prior"}
    assert facts["coder of codes"].startswith(names[kind]) and names[kind] in plain
    nominal, written = (int(part.split()[0]) for part in facts["bits of codes"].split(", "))
    entropy = int(facts["entropy of codes"].split()[0])
    assert entropy <= written + 1
    assert (entropy == nominal) == (kind == "none")
    assert main(["decode", coded, "-m", model, "-o", str(tmp_path / "out.wav")]) == 0
    decode_file(codec, Path(coded), tmp_path / "again.wav")
    assert (tmp_path / "out.wav").read_bytes() == (tmp_path / "again.wav").read_bytes()


def test_a_static_prior_is_counted_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_codec().save_pretrained(tmp_path / "plain")
    clip(tmp_path)
    refused = ["encode", str(tmp_path / "clip.wav"), "-m", str(tmp_path / "plain"), "--prior", "static"]
    assert main(refused) == 2
    assert "this model has none" in capsys.readouterr().err
    count = ["prior", str(tmp_path / "plain"), "--data", str(tmp_path / "clip.wav"), "--out", str(tmp_path / "coded")]
    assert main(count) == 0
    codec = Codec.from_pretrained(tmp_path / "coded")
    small = encode_file(codec, tmp_path / "clip.wav", tmp_path / "a.ncs")
    plain = encode_file(make_codec(), tmp_path / "clip.wav", tmp_path / "b.ncs")
    assert small.written_bytes < 0.9 * plain.written_bytes  # counted on the very same codes
    assert main(count) == 2


def test_evaluation_tells_the_entropy_under_the_prior_of_the_files(codec: Codec) -> None:
    static = with_priors()
    static.priors = {"static": static.priors["static"]}
    plain, coded = (evaluate(model, speech(1), [4], [], progress=False).settings[0] for model in (make_codec(), static))
    assert plain.entropy < plain.nominal == coded.nominal
    assert coded.entropy < coded.written < plain.written


def _size(codec: Codec, path: Path, kind: str) -> int:
    signal, original = codec.medium.read(speech()[0])
    codes = encode_signals(codec, [signal])[0]
    return write_codes(path, codec, codes, original, coding=Coding(codec, kind))


def test_the_fingerprint_is_that_of_the_state_as_it_is_now() -> None:
    coder = with_priors().priors["learned"]
    before = coder.fingerprint
    weight = coder.get_submodule("prior").state_dict()["head.linear.weight"]
    weight[3, 2] += 1
    changed = coder.fingerprint
    assert changed != before
    state = {name: value.clone() for name, value in coder.state_dict().items()}
    state["prior.head.linear.weight"][3, 2] -= 1
    coder.load_state_dict(state)
    assert coder.fingerprint == before
    assert coder.double().fingerprint == before
    coder.get_submodule("prior").get_submodule("head.linear").weight = weight + 1
    assert coder.fingerprint not in (before, changed)
