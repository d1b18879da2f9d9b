"""What priors save on real speech: static, adaptive, EnCodec's parallel transformer, the factorised one; trained here.

Codes of the training folders are made once by a trained codec and kept in ``--codes``: of the signals as they are, and
of ``--variants`` that begin elsewhere in a hop, are louder or softer, faster or slower, since an hour of speech is soon
known by heart. Each transformer is trained on crops of them until ``--minutes`` are over, keeps the weights that were
best on the validation folder, is exported to integers and judged on the test folder: bits of the float network, of the
integers, and of payloads that were written (lanes included), as kbit/s and as the share saved of the nominal rate. One
payload is decoded on the CPU and compared with its codes, whatever device wrote it. Every row is printed when known.

    python benchmarks/prior_savings.py --model runs/encodec_24khz --data ../shared/data --minutes 3 --device cuda

``--publish``: the folder that the exported prior and the static one are written to, as files of a model's folder.
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torchaudio.functional as FA
from safetensors.torch import load_file, save_file
from torch import Tensor

from neuralcodecs.attached import save_priors
from neuralcodecs.codec import Codec
from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.measure import find_files
from neuralcodecs.evaluation.prior_rates import Coded, exported_bits
from neuralcodecs.layered_coder import LayeredPriorCoder
from neuralcodecs.learned_coders import coder_of
from neuralcodecs.pretrained import named
from neuralcodecs.prior_coders import StaticPriorCoder
from neuralcodecs.priors.autoregressive import FactorisedTransformer, ParallelTransformer, TokenTransformer
from neuralcodecs.priors.counted import AdaptivePrior, StaticPrior
from neuralcodecs.priors.dropout import drop
from neuralcodecs.priors.integer import Sealed
from neuralcodecs.priors.prior import table_bits
from neuralcodecs.training.prior_rounding import exported_within

KINDS: dict[str, type[TokenTransformer]] = {"parallel": ParallelTransformer, "factorised": FactorisedTransformer}
FOLDERS = {"train": ("speech/train", "speech_more/train"), "val": ("speech/val",), "test": ("speech/test",)}
PIECE_SECONDS = 60
SPEEDS = (100, 93, 107, 97, 103)
"""Samples that 100 samples become, variant after variant."""


def signals(codec: Codec, folders: Sequence[Path], limit: int | None) -> list[Tensor]:
    """Of all files that can be read; read side by side."""

    def read(path: Path) -> Tensor | None:
        try:
            return codec.medium.read(path)[0]
        except CodecError as error:
            print(f"left out: {error}", flush=True)
            return None

    with ThreadPoolExecutor() as readers:
        found = readers.map(read, find_files(folders, codec.medium.suffixes, limit))
        return [signal for signal in found if signal is not None]


def training_codes(codec: Codec, found: list[Tensor], variants: int, rate: int) -> Tensor:
    """Codes ``(q, n)`` of all signals one after the other, then of each variant: few crops cross an end."""
    source, whole = torch.Generator().manual_seed(0), torch.cat(found, -1)
    coded = []
    for variant in range(1 + variants):
        signal = whole.to(codec.device)
        if variant:
            first, gain = torch.rand(2, generator=source).tolist()
            signal = signal[:, int(first * codec.encoder.strides[0]) :] * 10 ** ((12 * gain - 6) / 20)
            signal = FA.resample(signal, 100, SPEEDS[variant % len(SPEEDS)]).clamp(-1, 1)
        pieces = [piece for piece in signal.split(PIECE_SECONDS * rate, -1) if piece.shape[-1] > rate]
        coded += [codec.encode(piece[None], len(codec.quantizer.codebook_sizes))["codes"][0].cpu() for piece in pieces]
    return torch.cat(coded, 1)


def make_codes(codec: Codec, options: argparse.Namespace) -> dict[str, Tensor]:
    """``train`` of all levels, ``static``: the part of it without variants; of each file of val and test all levels."""
    data = {name: [options.data / folder for folder in folders] for name, folders in FOLDERS.items()}
    started, rate, most = time.monotonic(), int(codec.medium.rate), len(codec.quantizer.codebook_sizes)
    speech = signals(codec, data["train"], options.limit)
    tensors = {
        "static": training_codes(codec, speech, 0, rate),
        "train": training_codes(codec, speech, options.variants, rate),
    }
    for name in ("val", "test"):
        for index, signal in enumerate(signals(codec, data[name], options.limit)):
            for levels in sorted({*options.levels, most}):
                values = codec.encode(signal[None].to(codec.device), levels)["codes"].cpu()
                tensors[f"{name}/{index:03}/{levels}"] = values
            tensors[f"{name}/{index:03}/shape"] = torch.tensor(signal.shape[1:])
    options.codes.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.to(torch.int32).contiguous() for k, v in tensors.items()}, options.codes)
    frames = {name: tensors[name].shape[1] for name in ("static", "train")}
    print(f"{len(speech)} training files, {frames} frames, coded in {time.monotonic() - started:.0f} s", flush=True)
    return tensors


def files_of(tensors: dict[str, Tensor], name: str, levels: int) -> list[Coded]:
    numbers = sorted({key.split("/")[1] for key in tensors if key.startswith(f"{name}/")})
    parts = [(tensors[f"{name}/{n}/{levels}"], tensors[f"{name}/{n}/shape"]) for n in numbers]
    return [Coded(values.long(), tuple(shape.tolist())) for values, shape in parts]


def trained(model: TokenTransformer, codes: Tensor, val: list[Coded], levels: Sequence[int], options) -> int:
    """Until time is over, the learning rate rising for a twentieth of it, then falling to 0; the best weights stay."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), options.lr, (0.9, 0.98), weight_decay=options.decay)
    length = min(options.frames, codes.shape[1])
    span = torch.arange(length, device=codes.device)
    start, steps, part, looked = time.monotonic(), 0, 0.0, 0.0
    best, kept = math.inf, model.state_dict()
    torch.set_float32_matmul_precision("high")  # TF32: bfloat16 would round logits to a fourth of a bit
    while part < 1:
        rate = min(part / 0.05, 0.5 + 0.5 * math.cos(math.pi * part))
        optimizer.param_groups[0]["lr"] = options.lr * max(rate, 1e-3)
        first = torch.randint(0, codes.shape[1] - length + 1, (options.batch,), generator=generator)
        own = levels[int(torch.randint(0, len(levels), (), generator=generator))]
        batch = codes[:own, first.to(codes.device)[:, None] + span].transpose(0, 1)
        loss = model.bits(batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps += 1
        part = (time.monotonic() - start) / options.seconds
        if part > looked + 0.05 or part >= 1:
            looked = part
            now = validated(model, val)
            print(f"  step {steps}, {part:.0%}: {now:.4f} bits a code of val, {float(loss.detach()):.3f}", flush=True)
            if now < best:
                best, kept = now, copy.deepcopy(model.state_dict())
    torch.set_float32_matmul_precision("highest")
    model.load_state_dict(kept)
    return steps


@torch.no_grad()
def validated(model: TokenTransformer, val: list[Coded]) -> float:
    """Bits of a code at all levels."""
    model.eval()
    device = next(model.parameters()).device
    found = [(float(model.bits(piece.to(device))), piece.numel()) for file in val for piece in file.pieces()]
    model.train()
    return sum(bits * count for bits, count in found) / sum(count for _, count in found)


def check_round_trip(prior: Sealed, alphabet: tuple[int, ...], codes: Tensor) -> None:
    """Written where the prior is, read by its copy on the CPU."""
    data = coder_of(prior, alphabet).encode(codes, {})
    read = coder_of(copy.deepcopy(prior).cpu(), alphabet).decode(data, len(codes), tuple(codes.shape[1:]), {})
    assert torch.equal(read, codes), "a payload decodes to other codes: a defect of this package"
    print(f"  {codes.numel()} codes of a file written on {prior.device} are read on the CPU", flush=True)


class Rows:
    """Prints rows as they become known, and keeps them as JSON; bits of all files become the unit of the medium."""

    def __init__(self, codec: Codec, tests: dict[int, list[Coded]], path: Path | None) -> None:
        self.path, self.rows, self.unit, self.nominal, self.scale = path, [], codec.medium.unit, {}, {}
        for levels, files in tests.items():
            extent = sum(codec.medium.extent(file.shape) for file in files)
            unit = codec.medium.bitrate(1.0, files[0].shape) * codec.medium.extent(files[0].shape)
            self.scale[levels] = unit / extent
            positions = sum(file.values[0, 0].numel() for file in files)
            self.nominal[levels] = positions * sum(map(math.log2, codec.quantizer.codebook_sizes[:levels]))

    def tell(self, kind: str, levels: int, **bits: float) -> None:
        nominal = self.nominal[levels]
        cells = [f"{name} {b * self.scale[levels]:.4f} ({1 - b / nominal:.2%})" for name, b in bits.items()]
        if "integer" in bits:
            cells.append(f"export loss {bits['integer'] / bits['float'] - 1:.4%}")
        head = f"{kind:12} {levels:2} levels: nominal {nominal * self.scale[levels]:.4f} {self.unit}"
        print(", ".join([head, *cells]), flush=True)
        rates = {name: value * self.scale[levels] for name, value in ({"nominal": nominal} | bits).items()}
        self.rows.append({"kind": kind, "levels": levels, **rates})
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps({"unit": self.unit, "rows": self.rows}, indent=1) + "\n")


def counted_rows(codec: Codec, static: StaticPrior, tests: dict[int, list[Coded]], rows: Rows) -> None:
    """Static and adaptive priors: entropy, and payloads."""
    sizes, device = codec.quantizer.codebook_sizes, codec.device
    for levels, files in tests.items():
        written, entropy, coder = 0, 0.0, StaticPriorCoder(static)
        for file in files:
            written += 8 * len(coder.encode(file.values[0], {}))
            entropy += coder.bits(file.values[0], {})
        rows.tell("static", levels, entropy=entropy, written=written)
        priors = [AdaptivePrior((size,)).to(device) for size in sizes[:levels]]
        split = [file.values.flatten(2).to(device).split(1, 1) for file in files]
        bits = sum(table_bits(prior, row) for parts in split for prior, row in zip(priors, parts, strict=True))
        rows.tell("adaptive", levels, entropy=bits)


def learned_rows(kind: str, model: TokenTransformer, prior: Sealed, tests: dict[int, list[Coded]], rows: Rows) -> None:
    coder = coder_of(prior, prior.alphabet)
    for levels, files in tests.items():
        if levels > len(prior.alphabet):
            print(f"{kind}: knows {len(prior.alphabet)} levels, {levels} are left out", flush=True)
            continue
        _, floats, integers = exported_bits(model, prior, files)
        written = sum(8 * len(coder.encode(file.values[0], {})) for file in files)
        rows.tell(kind, levels, float=floats, integer=integers, written=written)


def publish(codec: Codec, static: StaticPrior, prior: Sealed, folder: Path, rest: StaticPrior | None) -> None:
    """The files that a model's folder has of its priors; ``rest``: of the levels that ``prior`` does not know."""
    folder.mkdir(parents=True, exist_ok=True)
    codec.attach("static", StaticPriorCoder(static.cpu()))
    learned = coder_of(copy.deepcopy(prior).cpu(), prior.alphabet)
    codec.attach("learned", learned if rest is None else LayeredPriorCoder(learned, StaticPriorCoder(rest)))
    save_priors(codec.priors, folder)
    sizes = {path.name: path.stat().st_size for path in sorted(folder.glob("prior-*"))}
    print(f"published in {folder.name}: {sizes} bytes", flush=True)


def published_rows(codec: Codec, kind: str, tests: dict[int, list[Coded]], rows: Rows) -> None:
    """Payloads of the coder that was published, at all numbers of levels."""
    coder = codec.priors["learned"]
    for levels, files in tests.items():
        written = sum(8 * len(coder.encode(file.values[0], {})) for file in files)
        rows.tell(f"{kind}*", levels, entropy=sum(coder.bits(file.values[0], {}) for file in files), written=written)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="run, checkpoint, exported folder or config of a codec")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help=f"has {FOLDERS}")
    parser.add_argument("--codes", type=Path, default=Path("runs/prior_codes.safetensors"), help="made where missing")
    parser.add_argument("--limit", type=int, help="at most so many files of each")
    parser.add_argument("--variants", type=int, default=7)
    parser.add_argument("--levels", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--most", type=int, help="levels that transformers know; all without it")
    parser.add_argument("--kinds", nargs="*", choices=sorted(KINDS), default=["parallel", "factorised"])
    parser.add_argument("--minutes", type=float, default=3, help="of each kind's training")
    parser.add_argument("--until", type=float, help="seconds since 1970 at which the training ends, instead")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--window", type=int, default=262)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--decay", type=float, default=0.01)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--frames", type=int, default=375, help="of a training crop")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--tuning", type=int, default=300, help="steps with rounding, where rounding costs too much")
    parser.add_argument("--out", type=Path, help="JSON of the rows")
    parser.add_argument("--publish", type=Path)
    options = parser.parse_args()
    codec = named(options.model).to(options.device)
    with torch.no_grad():
        tensors = load_file(options.codes) if options.codes.is_file() else make_codes(codec, options)
    tests = {levels: files_of(tensors, "test", levels) for levels in options.levels}
    rows, alphabet = Rows(codec, tests, options.out), tuple(codec.quantizer.codebook_sizes)
    static = StaticPrior(alphabet)
    static.count(tensors["static"][None].long())
    if not options.kinds:
        counted_rows(codec, static, tests, rows)
    for kind in options.kinds:
        run(kind, codec, static, tensors, tests, rows, options)


def run(kind: str, codec, static, tensors, tests, rows, options) -> None:
    most = options.most or len(codec.quantizer.codebook_sizes)
    alphabet = tuple(codec.quantizer.codebook_sizes)[:most]
    levels = sorted({n for n in (*codec.quantizer.levels, *options.levels) if n <= most})
    val = [Coded(f.values[:, :most], f.shape) for f in files_of(tensors, "val", len(codec.quantizer.codebook_sizes))]
    torch.manual_seed(0)
    model = KINDS[kind](alphabet, options.dim, options.heads, options.layers, options.window).to(options.device)
    drop(model, options.dropout)
    options.seconds = 60 * options.minutes if options.until is None else max(options.until - time.time(), 1)
    steps = trained(model, tensors["train"].long().to(options.device), val, levels, options)
    size = sum(p.numel() for p in model.parameters()) / 1e6
    shape = f"dim {options.dim}, {options.heads} heads, {options.layers} layers, window {options.window}"
    print(f"{kind}: {shape}, {size:.2f} M, {steps} steps of {options.batch} x {options.frames}", flush=True)
    spoken = [Coded(tensors["static"][None, :most].long(), ())]
    prior = exported_within(model.eval(), spoken, val, options.tuning).to(options.device)
    learned_rows(kind, model, prior, tests, rows)
    if options.publish is not None:
        rest = (
            None if most == len(codec.quantizer.codebook_sizes) else StaticPrior(codec.quantizer.codebook_sizes[most:])
        )
        if rest is not None:
            rest.count(tensors["static"][None, most:].long())
        publish(codec, static, prior, options.publish, rest)
        published_rows(codec, kind, tests, rows)
    shortest = min(tests[max(tests)], key=lambda file: file.values.numel())
    check_round_trip(prior, alphabet, shortest.values[0, :most])


if __name__ == "__main__":
    main()
