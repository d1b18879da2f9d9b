"""Commands about models and files: ``info``, ``export``, ``import``, ``models``."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuralcodecs.codec import Codec
    from neuralcodecs.models import Known


def run_info(options: argparse.Namespace) -> int:
    from neuralcodecs.bitstream.info import describe
    from neuralcodecs.models import known

    facts = describe(options.input)
    names = [model.name for model in known() if model.fingerprint == facts["model"]]
    facts |= {"model name": names[0]} if names else {}
    if options.model:
        facts |= _of_model(options)
    if options.json:
        print(json.dumps(facts))
    else:
        width = max(map(len, facts))
        print("\n".join(f"{name:<{width}}  {value}" for name, value in facts.items()))
    return 0


def _of_model(options: argparse.Namespace) -> dict[str, Any]:
    """Entropy of the file's streams under what coded them, and what the streams of the model wait for."""
    from neuralcodecs.coding import entropies
    from neuralcodecs.pretrained import load

    codec = load(options.model, options.trust)
    bits = entropies(codec, options.input)
    return {f"entropy of {name}": f"{count:.0f} bits" for name, count in bits.items()} | _latency(codec)


def _latency(codec: "Codec") -> dict[str, Any]:
    """In samples and milliseconds, or why it has none."""
    from neuralcodecs.errors import CodecError

    try:
        waits = codec.latency._asdict()
    except CodecError as error:
        return {"latency": str(error)}
    rate = codec.medium.rate
    return {f"latency, {part}": f"{n} samples ({1000 * n / rate:.1f} ms)" for part, n in waits.items()}


def run_export(options: argparse.Namespace) -> int:
    from neuralcodecs.card import metrics_of
    from neuralcodecs.compact import halved
    from neuralcodecs.errors import CodecError
    from neuralcodecs.pretrained import load, load_discriminator, locate, save

    target = free(options)
    source = locate(options.model)
    discriminator = load_discriminator(source) if options.discriminator else None
    if discriminator == {}:
        raise CodecError(f"{source} has no discriminator: leave out --discriminator")
    codec = load(source, options.trust, averaged=not options.raw_weights)
    # those of a checkpoint are of its averaged weights, in full precision
    measured = source.is_file() and not options.raw_weights and not options.half
    metrics = metrics_of(source) if measured else None
    save(halved(codec) if options.half else codec, target, metrics, discriminator)
    print(target)
    return 0


def run_import(options: argparse.Namespace) -> int:
    from neuralcodecs.convert import import_published

    target = free(options)
    import_published(options.source).save_pretrained(target)
    print(target)
    return 0


def run_models(options: argparse.Namespace) -> int:
    from neuralcodecs.models import home, known

    found = list(known())
    for model in found:
        print(f"{model.name}  {model.fingerprint or 'no fingerprint'}  {_told(model)}")
    if not found:
        print(f"neuralcodecs: no models in {home()}: add one with import or export", file=sys.stderr)
    return 0


def _told(model: "Known") -> str:
    """Where a model lies; of a default one the rates that its files were measured to have."""
    from neuralcodecs.models import METRICS, SHIPPED

    if model.folder.parent != SHIPPED:
        return str(model.folder)
    try:
        metrics = json.loads((model.folder / METRICS).read_text())
        points = [f"{s['levels']}: {s['written']:.3g}" for s in metrics["settings"]]
    except (OSError, ValueError, KeyError, TypeError):
        return "default"
    return f"default, {metrics['unit']} by levels {', '.join(points)}"


def free(options: argparse.Namespace) -> Path:
    """The folder to write a model to; CodecError when one is there already."""
    from neuralcodecs.errors import CodecError
    from neuralcodecs.models import WEIGHTS, place

    target = place(options.place)
    if (target / WEIGHTS).exists() and not options.overwrite:
        raise CodecError(f"{target} holds a model: add --overwrite to replace it, or name another")
    return target
