"""The grammar of the command line; what a command does is in the modules beside this one, imported when it runs."""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

from neuralcodecs.cli import report, tokenizing
from neuralcodecs.cli.status import EPILOG

MODEL = "a name from `neuralcodecs models`, a run's folder, a checkpoint, an exported folder or a hub id"
PLACE = "a folder; a plain word is a name under which `neuralcodecs models` lists it"
PRIOR = "entropy coding of the codes; default: the best that the model has (none is fixed width)"

SAMPLING: tuple[tuple[str, type, str], ...] = (
    ("steps", int, "steps from noise to signal; default: what the file says"),
    ("guidance", float, "how much the codes count, 1 as trained; default: the model's"),
    ("seed", int, "of the noise; default: what the file says"),
)

Commands = Any  # argparse's own type of it is private


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="neuralcodecs",
        description="Encode and decode files with neural codecs, judge codecs, and manage models.",
        epilog=f"neuralcodecs COMMAND --help shows an example of each.\n\n{EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _encode(commands)
    _decode(commands)
    _info(commands)
    _evaluate(commands)
    _compare(commands)
    _best(commands)
    report.add_options(_command(commands, "report", "report", report.SUMMARY, report.EXAMPLE))
    _export(commands)
    _import(commands)
    _prior(commands)
    tokenizing.add_options(_command(commands, "tokenize", "tokenizing", tokenizing.SUMMARY, tokenizing.EXAMPLE))
    _generate(commands)
    _probe(commands)
    _command(commands, "models", "models", "the models that have a name here, defaults included", "models")
    return parser


def _command(commands: Commands, name: str, module: str, summary: str, example: str) -> argparse.ArgumentParser:
    def run(options: argparse.Namespace) -> int:
        return getattr(import_module(f"neuralcodecs.cli.{module}"), f"run_{name}")(options)

    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example: neuralcodecs {example}\n\n{EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _encode(commands: Commands) -> None:
    parser = _command(commands, "encode", "encode", "signal files to .ncs", "encode talk.wav more/ -o coded/ -b 6")
    parser.add_argument("-m", "--model", help=f"{MODEL}; default: the package's own for sound or pictures, by suffix")
    _work_options(parser)
    rate = parser.add_mutually_exclusive_group()
    rate.add_argument("-b", "--bitrate", type=float, help="at most this: kbit/s for audio, bit/pixel for images")
    rate.add_argument("--levels", type=int, help="number of codebooks to use")
    parser.add_argument("--refine", type=int, metavar="STEPS", help="move latents (SGA), 1000 say: slow, smaller files")
    parser.add_argument("--beam", type=int, metavar="PATHS", help="of a residual quantizer, 16 say: slower, less error")
    parser.add_argument("--prior", choices=["none", "static", "adaptive", "learned"], help=PRIOR)
    parser.add_argument("--coarse", type=int, metavar="N", help="send N levels; the learned prior predicts the others")
    parser.add_argument("--draw", type=int, metavar="SEED", help="draw what is predicted; default: the likeliest")
    parser.add_argument("--metadata", action="store_true", help="store the input's name and sample format in the file")
    parser.add_argument("--title", help="store this title in the file")
    parser.add_argument(
        "--caption", metavar="TEXT", help="tell the decoder what is shown; default: what the data says, '' for nothing"
    )


def _decode(commands: Commands) -> None:
    parser = _command(
        commands, "decode", "decode", ".ncs to signal files", "decode talk.ncs -o part.wav --from 12.5 --to 20"
    )
    parser.add_argument("-m", "--model", help=f"{MODEL}; default: the one that made the file")
    _work_options(parser)
    parser.add_argument("--suffix", help="of the outputs that are not named with -o, for example .flac")
    parser.add_argument("--from", dest="start", type=float, metavar="SECONDS", help="decode from here on only")
    parser.add_argument("--to", dest="stop", type=float, metavar="SECONDS", help="decode up to here only")
    for name, kind, what in SAMPLING:
        parser.add_argument(f"--{name}", type=kind, help=f"of a generative decoder: {what}")
    parser.add_argument(
        "--salvage", action="store_true", help="decode what is intact; silence or gray for the rest, exit status 3"
    )
    parser.add_argument(
        "--keep-codec-rate", action="store_true", help="the codec's own sample rate or size instead of the original's"
    )


def _info(commands: Commands) -> None:
    parser = _command(commands, "info", "models", "what is in a .ncs file", "info talk.ncs")
    parser.add_argument("input", type=Path)
    parser.add_argument("-m", "--model", help=f"{MODEL}: also tell entropy bits and its streams' latency")
    parser.add_argument("--json", action="store_true", help="for programs")
    _trust_option(parser)


def _evaluate(commands: Commands) -> None:
    example = "evaluate runs/a --data test --out results --against opus,mp3 --anchor opus"
    parser = _command(commands, "evaluate", "judge", "rates and quality on files, also of classical codecs", example)
    parser.add_argument("model", nargs="*", metavar="MODEL", help=f"{MODEL}; none (the default one), one or several")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders or files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results; what is there is not repeated")
    parser.add_argument("--against", default="", metavar="NAMES", help="opus,mp3 or jpeg,webp,avif,jxl,jpeg2000")
    parser.add_argument("--anchor", metavar="CODEC", help="print BD-rates against this one")
    parser.add_argument("--metrics", nargs="+", metavar="NAME", help="these only; all: also the slow and optional ones")
    parser.add_argument("--levels", type=int, nargs="+", help="default: the operating points of the codec")
    parser.add_argument("--limit", type=int, help="at most so many files")
    parser.add_argument("--rate", type=int, metavar="HZ", help="at which sound of several sample rates is compared")
    parser.add_argument("--keep", type=int, default=0, metavar="N", help="keep the decodings of the first N files")
    parser.add_argument("--steps", type=int, nargs="+", help="of generative decoders; default: 1 2 4 8 16")
    parser.add_argument("--seeds", type=int, nargs="+", help="of generative decoders; default: 0 1 2")
    parser.add_argument("--examples", type=int, default=4, help="files in the comparison picture, 0 for none")
    parser.add_argument("--weights", nargs="+", default=[], metavar="NAME=PATH", help="networks of metrics: lpips, fid")
    _device_options(parser)


def _compare(commands: Commands) -> None:
    parser = _command(
        commands, "compare", "judge", "whether a change is real, file by file", "compare results/a results/b"
    )
    for place in ("run_a", "run_b"):
        help_ = "folder of an evaluation or of a training run; FOLDER:CODEC for one of several codecs"
        parser.add_argument(place, metavar=place.upper(), help=help_)
    parser.add_argument("--metric", action="append", metavar="NAME", help="default: all that both have")
    parser.add_argument("--anyway", action="store_true", help="compare figures that were made in different ways")


def _best(commands: Commands) -> None:
    example = "best runs/a --metric mel_distance --at 6kbps"
    parser = _command(commands, "best", "judge", "the best checkpoint of a run", example)
    parser.add_argument("folder", metavar="RUN", type=Path, help="a run's folder")
    parser.add_argument("--metric", required=True, metavar="NAME")
    parser.add_argument("--at", metavar="RATE", help="6kbps, 0.25bpp or 8levels; default: the highest rate")


def _export(commands: Commands) -> None:
    parser = _command(commands, "export", "models", "checkpoint to a folder for use", "export runs/a mine")
    parser.add_argument("model", help=MODEL)
    parser.add_argument("place", metavar="FOLDER|NAME", help=PLACE)
    _overwrite_option(parser)
    parser.add_argument("--discriminator", action="store_true", help="its weights too, for train.py fit --init")
    parser.add_argument("--half", action="store_true", help="round weights to 16 bits: half the size")
    parser.add_argument("--raw-weights", action="store_true", help="the last weights instead of their average")
    _trust_option(parser)


def _import(commands: Commands) -> None:
    parser = _command(
        commands, "import", "models", "published weights to a folder", "import facebook/encodec_24khz encodec_24khz"
    )
    parser.add_argument(
        "source", help="hub id or local folder in the layout of transformers, or an AutoencoderKL of diffusers"
    )
    parser.add_argument("place", metavar="FOLDER|NAME", help=PLACE)
    _overwrite_option(parser)


def _prior(commands: Commands) -> None:
    parser = _command(
        commands,
        "prior",
        "prior",
        "count a static prior of a model's codes",
        "prior mine --data train --out coded",
    )
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders or files to count")
    parser.add_argument("--out", dest="place", required=True, metavar="FOLDER|NAME", help=f"the model with it: {PLACE}")
    parser.add_argument("--limit", type=int, help="at most so many files")
    _overwrite_option(parser)
    _device_options(parser)


def _generate(commands: Commands) -> None:
    parser = _command(
        commands,
        "generate",
        "language",
        "a new file from a language model of codes",
        "generate runs/lm_speech_delay --seconds 5 --out x.wav",
    )
    parser.add_argument("run_folder", metavar="LM_RUN", help="a run of configs/lm, or a checkpoint of one")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--seconds", type=float, nargs=1, dest="size", help="length of the sound")
    size.add_argument("--size", type=float, nargs=2, dest="size", metavar=("HEIGHT", "WIDTH"), help="of the picture")
    size.add_argument("--bytes", type=float, nargs=1, dest="size", help="length of a file of a model of bytes")
    parser.add_argument("--out", type=Path, required=True, help="the file to write, for example x.wav or x.png")
    parser.add_argument("--prompt", type=Path, help="a file that the new one begins with (a picture: its upper part)")
    parser.add_argument("--seed", type=int, default=0, help="another one gives another file (default 0)")
    parser.add_argument("--temperature", type=float, default=1.0, help="below 1 safer, 0 the most likely (default 1)")
    parser.add_argument("--top-k", type=int, default=0, help="choose among so many codes (default: all)")
    parser.add_argument("--top-p", type=float, default=1.0, help="choose among codes of this probability (default 1)")
    _overwrite_option(parser)
    _device_options(parser)


def _probe(commands: Commands) -> None:
    parser = _command(
        commands,
        "probe",
        "language",
        "how useful the tokens of codecs are, side by side",
        "probe runs/a runs/b --data test --labels manifest.csv:group",
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help=MODEL)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders or files")
    parser.add_argument("--labels", metavar="CSV:COLUMN", help="manifest whose column the codes are to tell")
    parser.add_argument("--levels", type=int, help="codebooks to use (default: each codec's own)")
    parser.add_argument("--limit", type=int, help="at most so many files")
    parser.add_argument(
        "--budget", type=float, help="seconds or pixels that the small LM learns from (default 3600, 2e7)"
    )
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    _overwrite_option(parser)
    _device_options(parser)


def _work_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="files, folders, or - for standard input")
    parser.add_argument("-o", "--output", help="file, folder, or - for standard output; default: beside the input")
    _overwrite_option(parser)
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="work on up to N files together (default 1)")
    parser.add_argument("--tile", type=int, metavar="N", help="for large pictures: networks see N pixels a side")
    _device_options(parser)


def _device_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=["cpu", "cuda", "auto"], default="auto")
    _trust_option(parser)


def _overwrite_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace what exists")


def _trust_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trust", action="store_true", help="allow classes from outside this package in the model")
