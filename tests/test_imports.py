"""Imports point one way (design section 3), and what commands need to start fast does not import lightning."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "codecs" / "neuralcodecs"
COMMON = {"errors", "stream_coder", "configured", "criteria", "medium", "codes", "pieces", "atomic", "threads"}
COMMON |= {"sampling", "captions"}
PARTS = COMMON | {"codec", "layers"}
ALLOWED = {
    "bitstream": {"errors", "bitstream"},
    "layers": {"errors", "layers"},
    "encoders": PARTS | {"encoders"},
    "quantizers": PARTS | {"quantizers", "bitstream"},
    "decoders": PARTS | {"decoders"},
    "priors": PARTS | {"priors"},
    "audio": PARTS | {"encoders", "quantizers", "decoders", "audio", "sources", "cache"},
    "image": PARTS | {"encoders", "quantizers", "decoders", "image", "sources", "cache"},
    "video": PARTS | {"encoders", "quantizers", "decoders", "image", "video", "sources", "cache"},
    "lm": {path.stem for path in PACKAGE.iterdir()} - {"training", "cli"},
}


def imported(path: Path) -> set[str]:
    """Names below neuralcodecs, and other top-level modules prefixed by '/'."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            first, *rest = module.split(".")
            names.add(rest[0] if first == "neuralcodecs" and rest else f"/{first}")
    return names


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_imports_point_one_way(package: str) -> None:
    files = sorted((PACKAGE / package).rglob("*.py"))
    assert files
    for path in files:
        ours = {name for name in imported(path) if not name.startswith("/")}
        assert ours <= ALLOWED[package], f"{path.relative_to(ROOT)} imports {sorted(ours - ALLOWED[package])}"


def test_only_training_imports_lightning_and_bitstream_no_torch() -> None:
    for path in PACKAGE.rglob("*.py"):
        names = imported(path)
        if "training" not in path.parts:
            assert "/lightning" not in names, path
        if "bitstream" in path.parts:
            assert "/torch" not in names, path


def test_commands_start_without_lightning_and_info_without_torch() -> None:
    code = (
        "import sys; import neuralcodecs.bitstream.info; print('torch' in sys.modules);"
        "import neuralcodecs.files, neuralcodecs.pretrained, neuralcodecs.evaluation.measure;"
        "print('lightning' in sys.modules)"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "codecs"
    )
    assert output.stdout.split() == ["False", "False"]


def test_the_source_root_holds_one_package_and_nothing_else() -> None:
    assert [p.name for p in (ROOT / "codecs").iterdir() if p.name != "__pycache__"] == ["neuralcodecs"]
    standard = set(sys.stdlib_module_names)
    assert [p for p in PACKAGE.rglob("*.py") if p.stem in standard and p.stem != "__init__"] == []
