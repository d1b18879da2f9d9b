"""How figures were made: without it two of them cannot be compared."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from neuralcodecs import __version__
from neuralcodecs.checkpoints import digest
from neuralcodecs.codec import Codec
from neuralcodecs.criteria import Metric

PROTOCOL = "protocol.json"
PACKAGES = ("torch", "torchaudio", "torchmetrics", "pesq", "pystoi", "visqol-python", "speechmos", "pyworld", "piq")


def protocol(metrics: Sequence[Metric], files: Mapping[str, Path], absent: Mapping[str, str]) -> dict[str, Any]:
    """What the figures depend on, as plain data.

    Args:
        metrics: what is measured.
        files: the test set, by the names that results give them.
        absent: metrics that could not be measured at all, with the reason.
    """
    return {
        "metrics": {name: metric.definition for metric in metrics for name in metric.names},
        "higher_is_better": {name: metric.higher_is_better for metric in metrics for name in metric.names},
        "absent": dict(absent),
        "data": data({name: digest(path) for name, path in files.items()}),
        "code": {"version": __version__, "commit": commit()},
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
    }


def data(hashes: Mapping[str, str]) -> dict[str, Any]:
    """The SHA-256 of every file by name, and that of their sorted listing in the format of ``sha256sum``."""
    listing = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(hashes.items()))
    return {"files": dict(hashes), "sha256": hashlib.sha256(listing.encode()).hexdigest()}


def commit() -> str:
    """The commit of the working tree that this package runs from, with ``+`` after it where files have changed.

    Empty outside a git repository.
    """
    folder = Path(__file__).parent
    try:
        told = [
            subprocess.run(["git", *call], cwd=folder, capture_output=True, text=True, timeout=20, check=True).stdout
            for call in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no", "--", "."])
        ]
    except (OSError, subprocess.SubprocessError):
        return ""
    return told[0].strip() + ("+" if told[1].strip() else "")


def config_hash(codec: Codec) -> str:
    """SHA-256 of a codec's config: what it is made of, without its weights."""
    return hashlib.sha256(json.dumps(codec.config(), sort_keys=True).encode()).hexdigest()


def conflicts(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Why figures of two protocols cannot be compared: metrics of one name defined otherwise, other files of one name.

    Empty where those that both have may be compared.
    """
    found = [
        f"{name} is defined otherwise: {definition!r} and {theirs['metrics'][name]!r}"
        for name, definition in ours["metrics"].items()
        if theirs["metrics"].get(name, definition) != definition
    ]
    others = theirs["data"]["files"]
    changed = [name for name, sha256 in ours["data"]["files"].items() if others.get(name, sha256) != sha256]
    if changed:
        found.append(f"{len(changed)} files of one name differ, such as {changed[0]}")
    return found


def remarks(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Differences of two protocols that a reader should know of but that do not forbid a comparison."""
    found = []
    if ours["data"]["sha256"] != theirs["data"]["sha256"]:
        counts = [len(side["data"]["files"]) for side in (ours, theirs)]
        found.append(f"the sets of files differ ({counts[0]} and {counts[1]}): only files of both are compared")
    if ours["code"] != theirs["code"]:
        codes = [f"{side['code']['version']} {side['code']['commit'][:9]}".strip() for side in (ours, theirs)]
        found.append(f"made by different code: {codes[0]} and {codes[1]}")
    if ours["machine"] != theirs["machine"]:
        found.append("made on different machines or thread counts: speeds do not compare")
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
