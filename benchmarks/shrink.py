"""A published codec with a factorised prior made small: fewer levels, and a prior whose integers need few bits.

    python benchmarks/shrink.py MODEL OUT --levels 12 --bits 6 [--data DATA/speech/val]

Both cuts are exact in what they leave: the codes of the levels that stay are the same, and the first levels of a
factorised prior do not see the later ones. Coarser integers change its probabilities; with --data the bits that it
spends before and after are printed. Weights are rounded to half precision.
"""

import argparse
import copy
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuralcodecs.codec import Codec
from neuralcodecs.compact import halved
from neuralcodecs.evaluation.measure import find_files
from neuralcodecs.learned_coders import coder_of
from neuralcodecs.pretrained import build, load
from neuralcodecs.priors.integer_autoregressive import IntegerFactorised


def trimmed_config(node: Any, levels: int) -> Any:
    """Of a residual quantizer: as many codebooks as levels."""
    if isinstance(node, list):
        return [trimmed_config(item, levels) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: trimmed_config(value, levels) for key, value in node.items()}
    if "codebooks" in node and "levels" in node:
        node |= {"codebooks": levels, "levels": [n for n in node["levels"] if n <= levels]}
    return node


def cut(state: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """The beginning of each tensor, as large as the one that it is to fill."""
    return {name: state[name][tuple(slice(n) for n in want.shape)] for name, want in like.items()}


def trimmed(codec: Codec, levels: int) -> Codec:
    small = build(trimmed_config(codec.config(), levels), "the trimmed config")
    state = cut(codec.state_dict(), small.state_dict())
    for name, value in state.items():
        if name.endswith(".bank.initialised_levels"):
            value.clamp_(max=levels)
        if name.endswith(".bank.usage"):  # a statistic of training
            state[name] = torch.zeros_like(value)
    small.load_state_dict(state)
    return small.eval()


def first_levels(prior: IntegerFactorised, levels: int) -> IntegerFactorised:
    arguments = prior.describe()["init_args"]
    small = IntegerFactorised(**arguments | {"alphabet": tuple(arguments["alphabet"][:levels])})
    small.load_state_dict(cut(prior.state_dict(), small.state_dict()))
    small.seal()
    return small.eval()


def coarse(prior: IntegerFactorised, bits: int) -> IntegerFactorised:
    """Weights and vectors in multiples of the power of two with which they have so many bits."""
    other, most = copy.deepcopy(prior), 2 ** (bits - 1) - 1
    state = other.state_dict()
    for name, value in state.items():
        if name.endswith(("weight", "vectors")) and value.numel():
            step = 2.0 ** max(0, math.ceil(math.log2(max(value.abs().max().item(), 1) / most)))
            state[name] = (value / step).round().clamp(-most, most) * step
    other.load_state_dict(state)
    other.seal()
    return other.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--levels", type=int, required=True)
    parser.add_argument("--bits", type=int, default=16)
    parser.add_argument("--data", type=Path, nargs="*", default=[])
    parser.add_argument("--limit", type=int, default=4)
    options = parser.parse_args()
    codec = load(options.model)
    whole = codec.priors["learned"].get_submodule("prior")
    if not isinstance(whole, IntegerFactorised):
        raise SystemExit(f"the prior of {options.model} is no factorised one: it cannot be cut")
    small = halved(trimmed(codec, options.levels))
    prior = coarse(first_levels(whole, options.levels), options.bits)
    small.attach("learned", coder_of(prior, small.quantizer.codebook_sizes))
    small.save_pretrained(options.out)
    print({path.name: path.stat().st_size for path in sorted(options.out.iterdir())})
    files = find_files(options.data, codec.medium.suffixes, options.limit) if options.data else []
    codes = [small.encode(small.medium.read(path)[0][None])["codes"] for path in files]
    for levels in small.quantizer.levels if codes else ():
        nominal = sum(10.0 * item[:, :levels].numel() for item in codes)
        before, after = (sum(p.ideal_bits(item[:, :levels]) for item in codes) / nominal for p in (whole, prior))
        print(f"{levels} levels: {before:.4f} of the nominal bits before, {after:.4f} after", flush=True)


if __name__ == "__main__":
    main()
