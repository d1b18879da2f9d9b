"""LMCodec's mode: only coarse levels are sent, a prior predicts the rest; rate and quality beside plain levels.

Rates are entropy bits of the levels that are sent under the model's learned prior, in exact integers.

    python benchmarks/coarse.py --model runs/prior_quickstart/model --data samples/speech/test --coarse 2 [--levels 8]
"""

import argparse
from collections import defaultdict
from pathlib import Path

from neuralcodecs.criteria import MetricFailure
from neuralcodecs.evaluation.measure import find_files
from neuralcodecs.evaluation.prior_rates import encode_files
from neuralcodecs.fill import fill
from neuralcodecs.pretrained import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a codec with a learned prior")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--coarse", type=int, default=2, help="levels that are sent")
    parser.add_argument("--levels", type=int, default=8, help="levels that are decoded")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    codec = load(options.model)
    coder = codec.priors["learned"]
    prior = coder.get_submodule("prior")
    files = find_files(options.data, codec.medium.suffixes, options.limit)
    coarse, levels = options.coarse, options.levels
    coded = encode_files(codec, files, [coarse, levels])
    sums: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path, sent, full in zip(files, coded[coarse], coded[levels], strict=True):
        signal, _ = codec.medium.read(path)
        decodings = {
            f"{coarse} levels": sent.values,
            f"{coarse} levels, {levels} likeliest": fill(prior, sent.values, levels),
            f"{coarse} levels, {levels} drawn": fill(prior, sent.values, levels, options.seed),
            f"{levels} levels": full.values,
        }
        for name, codes in decodings.items():
            told = full if name == f"{levels} levels" else sent
            bits = coder.bits(told.values[0], {})
            sums[name]["rate"].append(codec.medium.bitrate(bits, full.shape))
            decoded = codec.decode_piece(codes, None)[0, :, : signal.shape[1]]
            for metric in codec.medium.metrics():
                try:
                    figures = metric(decoded.detach().clamp(-1, 1), signal, codec.medium.rate)
                except MetricFailure:
                    continue
                for figure, value in figures.items():
                    sums[name][figure].append(value)
    for name, columns in sums.items():
        print(f"{name:24}", *(f"{figure} {sum(v) / len(v):.3f}" for figure, v in columns.items()), sep="  ")


if __name__ == "__main__":
    main()
