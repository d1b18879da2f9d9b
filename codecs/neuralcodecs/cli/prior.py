"""``neuralcodecs prior``: count how often a model's codes occur in files, and publish the tables with the model."""

import argparse
import sys

from tqdm import tqdm

from neuralcodecs.cli.load import load_model
from neuralcodecs.cli.models import free
from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.measure import find_files
from neuralcodecs.files import encode_signals
from neuralcodecs.prior_coders import StaticPriorCoder
from neuralcodecs.priors.counted import StaticPrior


def run_prior(options: argparse.Namespace) -> int:
    """At the most levels; files that cannot be read are named and passed over."""
    target = free(options)
    codec, _ = load_model(options.model, options)
    files = find_files(options.data, codec.medium.suffixes, options.limit)
    levels = len(codec.quantizer.codebook_sizes)
    prior = StaticPrior(codec.quantizer.codebook_sizes)
    counted = 0
    for path in tqdm(files, desc="count", unit="file", disable=not sys.stderr.isatty()):
        try:
            codes = encode_signals(codec, [codec.medium.read(path)[0]], levels)[0]
        except CodecError as error:
            print(f"neuralcodecs: {path}: {error}", file=sys.stderr)
            continue
        prior.count(codes["codes"].flatten(2).cpu())
        counted += codes["codes"].numel()
    if not counted:
        raise CodecError("no file could be read: nothing was counted")
    codec.attach("static", StaticPriorCoder(prior))
    codec.save_pretrained(target)
    print(f"{target}: {counted} codes of {len(files)} files counted")
    return 0
