"""Every golden file with coded payloads decodes to the very codes that were written, with the model of its day."""

import json
from pathlib import Path

import pytest
from golden_coded import FILES, coded_facts, unpack
from golden_files import EXPECTED, MODELS

from neuralcodecs import Codec
from neuralcodecs.cli import main

GOLDEN = json.loads(EXPECTED.read_text())["coded"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("models"))


def test_every_coder_has_a_small_one() -> None:
    files = list(MODELS.parent.glob("*.ncs"))
    assert {path.stem for path in files} == set(GOLDEN) == set(FILES)
    assert {stream["coder"] for file in GOLDEN.values() for stream in file["streams"]} == {0, 1, 2, 3, 4, 5, 16, 17}
    assert max(path.stat().st_size for path in files) < 2000 and MODELS.stat().st_size < 100_000
    plain = {GOLDEN[name]["sha256"] for name in ("fixed", "static", "adaptive", "factorised", "parallel")}
    predicted = {GOLDEN[name]["sha256"] for name in ("coarse-likeliest", "coarse-drawn")}
    assert len(plain) == 1 and len(plain | predicted) == 3


@pytest.mark.parametrize("name", GOLDEN)
def test_coded(name: str, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, model = MODELS.with_name(f"{name}.ncs"), models / GOLDEN[name]["model"]
    facts = {"model": model.name} | coded_facts(path, Codec.from_pretrained(model))
    assert json.loads(json.dumps(facts)) == GOLDEN[name]
    assert main(["info", str(path)]) == 0
    shown = capsys.readouterr().out
    assert all(stream["prior"] in shown for stream in GOLDEN[name]["streams"])
    assert ("levels sent" in shown) == name.startswith("coarse")
    assert main(["decode", str(path), "-m", str(model), "-o", f"{tmp_path}/"]) == 0


@pytest.mark.parametrize("name", ["static", "parallel", "coarse-drawn", "masked", "hyperprior"])
def test_another_model_refuses_it(name: str, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = MODELS.with_name(f"{name}.ncs")
    others = {"static": "picture", "parallel": "speech", "coarse-drawn": "speech", "masked": "speech"}
    model = models / others.get(name, "picture")
    assert main(["decode", str(path), "-m", str(model), "-o", "-"]) == 2
    assert ("needs another prior" if others.get(name) == "speech" and name != "masked" else "was made by model") in (
        capsys.readouterr().err
    )
