"""Commands about language models of codes: ``generate`` and ``probe``."""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

import torch

from neuralcodecs.atomic import atomic
from neuralcodecs.cli.status import FAILED
from neuralcodecs.errors import CodecError


def run_generate(options: argparse.Namespace) -> int:
    from neuralcodecs.lm.language import load_language
    from neuralcodecs.lm.sampling import Sampling

    if options.out.exists() and not options.overwrite:
        raise CodecError(f"{options.out} exists: add --overwrite, or give another --out")
    sampling = Sampling(options.temperature, options.top_k, options.top_p, options.seed)
    language = load_language(options.run_folder, options.trust).to(_device(options))
    if options.out.suffix.lower() not in language.material.suffixes:
        raise CodecError(f"{options.out}: this model makes files that end in {', '.join(language.material.suffixes)}")
    language.material.to(_device(options))
    language.generate(options.out, tuple(options.size), sampling, options.prompt)
    print(options.out)
    return 0


def _device(options: argparse.Namespace) -> torch.device:
    if options.device == "cuda" and not torch.cuda.is_available():
        raise CodecError("--device cuda: no CUDA device here; use --device cpu")
    return torch.device("cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu")


def run_probe(options: argparse.Namespace) -> int:
    from neuralcodecs.cli.load import load_model
    from neuralcodecs.evaluation.measure import find_files
    from neuralcodecs.lm.probes import probe, table
    from neuralcodecs.lm.suitable import check_suitable

    if options.out and options.out.exists() and not options.overwrite:
        raise CodecError(f"{options.out} exists: add --overwrite, or give another --out")
    labels = _labels(options.labels) if options.labels else {}
    results: dict[str, dict[str, Any]] = {}
    jobs = []
    for source in options.models:  # all before the first, which may take long, is probed
        codec, identity = load_model(source, options)
        check_suitable(codec)
        files = find_files(options.data, codec.medium.suffixes, options.limit)
        if labels and not any(path.resolve() in labels for path in files):
            raise CodecError(
                f"--labels {options.labels}: none of the {len(files)} files is in it; its paths start there"
            )
        jobs.append((source, codec, identity, files))
    for source, codec, identity, files in jobs:
        results[source] = probe(codec, files, labels, options.levels, options.budget)
        results[source]["fingerprint"] = identity.hex()
        if options.out:
            with atomic(options.out) as temporary:
                temporary.write_text(json.dumps(results, indent=2))
    print(table(results))
    failed = dict.fromkeys(reason for figures in results.values() for reason in figures["unreadable"])
    for reason in failed:
        print(f"neuralcodecs: {reason}", file=sys.stderr)
    return FAILED if failed else 0


def _labels(text: str) -> dict[Path, str]:
    """The column of a manifest, by the resolved path of each file."""
    name, _, column = text.rpartition(":")
    try:
        with Path(name).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CodecError(f"--labels {text}: {error}; give MANIFEST.csv:COLUMN") from error
    if not rows or "path" not in rows[0] or column not in rows[0]:
        raise CodecError(f"--labels {text}: {name} needs the columns path and {column}")
    return {(Path(name).parent / row["path"]).resolve(): row[column] for row in rows if row["path"] and row[column]}
