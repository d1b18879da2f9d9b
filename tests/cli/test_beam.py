"""``encode --beam``: other codes of the same model, nearer to the latents, from files and from pipes."""

from pathlib import Path
from pipes import piped

import pytest
import torch
from examples import clip, make_codec

from neuralcodecs.cli import main
from neuralcodecs.files import read_codes
from neuralcodecs.shipped import default_folder


def test_files_have_less_error_and_decode_as_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codec, model, source = make_codec(), str(tmp_path / "model"), clip(tmp_path)
    codec.save_pretrained(model)
    signal, _ = codec.medium.read(source)
    with torch.no_grad():
        latents = codec.encoder(signal[None])
    errors = []
    for name, how in (("a", []), ("b", ["--beam", "16"])):
        coded = tmp_path / f"{name}.ncs"
        assert main(["encode", str(source), "-o", str(coded), "-m", model, *how]) == 0
        assert main(["decode", str(coded), "-o", str(tmp_path / f"{name}.wav"), "-m", model]) == 0
        codes = read_codes(coded, codec)[0]["codes"]
        errors.append(float((codec.quantizer.decode(codes) - latents).square().mean()))
    assert errors[1] < 0.9 * errors[0]
    out = piped(monkeypatch, source.read_bytes())
    assert main(["encode", "-", "-m", model, "--beam", "16"]) == 0
    (tmp_path / "c.ncs").write_bytes(out.getvalue())
    assert torch.equal(read_codes(tmp_path / "c.ncs", codec)[0]["codes"], codes)


def test_what_has_no_beam_and_what_is_none_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_codec().save_pretrained(tmp_path / "model")
    out = str(tmp_path / "x.ncs")
    for model, paths, error in (
        (tmp_path / "model", "0", "a beam of 0 paths: give at least 1"),
        (default_folder("image"), "16", "Hyperprior has no beam search: encode without --beam"),
    ):
        assert main(["encode", str(clip(tmp_path)), "-o", out, "-m", str(model), "--beam", paths]) == 2
        assert error in capsys.readouterr().err and not Path(out).exists()
