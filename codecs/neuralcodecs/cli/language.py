"""Commands about language models of codes: ``generate`` and ``probe``."""

import argparse

import torch

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
    language.generate(options.out, tuple(options.size), sampling, options.prompt)
    print(options.out)
    return 0


def _device(options: argparse.Namespace) -> torch.device:
    if options.device == "cuda" and not torch.cuda.is_available():
        raise CodecError("--device cuda: no CUDA device here; use --device cpu")
    return torch.device("cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu")
