"""Half precision: rounded once, then nothing is lost, and what is loaded has the fingerprint that was announced."""

import json
from pathlib import Path

import pytest
import torch
from examples import make_codec
from hyper_codecs import photo, trained
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from neuralcodecs import Codec, CodecError
from neuralcodecs.cli import main
from neuralcodecs.compact import LARGE, MOST_ZEROS, PACKED, ZEROS, halved, narrowed, restored
from neuralcodecs.models import stored_fingerprint
from neuralcodecs.pretrained import fingerprint, load_state
from neuralcodecs.prior_coders import LearnedPriorCoder, StaticPriorCoder
from neuralcodecs.priors.autoregressive import FactorisedTransformer
from neuralcodecs.priors.counted import StaticPrior


def head(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def with_priors() -> Codec:
    codec = make_codec()
    sizes = codec.quantizer.codebook_sizes
    counted = StaticPrior(sizes)
    counted.count(torch.randint(0, 60, (1, 4, 1000)))
    codec.attach("static", StaticPriorCoder(counted))
    codec.attach("learned", LearnedPriorCoder(FactorisedTransformer(sizes, 32, 2, 1, 16).export(), sizes))
    return codec


def test_half_is_half_as_large_and_loaded_exactly(tmp_path: Path) -> None:
    codec = with_priors()
    codec.save_pretrained(tmp_path / "full")
    small = halved(codec)
    small.save_pretrained(tmp_path / "half")
    sizes = {name: (tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half")}
    assert sizes["half"] < 0.52 * sizes["full"]
    loaded = Codec.from_pretrained(tmp_path / "half")
    for name, value in small.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value) and loaded.state_dict()[name].dtype == value.dtype, name
    assert fingerprint(loaded).hex() == fingerprint(small).hex() == stored_fingerprint(tmp_path / "half")
    assert fingerprint(loaded) != fingerprint(codec)
    signal = 0.1 * torch.randn(1, 1, 9000)
    assert torch.equal(loaded.decode(loaded.encode(signal)), small.decode(small.encode(signal)))
    assert (small.decode(codec.encode(signal)) - codec.decode(codec.encode(signal))).abs().max() < 1e-2


def test_integer_priors_are_the_same_to_the_bit(tmp_path: Path) -> None:
    codec = with_priors()
    halved(codec).save_pretrained(tmp_path)
    loaded = Codec.from_pretrained(tmp_path)
    codes = torch.randint(0, 60, (4, 50))
    for name, prior in codec.priors.items():
        again = loaded.priors[name]
        assert again.fingerprint == prior.fingerprint
        assert all(torch.equal(again.state_dict()[key], value) for key, value in prior.state_dict().items())
        assert again.encode(codes, {}) == prior.encode(codes, {})
    stored = load_file(tmp_path / "prior-learned.safetensors")
    facts = json.loads(head(tmp_path / "prior-learned.safetensors")[PACKED])
    weights = [name for name, value in stored.items() if name.endswith("weight") and value.numel() >= LARGE]
    assert weights and all(facts[name][3] <= 12 for name in weights)


def test_saved_again_it_stays_small_and_itself(tmp_path: Path) -> None:
    halved(with_priors()).save_pretrained(tmp_path / "a")
    Codec.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    for path in (tmp_path / "a").glob("*.safetensors"):
        first, second = load_file(path), load_file(tmp_path / "b" / path.name)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[k], second[k]) and first[k].dtype == second[k].dtype for k in first)


def test_a_hyperprior_at_half_decodes_the_files_of_its_copy(tmp_path: Path) -> None:
    """Its entropy model is rounded to integers from the weights: both copies must round the same ones."""
    small = halved(trained("none"))
    small.save_pretrained(tmp_path)
    loaded = Codec.from_pretrained(tmp_path)
    assert fingerprint(loaded) == fingerprint(small)
    codes = small.encode(photo("train/openimages_000ab8c20b3e5b58.jpg", 64, 48)[None])
    again = loaded.encode(photo("train/openimages_000ab8c20b3e5b58.jpg", 64, 48)[None])
    assert all(torch.equal(ours.values, theirs.values) for ours, theirs in zip(codes, again, strict=True))
    assert torch.equal(loaded.decode(codes), small.decode(codes))


def test_export_half(tmp_path: Path) -> None:
    make_codec().save_pretrained(tmp_path / "model")
    assert main(["export", str(tmp_path / "model"), str(tmp_path / "half"), "--half"]) == 0
    assert fingerprint(Codec.from_pretrained(tmp_path / "half")) == fingerprint(halved(make_codec()))
    # whoever trains on gets all tensors, those that were left out too
    assert load_state(tmp_path / "half").keys() == make_codec().state_dict().keys()


def test_weights_beyond_half_precision_are_refused() -> None:
    codec = make_codec()
    with torch.no_grad():
        next(codec.parameters()).flatten()[0] = 1e6
    with pytest.raises(CodecError, match="save it in full"):
        halved(codec)


def test_narrowing_loses_nothing() -> None:
    tensors = {
        "exact": torch.tensor([1.0, -2048.0, 2**-24]),
        "inexact": torch.tensor([2049.5]),
        "tiny": torch.tensor([2.0**-25]),
        "few": torch.tensor([-1, 300]),
        "flag": torch.tensor(True),
        "empty": torch.zeros(0, dtype=torch.int64),
        "zeros": torch.zeros(3, 1000),
        "counts": torch.zeros(2000, dtype=torch.int64),
        "weights": torch.randint(-2047, 2048, (40, 50)).float(),
        "coarse": 32.0 * torch.randint(-31, 32, (40, 50)),
        "edge": torch.cat([torch.arange(1500.0), torch.tensor([2.0**24])]),
        "beyond": torch.cat([torch.arange(1500.0), torch.tensor([2.0**25])]),
        "same": torch.full((1024,), -7),
        "tables": torch.randint(0, 2**24, (7, 200), dtype=torch.int32),
        "wide": torch.randint(-(2**46), 2**46, (1025,)),
        "widest": torch.full((1025,), 2**60),
        "fractions": torch.randn(2000),
    }
    stored, facts = narrowed(tensors)
    bits = {name: row[3] for name, row in json.loads(facts[PACKED]).items()}
    assert bits == {"weights": 12, "coarse": 6, "edge": 25, "same": 1, "tables": 24, "wide": 47}
    assert stored["coarse"].numel() == 2000 * 6 // 8 and not {"zeros", "counts"} & stored.keys()
    assert stored["exact"].dtype == torch.float16
    back = restored(stored, facts)
    assert back.keys() == tensors.keys()
    for name, value in tensors.items():
        assert torch.equal(back[name].to(value.dtype), value) and back[name].shape == value.shape, name
        assert back[name].is_floating_point() == value.is_floating_point(), name


@pytest.mark.parametrize(
    ("key", "value"),
    [(ZEROS, text) for text in ("[", "[1]", '{"a": 3}', '{"a": []}', '{"a": [1, -1]}', '{"a": [1, "x"]}')]
    + [(PACKED, text) for text in ("{", "[[]]", "3", '{"a": [1, 0, 0, 8, 3]}')]
    # of the file's own bytes: other numbers, shapes, bits and shifts than they have
    + [(PACKED, f'{{"bytes": [1, {row}]}}') for row in ("0, 0, 8, 11", "0, 0, 0, 10", "0, 0, 49, 1", "-1, 0, 8, 10")]
    + [(PACKED, f'{{"bytes": [1, {row}]}}') for row in ("0, 1e400, 8, 10", "99, 0, 8, 10", "0, 0, 8, -1, -10")],
)
def test_forged_facts_are_refused(tmp_path: Path, key: str, value: str) -> None:
    make_codec().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors") | {"bytes": torch.zeros(10, dtype=torch.uint8)}
    save_file(tensors, tmp_path / "model.safetensors", {key: value})
    with pytest.raises(CodecError, match="cannot be read"):
        Codec.from_pretrained(tmp_path)


def test_zeros_take_no_memory_beyond_a_bound(tmp_path: Path) -> None:
    for shape in ([MOST_ZEROS + 1], [2**40, 2**20]):
        with pytest.raises(CodecError, match="more than"):
            restored({}, {ZEROS: json.dumps({"a": [1, *shape]})})
