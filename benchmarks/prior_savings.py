"""What priors save on real speech: static, adaptive, EnCodec's parallel transformer, the factorised one; trained here.

Codes of the training folders are made once by a trained codec; each transformer is trained on crops of them for
``--minutes``, exported to integers, and judged on the test folder: bits of the float network, of the integers, and of
payloads that were written (lanes included), as kbit/s and as the share saved of the nominal rate. One payload is
decoded on the CPU and compared with its codes, whatever device wrote it.

    python benchmarks/prior_savings.py --model runs/encodec_24khz --data ../shared/data --minutes 3 --device cuda
"""

import argparse
import copy
import math
import time
from pathlib import Path

import torch
from torch import Tensor

from neuralcodecs.evaluation.measure import find_files
from neuralcodecs.evaluation.prior_rates import Coded, count, encode_files, measure, table, write_rates
from neuralcodecs.learned_coders import coder_of
from neuralcodecs.pretrained import load
from neuralcodecs.priors.autoregressive import FactorisedTransformer, ParallelTransformer, TokenTransformer

KINDS: dict[str, type[TokenTransformer]] = {"parallel": ParallelTransformer, "factorised": FactorisedTransformer}
HEADS = 8
TRAIN, TEST = ("speech/train", "speech_more"), "speech/test"


def joined(coded: list[Coded]) -> Tensor:
    """Codes ``(q, n)`` of all files, one after the other: a crop in a thousand frames crosses a boundary."""
    return torch.cat([file.values[0].flatten(1) for file in coded], 1)


def trained(model: TokenTransformer, codes: Tensor, levels: list[int], options: argparse.Namespace) -> int:
    """Train for the minutes given, the learning rate rising for a twentieth of them and then falling to 0; steps."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), options.lr, (0.9, 0.98), weight_decay=0.01)
    length = min(options.frames, codes.shape[1])
    span = torch.arange(length, device=codes.device)
    start, steps, part = time.monotonic(), 0, 0.0
    while part < 1:
        rate = min(part / 0.05, 0.5 + 0.5 * math.cos(math.pi * part))
        optimizer.param_groups[0]["lr"] = options.lr * max(rate, 1e-3)
        first = torch.randint(0, codes.shape[1] - length + 1, (options.batch,), generator=generator)
        own = levels[int(torch.randint(0, len(levels), (), generator=generator))]
        loss = model.bits(codes[:own, first.to(codes.device)[:, None] + span].transpose(0, 1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps += 1
        if steps % 500 == 1:
            print(f"  step {steps}, {float(loss.detach()):.3f} bits a code at {own} levels", flush=True)
        part = (time.monotonic() - start) / (60 * options.minutes)
    return steps


def check_round_trip(prior: torch.nn.Module, alphabet: tuple[int, ...], codes: Tensor) -> None:
    """Written where the prior is, read by its copy on the CPU."""
    data = coder_of(prior, alphabet).encode(codes, {})
    read = coder_of(copy.deepcopy(prior).cpu(), alphabet).decode(data, len(codes), tuple(codes.shape[1:]), {})
    assert torch.equal(read, codes), "a payload decodes to other codes: a defect of this package"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="run, checkpoint or exported folder of a trained codec")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help=f"has {TRAIN} and {TEST}")
    parser.add_argument("--train", nargs="+", help="training folders instead")
    parser.add_argument("--test", nargs="+", help="test folders instead")
    parser.add_argument("--limit", type=int, help="at most so many files of each")
    parser.add_argument("--levels", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=["parallel", "factorised"])
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--window", type=int, default=262)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--frames", type=int, default=375, help="of a training crop; 5 s of EnCodec")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--out", type=Path, help="folder for the rates as JSON")
    options = parser.parse_args()
    codec = load(options.model).to(options.device)
    suffixes, alphabet = codec.medium.suffixes, tuple(codec.quantizer.codebook_sizes)
    train = options.train or [options.data / folder for folder in TRAIN]
    test = options.test or [options.data / TEST]
    most = max(options.levels)
    started = time.monotonic()
    training = encode_files(codec, find_files(train, suffixes, options.limit), [most])[most]
    tests = encode_files(codec, find_files(test, suffixes, options.limit), options.levels)
    codes = joined(training).to(options.device)
    print(
        f"{len(training)} training files, {codes.shape[1]} frames, {len(tests[most])} test files, "
        f"coded in {time.monotonic() - started:.0f} s on {options.device}"
    )
    static = count(codec, training)
    for kind in options.kinds:
        torch.manual_seed(0)
        model = KINDS[kind](alphabet[:most], options.dim, HEADS, options.layers, options.window).to(options.device)
        steps = trained(model, codes, options.levels, options)
        prior = model.eval().export().to(options.device)
        check_round_trip(prior, alphabet[:most], tests[most][0].values[0])
        rates = measure(codec, tests, static, model, prior)
        size = sum(p.numel() for p in model.parameters()) / 1e6
        print(f"{kind}: dim {options.dim}, {options.layers} layers, {size:.2f} M, {steps} steps of {options.batch}")
        print(table(rates, codec.medium.unit), flush=True)
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            write_rates(rates, codec.medium.unit, options.out / f"{kind}.json", model=options.model, steps=steps)


if __name__ == "__main__":
    main()
