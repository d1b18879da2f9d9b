"""A model from outside is data: the nine attacks of specs/reliability.md section 4, and files that claim too much."""

import json
import resource
import struct
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from examples import make_codec

from neuralcodecs import Codec, CodecError
from neuralcodecs.cli import main

FOREIGN = """
open({marker!r}, "w").close()
import subprocess
from neuralcodecs import Encoder
class Part(Encoder):
    def __init__(self, call = None): subprocess.run(["touch", {marker!r}])
def make() -> Encoder:
    open({marker!r}, "w").close()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_codec().save_pretrained(tmp_path / "model")
    (tmp_path / "foreign_attack.py").write_text(FOREIGN.format(marker=str(tmp_path / "marker")))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "model"


def spoil(folder: Path, slot: str, value: object) -> None:
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    *way, last = slot.split(".")
    place: dict[str, Any] = config["init_args"]
    for key in way:
        place = place[key]["init_args"]
    place[last] = value
    path.write_text(yaml.safe_dump(config))


def touch(folder: Path) -> dict[str, Any]:
    return {"args": ["touch", str(folder.parent / "marker")], "command": f"touch {folder.parent / 'marker'}"}


ATTACKS = {
    "a class that runs a command": ("encoder", lambda f: {"class_path": "subprocess.Popen", "init_args": touch(f)}),
    "a function for a callable": ("quantizer", lambda f: "os.system"),
    "a class for a type": ("decoder", lambda f: "subprocess.Popen"),
    "a foreign part that is fed a command": (
        "encoder",
        lambda f: {"class_path": "foreign_attack.Part", "init_args": {"call": "os.system"}},
    ),
    "a command by its alias": ("decoder", lambda f: {"class_path": "torch.serialization.os.system", "init_args": {}}),
    "a foreign module of the wrong type": ("medium", lambda f: {"class_path": "foreign_attack.nothing"}),
    "a foreign function that returns a part": ("encoder", lambda f: {"class_path": "foreign_attack.make"}),
    "a loader for a callable": ("quantizer", lambda f: {"class_path": "torch.load", "init_args": {"f": "x"}}),
    "a compiler for a callable": ("decoder", lambda f: "torch.utils.cpp_extension.load"),
    "a part within a part": ("encoder.norm", lambda f: {"class_path": "foreign_attack.Part"}),
    "a module of the standard library": ("encoder", lambda f: {"class_path": "this.s"}),
    "a path instead of a part": ("encoder", lambda f: str(f / "config.yaml")),
}


@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_no_config_has_a_side_effect(folder: Path, attack: str, capsys: pytest.CaptureFixture[str]) -> None:
    slot, value = ATTACKS[attack]
    spoil(folder, slot, value(folder))
    sys.modules.pop("this", None)
    with pytest.raises(CodecError, match="refused"):
        Codec.from_pretrained(folder)
    assert not (folder.parent / "marker").exists() and "foreign_attack" not in sys.modules
    assert "this" not in sys.modules
    assert main(["encode", "x.wav", "-m", str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "tag", ["object/apply:os.system", "name:os.system", "module:foreign_attack", "object/new:os.system"]
)
def test_yaml_tags_are_refused(folder: Path, tag: str) -> None:
    (folder / "config.yaml").write_text(f"class_path: !!python/{tag} ['touch {folder.parent / 'marker'}']\n")
    with pytest.raises(CodecError, match="is not YAML"):
        Codec.from_pretrained(folder)
    assert not (folder.parent / "marker").exists() and "foreign_attack" not in sys.modules


def forge(path: Path, change: object) -> None:
    """Rewrite the JSON header of a safetensors file, its data left as it is."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = change(json.loads(data[8 : 8 + length]))  # type: ignore[operator]
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def first(header: dict[str, Any], **change: object) -> dict[str, Any]:
    name = next(n for n, v in header.items() if n != "__metadata__" and v["dtype"] == "F32")
    return header | {name: header[name] | change}


FORGERIES = {
    "huge shape": lambda h: first(h, shape=[2**40, 2**20]),
    "shape that overflows": lambda h: first(h, shape=[0, 2**62]),
    "negative shape": lambda h: first(h, shape=[-1]),
    "another type": lambda h: first(h, dtype="I32"),
    "a type that nobody has": lambda h: first(h, dtype="Q9"),
    "offsets beyond the end": lambda h: first(h, data_offsets=[0, 2**50]),
    "offsets that overlap": lambda h: first(h, data_offsets=[4, 8]),
    "another name": lambda h: {f"x{k}" if k != "__metadata__" else k: v for k, v in h.items()},
    "no JSON": lambda h: b"{" * 200,
    "deep JSON": lambda h: b'{"a":' * 50_000,
    "empty": lambda h: {},
}


@pytest.mark.parametrize("forgery", sorted(FORGERIES))
def test_a_tampered_header_is_one_line(folder: Path, forgery: str, capsys: pytest.CaptureFixture[str]) -> None:
    forge(folder / "model.safetensors", FORGERIES[forgery])
    assert main(["encode", "x.wav", "-m", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("neuralcodecs: ") and "model" in error


def test_a_header_length_of_a_terabyte(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "model.safetensors"
    for length in (2**40, 2**63, 0):
        path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
        assert main(["encode", "x.wav", "-m", str(folder)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("slot", "value"), [("encoder.dim", 2**31), ("encoder.filters", 2**20), ("quantizer.codebook_size", 2**40)]
)
def test_a_config_that_claims_a_huge_model_allocates_nothing(folder: Path, slot: str, value: int) -> None:
    spoil(folder, slot, value)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(CodecError):
        Codec.from_pretrained(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB
    assert time.perf_counter() - started < 20


def test_a_checkpoint_of_a_kilobyte_cannot_stand_for_gigabytes(folder: Path, tmp_path: Path) -> None:
    codec = make_codec()
    config = codec.config()
    config["init_args"]["quantizer"]["init_args"]["codebook_size"] = 2**28
    state = {f"codec.{k}": v for k, v in codec.state_dict().items()}
    for name in [n for n in state if state[n].dim() > 1 and state[n].shape[1] == 60]:
        state[name] = torch.zeros(1, 1, 1).expand(4, 2**28, 8)
    path = tmp_path / "small.ckpt"
    torch.save({"state_dict": state, "codec": config}, path)
    assert path.stat().st_size < 10_000_000
    with pytest.raises(CodecError, match="it is forged"):
        Codec.from_pretrained(path)
    for callbacks in ({"a": 1}, [1], {"a": {"average": 3}}):
        torch.save({"state_dict": {}, "codec": codec.config(), "callbacks": callbacks}, path)
        with pytest.raises(CodecError):
            Codec.from_pretrained(path)
