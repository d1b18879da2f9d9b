"""The command ``neuralcodecs`` and the entry of ``train.py``; each command imports only what it needs."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from neuralcodecs.errors import CodecError

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 2 refused with one line on standard error, 130 interrupted."""
    options = _parser().parse_args(arguments)
    return _guarded(lambda: options.run(options))


def train(arguments: list[str] | None = None) -> None:
    """What ``train.py`` calls: fit, validate or test from a config."""
    from neuralcodecs.training.run import main as run

    status = _guarded(lambda: run(arguments))
    if status:
        sys.exit(status)


def _guarded(command: Callable[[], None]) -> int:
    try:
        command()
    except CodecError as error:
        print(f"neuralcodecs: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("neuralcodecs: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="neuralcodecs", description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    encode = _command(commands, "encode", _encode, "signal file to .ncs", "encode talk.wav -o talk.ncs -m runs/a -b 6")
    encode.add_argument("input", type=Path)
    _model_options(encode)
    _output_options(encode)
    rate = encode.add_mutually_exclusive_group()
    rate.add_argument("-b", "--bitrate", type=float, help="at most this: kbit/s for audio, bit/pixel for images")
    rate.add_argument("--levels", type=int, help="number of codebooks to use")

    decode = _command(commands, "decode", _decode, ".ncs to signal file", "decode talk.ncs -o talk.wav -m runs/a")
    decode.add_argument("input", type=Path)
    _model_options(decode)
    _output_options(decode)

    info = _command(commands, "info", _info, "what is in a .ncs file", "info talk.ncs")
    info.add_argument("input", type=Path)
    info.add_argument("--json", action="store_true", help="for programs")

    judge = _command(
        commands, "evaluate", _evaluate, "rates and quality on files", "evaluate runs/a --data test --out e"
    )
    judge.add_argument("model")
    judge.add_argument("--data", type=Path, nargs="+", required=True, help="folders or files")
    judge.add_argument("--out", type=Path, required=True, help="folder for metrics and the comparison picture")
    judge.add_argument("--levels", type=int, nargs="+", help="default: the operating points of the codec")
    judge.add_argument("--limit", type=int, help="at most so many files")
    judge.add_argument("--examples", type=int, default=4, help="files in the comparison picture, 0 for none")
    judge.add_argument("--weights", nargs="+", default=[], metavar="NAME=PATH", help="networks of metrics: lpips, fid")
    _device_options(judge)

    bring = _command(commands, "import", _import, "published weights to a folder", "import facebook/encodec_24khz DIR")
    bring.add_argument("source", help="hub id or local folder in the transformers layout")
    bring.add_argument("directory", type=Path)

    export = _command(commands, "export", _export, "checkpoint to a folder", "export runs/a/checkpoints/last.ckpt DIR")
    export.add_argument("model")
    export.add_argument("directory", type=Path)
    export.add_argument("--trust", action="store_true", help="allow classes from outside this package")
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], None],
    summary: str,
    example: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary, epilog=f"example: neuralcodecs {example}")
    parser.set_defaults(run=run)
    return parser


def _model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-m", "--model", required=True, help="checkpoint, run folder, exported folder or hub id")
    _device_options(parser)


def _device_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=["cpu", "cuda", "auto"], default="auto")
    parser.add_argument("--trust", action="store_true", help="allow classes from outside this package in the model")


def _output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, help="default: beside the input, with the other suffix")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")


def _load(options: argparse.Namespace):  # type: ignore[no-untyped-def]
    import torch

    from neuralcodecs.pretrained import load

    if options.device == "cuda" and not torch.cuda.is_available():
        raise CodecError("--device cuda: no CUDA device here; use --device cpu")
    device = "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
    return load(options.model, options.trust).to(device)


def _target(options: argparse.Namespace, suffix: str) -> Path:
    target: Path = options.output or options.input.with_suffix(suffix)
    if target.exists() and not options.overwrite:
        raise CodecError(f"{target} exists: add --overwrite to replace it, or name another with -o")
    if not target.parent.is_dir():
        raise CodecError(f"no folder {target.parent} for the output: make it first")
    return target


def _encode(options: argparse.Namespace) -> None:
    from neuralcodecs.files import SUFFIX, encode_file, levels_for

    target = _target(options, SUFFIX)
    codec = _load(options)
    levels = options.levels if options.bitrate is None else levels_for(codec, options.bitrate)
    report = encode_file(codec, options.input, target, levels)
    print(f"{target}: {report}")


def _decode(options: argparse.Namespace) -> None:
    from neuralcodecs.files import decode_file

    codec = _load(options)
    target = _target(options, codec.medium.suffixes[0])
    decode_file(codec, options.input, target)
    print(target)


def _info(options: argparse.Namespace) -> None:
    import json

    from neuralcodecs.bitstream.info import describe

    facts = describe(options.input)
    if options.json:
        print(json.dumps(facts))
    else:
        width = max(map(len, facts))
        print("\n".join(f"{name:<{width}}  {value}" for name, value in facts.items()))


def _evaluate(options: argparse.Namespace) -> None:
    from neuralcodecs.evaluation.examples import PICTURE, comparison, decode_examples, write_picture
    from neuralcodecs.evaluation.measure import evaluate, find_files
    from neuralcodecs.evaluation.results import append_csv, table, write_json

    codec = _load(options)
    weights = {name: Path(path) for name, _, path in (pair.partition("=") for pair in options.weights)}
    files = find_files(options.data, codec.medium.suffixes, options.limit)
    options.out.mkdir(parents=True, exist_ok=True)
    metrics = codec.medium.metrics(weights)
    evaluation = evaluate(codec, files, options.levels, metrics, progress=sys.stderr.isatty())
    write_json(evaluation, options.out / "metrics.json", model=options.model)
    append_csv(evaluation, options.out / "metrics.csv", model=options.model)
    examples = decode_examples(codec, files[: options.examples], options.levels)
    if examples:
        write_picture(comparison(codec, examples), options.out / PICTURE)
    print(table(evaluation))


def _import(options: argparse.Namespace) -> None:
    from neuralcodecs.convert import import_published

    import_published(options.source).save_pretrained(options.directory)
    print(options.directory)


def _export(options: argparse.Namespace) -> None:
    from neuralcodecs.pretrained import load

    load(options.model, options.trust).save_pretrained(options.directory)
    print(options.directory)


if __name__ == "__main__":
    sys.exit(main())
