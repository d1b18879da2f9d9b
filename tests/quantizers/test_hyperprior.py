"""Hyperprior codecs: what is estimated is written, and what is written decodes to the same codes everywhere."""

import copy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from hyper_codecs import CONTEXTS, WORTH, fresh, photo, trained

from neuralcodecs import Codec, CodecError, Codes
from neuralcodecs import chunking as chunking_module
from neuralcodecs.bitrates import levels_written
from neuralcodecs.coding import Coding
from neuralcodecs.decoders import LinearDecoder, TwoLayerDecoder
from neuralcodecs.evaluation.complexity import complexity
from neuralcodecs.files import open_codes, put_codes, read_codes, write_codes
from neuralcodecs.medium import SignalInfo
from neuralcodecs.quantizers.conditional import SYMBOLS, GaussianConditional
from neuralcodecs.quantizers.factorised import FactorisedPrior
from neuralcodecs.refining import refined
from neuralcodecs.training import Lambdas, TargetRates

TOTAL = 1 << 24
TEST = "test/kodim19.png"


def saved(codec: Codec, codes: Codes, path: Path) -> int:
    return write_codes(path, codec, codes, SignalInfo(0, 3, codes.shapes[0]))


def same(a: Codes, b: Codes) -> bool:
    return all(torch.equal(x.values, y.values) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("context", CONTEXTS)
def test_written_bits_are_the_estimated_ones(context: str, tmp_path: Path) -> None:
    codec, picture = trained(context), photo(TEST, 250, 333)
    sizes = []
    for levels in (1, 2):
        codes = codec.encode(picture[None], levels)
        with torch.no_grad():
            decoded, quantized = codec(picture[None], levels)
        bits = float(quantized.losses["bits"])
        size = saved(codec, codes, tmp_path / "a.ncs")
        assert abs(8 * size - bits) < 0.01 * bits + 8 * 110  # the header with its hashes, words of the coder
        assert Coding(codec).bits(codes) == pytest.approx(bits, rel=0.01)
        back, _ = read_codes(tmp_path / "a.ncs", codec)
        assert same(codes, back) and torch.equal(quantized.codes, codes["codes"])
        assert torch.equal(codec.decode(back), decoded)
        sizes.append(size)
    assert sizes[1] > 1.1 * sizes[0]


def test_noise_estimates_the_rate_of_rounding() -> None:
    codec, picture = copy.deepcopy(trained()), photo(TEST, 256, 256)[None]
    with torch.no_grad():
        rounded = float(codec(picture)[1].losses["bits"])
        noisy = float(codec.train()(picture)[1].losses["bits"])
    assert noisy == pytest.approx(rounded, rel=0.15)


def test_files_decode_alike_in_other_arithmetic_and_batches(tmp_path: Path) -> None:
    codec, pictures = trained(), [photo(name, 64, 80) for name in (TEST, "test/kodim23.png")]
    codes = [codec.encode(picture[None], 2) for picture in pictures]
    for item in codes:
        saved(codec, item, tmp_path / "a.ncs")
        double = copy.deepcopy(codec)
        double.quantizer.hyper.double(), double.quantizer.context.double()
        double.quantizer.gains.data = double.quantizer.gains.data.double()
        coder = double.quantizer.coders()["codes"]
        given = {"z": item["z"][0]}
        data = codec.quantizer.coders()["codes"].encode(item["codes"][0], given)
        assert torch.equal(coder.decode(data, 16, (8, 10), given), item["codes"][0])
        with torch.backends.mkldnn.flags(enabled=False):
            assert same(read_codes(tmp_path / "a.ncs", codec)[0], item)
    assert same(codec.encode(torch.stack(pictures), 2), Codes.batch(codes))


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("context", CONTEXTS)
def test_what_one_device_writes_the_other_reads(context: str, tf32: bool, tmp_path: Path) -> None:
    cpu, cuda = trained(context), copy.deepcopy(trained(context)).cuda()
    torch.set_float32_matmul_precision("medium" if tf32 else "highest")
    try:
        for index in range(20):
            picture = photo(TEST, 40 + 7 * index, 100 - index)
            for writer, reader in ((cpu, cuda), (cuda, cpu)):
                codes = writer.encode(picture[None].to(writer.device), 1 + index % 2)
                saved(writer, codes, tmp_path / "a.ncs")
                back, _ = read_codes(tmp_path / "a.ncs", reader)
                assert all(torch.equal(codes[s.name].cpu(), s.values.cpu()) for s in back)
    finally:
        torch.set_float32_matmul_precision("highest")


def test_files_decode_alike_with_more_threads_in_another_process(tmp_path: Path) -> None:
    codec = trained()
    codec.save_pretrained(tmp_path / "model")
    codes = codec.encode(photo(TEST, 128, 160)[None])
    saved(codec, codes, tmp_path / "a.ncs")
    torch.save([stream.values for stream in codes], tmp_path / "codes.pt")
    code = (
        "import torch; torch.set_num_threads(4); from pathlib import Path; from neuralcodecs import Codec;"
        "from neuralcodecs.files import read_codes; folder = Path(__import__('sys').argv[1]);"
        "codes, _ = read_codes(folder / 'a.ncs', Codec.from_pretrained(folder / 'model').eval());"
        "print(all(map(torch.equal, (s.values for s in codes), torch.load(folder / 'codes.pt'))))"
    )
    run = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT / "codecs").stdout == "True\n"


def test_a_picture_of_several_chunks_decodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = trained()
    codes = codec.encode(torch.cat([photo(TEST, 300, 40)] * 2, dim=1)[None])
    whole = saved(codec, codes, tmp_path / "a.ncs")
    monkeypatch.setattr(chunking_module, "CHUNK_SYMBOLS", 16 * 5 * 70)
    parts = saved(codec, codes, tmp_path / "b.ncs")
    with open_codes(tmp_path / "b.ncs") as reader:
        assert [chunk.counts[:2] for chunk in reader.chunks] == [(64, 16), (11, 3)]
    assert same(read_codes(tmp_path / "b.ncs", codec)[0], codes) and whole < parts < 1.1 * whole


def test_forged_streams_are_refused(tmp_path: Path) -> None:
    codec = trained()
    codes = codec.encode(photo(TEST, 64, 64)[None])
    main, z, step = codes.streams
    short = replace(z, values=z.values[..., :1], grids=((2, 1),))
    for streams, reason in (((main, z), "side streams"), ((main, step, z), "side streams"), ((main,), "side streams")):
        with pytest.raises(CodecError, match=f"{reason}|without their side stream"):
            saved(codec, Codes(streams, codes.shapes), tmp_path / "a.ncs")
            read_codes(tmp_path / "a.ncs", codec)
    with pytest.raises(CodecError, match="is forged"):
        saved(codec, Codes((main, short, step), codes.shapes), tmp_path / "a.ncs")
    with pytest.raises(CodecError, match="with their side streams"):
        codec.quantizer.decode(main.values)
    with pytest.raises(CodecError, match="not streamed"):
        codec.encoder_stream()
    with pytest.raises(CodecError, match=r"call eval\(\)"):
        fresh().encode(photo(TEST, 32, 32)[None])


def test_a_loaded_model_keeps_its_tables_and_a_trained_one_makes_new_ones(tmp_path: Path) -> None:
    codec = copy.deepcopy(trained())
    prior = codec.quantizer.prior
    before = prior.tables.clone()
    with torch.no_grad():
        prior.means.add_(0.1)
    codec.save_pretrained(tmp_path)
    assert torch.equal(Codec.from_pretrained(tmp_path).eval().quantizer.prior.tables, before)
    codec.train()(photo(TEST, 32, 32)[None])
    assert not torch.equal(codec.eval().quantizer.prior.tables, before)


def test_tables_are_the_densities_and_hold_every_symbol() -> None:
    conditional, prior = GaussianConditional(), FactorisedPrior(3, 16)
    torch.nn.init.normal_(prior.means)
    prior.refresh()
    values = (torch.arange(16.0) - 8)[None, None, None].expand(1, 3, 1, -1)
    for index in (0, 20, 40):
        table = conditional.tables[index].double()
        near = slice(SYMBOLS // 2 - 3, SYMBOLS // 2 + 4)
        expected = conditional.bits(torch.arange(-3.0, 4), torch.full((7,), float(index)))
        sound = expected < 20
        torch.testing.assert_close(
            -torch.log2(table.diff()[near] / TOTAL)[sound].float(), expected[sound], atol=0.02, rtol=0.02
        )
    mass = 2 ** -prior.bits(values)[0, :, 0].double()
    mass = mass / mass.sum(-1, keepdim=True)  # what lies outside the alphabet is cut
    torch.testing.assert_close(prior.tables.double().diff() / TOTAL, mass, atol=1e-5, rtol=1e-3)
    for table in (*conditional.tables, *prior.tables):
        assert table[0] == 0 and table[-1] == TOTAL and bool((table.diff() > 0).all())


def test_gains_between_levels_give_rates_between(tmp_path: Path) -> None:
    """The same weights, and the levels that were trained among those that were not."""
    codec, plain, picture = fresh(between=4).eval(), trained(), photo(TEST, 120, 130)
    codec.load_state_dict(plain.state_dict())
    assert codec.quantizer.levels == (1, 5) and codec.quantizer.most_levels == 5
    sizes, losses = [], []
    for levels in range(1, 6):
        codes = codec.encode(picture[None], levels)
        sizes.append(saved(codec, codes, tmp_path / "a.ncs"))
        back, _ = read_codes(tmp_path / "a.ncs", codec)
        assert same(codes, back)
        decoded = codec.decode(back)
        assert torch.equal(decoded, codec(picture[None], levels)[0])
        losses.append(float((decoded[0] - picture).square().mean()))
        if levels in codec.quantizer.levels:
            known = plain.encode(picture[None], codec.quantizer.levels.index(levels) + 1)
            assert all(torch.equal(codes[name], known[name]) for name in ("codes", "z"))
            torch.testing.assert_close(decoded, plain.decode(known))
    assert sizes == sorted(set(sizes)) and losses[0] > losses[2] > losses[4]
    wanted = 8 * (sizes[2] + 1) / (120 * 130)
    info = SignalInfo(0, 3, (120, 130))
    assert levels_written(codec, picture, wanted, lambda file, codes: put_codes(file, codec, codes, info)) == 3
    refined(codec, picture, 3, steps=1)  # a bit is worth something there too
    with pytest.raises(CodecError, match="between 0"):
        fresh(between=0)


def test_refinement_lowers_the_cost_of_a_file(tmp_path: Path) -> None:
    codec, picture, costs = trained(), photo(TEST, 64, 64), []
    for codes in (codec.encode(picture[None], 1), refined(codec, picture, 1, steps=40)):
        size = saved(codec, codes, tmp_path / "a.ncs")
        decoded = codec.decode(read_codes(tmp_path / "a.ncs", codec)[0])[0]
        costs.append(8 * size / 64**2 + WORTH[0] * 255**2 / 4 * float((decoded - picture).square().mean()))
    assert costs[1] < 0.98 * costs[0]
    assert not codec.quantizer.training
    with pytest.raises(CodecError, match="at least 1"):
        refined(codec, picture, 1, steps=0)


def test_shallow_decoders_cost_what_is_published() -> None:
    for decoder, expected in ((LinearDecoder, 1.2), (TwoLayerDecoder, 5.3)):
        codec = fresh(stages=(8, 8, 8))
        codec.decoder = decoder(320, 3, (16, 16))
        codec.encoder.layers[-1] = torch.nn.Conv2d(8, 320, 2, 2)
        assert codec.decoder(torch.zeros(1, 320, 3, 4)).shape == (1, 3, 48, 64)
        assert complexity(codec, (512, 768)).decoder_macs / 1000 == pytest.approx(expected, abs=0.1)


def test_lambdas_are_boosted_at_first_and_target_rates_move_them() -> None:
    rate = torch.tensor(0.5)
    boosted = Lambdas((0.01, 0.02), boost=10.0, boost_steps=2)
    assert [float(boosted(2, rate)) for _ in range(3)] == pytest.approx([0.2, 0.2, 0.02])
    assert float(boosted.eval()(1, rate)) == pytest.approx(0.01)
    steered = TargetRates((0.25, 1.0), (0.01, 0.01), speed=0.1)
    low, high = ([float(steered(levels, rate)) for _ in range(3)] for levels in (1, 2))
    assert low == sorted(low, reverse=True) and low[-1] < 0.01 < high[-1] and high == sorted(high)
