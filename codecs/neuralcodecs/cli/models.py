"""Commands about models and files: ``info``, ``export``, ``import``, ``models``."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuralcodecs.codec import Codec


def run_info(options: argparse.Namespace) -> int:
    from neuralcodecs.bitstream.info import describe

    facts = describe(options.input)
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
    from neuralcodecs.errors import CodecError
    from neuralcodecs.pretrained import load, load_discriminator, locate, save

    target = free(options)
    source = locate(options.model)
    discriminator = load_discriminator(source) if options.discriminator else None
    if discriminator == {}:
        raise CodecError(f"{source} has no discriminator: leave out --discriminator")
    codec = load(source, options.trust, averaged=not options.raw_weights)
    metrics = metrics_of(source) if source.is_file() and not options.raw_weights else None
    save(codec, target, metrics, discriminator)
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
        print(f"{model.name}  {model.fingerprint or 'no fingerprint'}  {model.folder}")
    if not found:
        print(f"neuralcodecs: no models in {home()}: add one with import or export", file=sys.stderr)
    return 0


def free(options: argparse.Namespace) -> Path:
    """The folder to write a model to; CodecError when one is there already."""
    from neuralcodecs.errors import CodecError
    from neuralcodecs.models import WEIGHTS, place

    target = place(options.place)
    if (target / WEIGHTS).exists() and not options.overwrite:
        raise CodecError(f"{target} holds a model: add --overwrite to replace it, or name another")
    return target
