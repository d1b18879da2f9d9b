"""Captions: from the command line or from beside a picture into its file, and out of it into the decoder."""

import math
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import SAMPLES
from generative import SMALL, shaken
from image_networks import CNN, picture
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from neuralcodecs import Codec, CodecError
from neuralcodecs.bitstream import Reader
from neuralcodecs.captions import bounded, hear, shortened, with_captions
from neuralcodecs.cli import main
from neuralcodecs.codes import Codes
from neuralcodecs.coding import Coding
from neuralcodecs.decoders import (
    CaptionTokens,
    ClassifierFree,
    FlowDecoder,
    Sampler,
    Together,
    Uncaptioned,
    UpsampledMap,
)
from neuralcodecs.encoders import CNNEncoder, SpareEncoder
from neuralcodecs.evaluation.measure import evaluate
from neuralcodecs.files import decode_file, encode_file, read_codes, write_codes
from neuralcodecs.image import Image, files
from neuralcodecs.image.metrics import PSNR
from neuralcodecs.medium import SignalInfo
from neuralcodecs.quantizers.binary import GroupedLFQ
from neuralcodecs.quantizers.captioned import Captioned, TextCoder
from neuralcodecs.sampling import Sampling
from neuralcodecs.training import Denoise, ImageDataModule, Loading

LONGEST = 24
TEXT = "a red door"


def captioned_codec() -> Codec:
    torch.manual_seed(0)
    conditioner = partial(
        Together,
        maps=partial(Uncaptioned, conditioner=partial(UpsampledMap, width=4), longest=LONGEST),
        tokens=partial(CaptionTokens, longest=LONGEST, width=16, depth=1, heads=2),
    )
    sampler = Sampler(guidance=ClassifierFree(("tokens",)), steps=2, scale=2.0)
    decoder = partial(FlowDecoder, **SMALL | {"conditioner": conditioner, "sampler": sampler}, dropout=0.5)
    quantizer = partial(Captioned, quantizer=partial(GroupedLFQ, groups=2), longest=LONGEST)
    return shaken(Codec(Image(), SpareEncoder(CNNEncoder(dim=8, **CNN), LONGEST), quantizer, decoder))


@pytest.fixture(scope="module")
def codec() -> Codec:
    return captioned_codec()


@pytest.fixture(scope="module")
def model(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    codec.save_pretrained(folder)
    return str(folder)


def small_picture(folder: Path, description: str | None = None) -> Path:
    info = PngInfo()
    if description is not None:
        info.add_itxt("Description", description)
    with Pillow.open(SAMPLES / "image" / "test" / "kodim23.png") as image:
        image.crop((0, 0, 40, 32)).save(folder / "a.png", pnginfo=info)
    return folder / "a.png"


def caption_in(path: Path) -> bytes:
    with path.open("rb") as file:
        reader = Reader(file)
        names = [stream.name for stream in reader.header.streams]
        reader.use(Coding(captioned_codec()).payloads)
        return bytes(reader.read_all()[names.index("caption")][0].tolist())


@pytest.mark.parametrize("text", [b"", b"x", TEXT.encode(), "Gr\u00fc\u00dfe".encode(), b"q" * LONGEST])
def test_a_caption_comes_out_of_the_file_and_changes_the_picture(codec: Codec, tmp_path: Path, text: bytes) -> None:
    plain = codec.encode(picture(21, 30))
    codes = with_captions(plain, [text])
    assert float(codec.bits(codes) - codec.bits(plain)) == 8 * len(text)
    write_codes(tmp_path / "a.ncs", codec, codes, SignalInfo(0, 3, (21, 30)))
    read, _ = read_codes(tmp_path / "a.ncs", codec)
    assert bytes(read["caption"][0, 0].tolist()) == text and torch.equal(read["codes"], plain["codes"])
    assert torch.equal(codec.decode(read), codec.decode(codes))
    assert torch.equal(codec.decode(codes), codec.decode(plain)) == (not text)
    decode_file(codec, tmp_path / "a.ncs", tmp_path / "a.png")


def test_batches_of_different_captions_decode_as_their_items_do(codec: Codec) -> None:
    codes = with_captions(codec.encode(picture(20, 20, batch=3)), [b"", b"cat", b"a longer text"])
    whole = codec.decode(codes)
    for index, item in enumerate(codes.items()):
        assert torch.equal(codec.decode(item), whole[index : index + 1])
    assert [stream.grids for stream in Codes.batch(codes.items()) if stream.name == "caption"] == [((0,), (3,), (13,))]


def test_no_caption_is_what_guidance_leads_away_from(codec: Codec) -> None:
    plain = codec.encode(picture(16, 16))
    told = with_captions(plain, [TEXT.encode()])
    assert torch.equal(codec.decode(told, Sampling(guidance=0.0)), codec.decode(plain, Sampling(guidance=1.0)))
    assert not torch.allclose(codec.decode(told, Sampling(guidance=1.0)), codec.decode(plain), atol=1e-4)


def test_a_caption_by_command_from_beside_and_from_within(model: str, tmp_path: Path) -> None:
    source, target = small_picture(tmp_path, "von innen \u00e4"), tmp_path / "a.ncs"
    run = ["encode", str(source), "-m", model, "--overwrite", "-o", str(target)]
    assert main(run) == 0 and caption_in(target) == "von innen \u00e4".encode()
    source.with_suffix(".txt").write_text(" from beside,\n and far too long for it \n")
    assert main(run) == 0 and caption_in(target) == b"from beside, and far too"
    assert main([*run, "--caption", TEXT]) == 0 and caption_in(target) == TEXT.encode()
    assert main([*run, "--caption", ""]) == 0 and caption_in(target) == b""
    assert main(["decode", str(target), "-m", model, "-o", str(tmp_path / "b.png")]) == 0
    assert Pillow.open(tmp_path / "b.png").size == (40, 32)


def test_an_evaluation_tells_what_the_data_says(codec: Codec, tmp_path: Path) -> None:
    source = small_picture(tmp_path, TEXT)
    (told,) = evaluate(codec, [source], metrics=[PSNR()], progress=False).rows
    assert told.nominal_bits == 8 * (10 * 8 + len(TEXT))
    encode_file(codec, source, tmp_path / "a.ncs")
    assert caption_in(tmp_path / "a.ncs") == TEXT.encode()


def test_what_cannot_be_told_is_refused_in_a_line(
    model: str, codec: Codec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = small_picture(tmp_path)
    for text, message in (("x" * 25, "has 25 bytes: this model takes up to 24"), ("a\0b", "holds a zero")):
        assert main(["encode", str(source), "-m", model, "--caption", text]) != 0
        assert message in (error := capsys.readouterr().err) and error.count("\n") == 1
    with pytest.raises(CodecError, match="takes no captions: leave --caption out"):
        bounded(TEXT, 0)
    with pytest.raises(CodecError, match="a caption of 25 bytes, this model takes 24: the file is forged"):
        codec.decode(with_captions(codec.encode(picture(16, 16)), [b"x" * 25]))
    with pytest.raises(CodecError, match="give 1 to 4096, less than the channels"):
        Captioned(8, partial(GroupedLFQ, groups=2), 8)


def test_cutting_keeps_whole_characters() -> None:
    assert shortened("\u00e4\u00e4\u00e4", 5) == "\u00e4\u00e4".encode()
    assert shortened(" two\n words\0", 100) == b"two words"


def test_the_coder_saves_what_it_promises_and_takes_every_byte() -> None:
    coder, text = TextCoder(), b"two people walk along a beach in front of a red sun"
    values = torch.tensor([list(text)])
    assert coder.bits(values, {}) / len(text) < 4.6
    every = torch.arange(1, 256)[None]
    for row in (values, every):
        data = coder.encode(row, {})
        assert torch.equal(coder.decode(data, 1, tuple(row.shape[1:]), {}), row)
        assert 8 * len(data) <= math.ceil(coder.bits(row, {}) / 32) * 32 + 32


def test_training_tells_the_captions_of_the_data(codec: Codec, tmp_path: Path) -> None:
    for name, text in (("a", "a lighthouse"), ("b", None)):
        with Pillow.open(SAMPLES / "image" / "test" / "kodim23.png") as image:
            image.crop((0, 0, 64, 64)).save(tmp_path / f"{name}.png")
        if text is not None:
            (tmp_path / f"{name}.txt").write_text(text)
    data = ImageDataModule([str(tmp_path)], [str(tmp_path)], 32, 4, loading=Loading(workers=0))
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert sorted(set(batch.captions)) == [b"", b"a lighthouse"]
    _, quantized = codec.analyse(batch.signal, 2, batch.captions)
    heard = [bytes(row.tolist()).rstrip(b"\0") for row in hear(quantized.latents, LONGEST)]
    assert heard == list(batch.captions)
    codec.train()
    weights = {"commitment": 0.0, "token_entropy": 0.0, "codebook_entropy": 0.0}
    terms, _, _ = Denoise(weights)(codec, batch.signal, 2, batch.captions)
    codec.decoder.zero_grad()
    terms["denoising"].value.backward()
    assert codec.decoder.conditioner.tokens.letters.weight.grad[ord("h")].abs().sum() > 0
    codec.eval()


def test_a_damaged_description_is_none(tmp_path: Path) -> None:
    assert files.caption(small_picture(tmp_path)) == ""
    small_picture(tmp_path, "x" * 10).with_suffix(".txt").write_bytes(b"\xff\xfeword")
    assert files.caption(tmp_path / "a.png") == "word"
