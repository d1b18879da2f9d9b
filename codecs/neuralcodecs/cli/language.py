"""Commands about language models of codes: ``generate`` and ``probe``."""

import argparse
import csv
import json
from pathlib import Path

import torch

from neuralcodecs.atomic import atomic
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

    labels = _labels(options.labels) if options.labels else {}
    results = {}
    for source in options.models:
        codec, identity = load_model(source, options)
        files = find_files(options.data, codec.medium.suffixes, options.limit)
        results[source] = probe(codec, files, labels, options.levels, options.budget)
        results[source]["fingerprint"] = identity.hex()
    if options.out:
        with atomic(options.out) as temporary:
            temporary.write_text(json.dumps(results, indent=2))
    print(table(results))
    return 0


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
