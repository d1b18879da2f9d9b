"""Judge a codec on files: every figure comes from a file that was written, read back and decoded.

Rates: nominal, entropy and written bits as design section 2 defines them. The entropy's prior is the histogram of each
codebook over these very files: what a static table could reach at best, without its own cost.
"""

import math
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from neuralcodecs.captions import with_found
from neuralcodecs.codec import Codec
from neuralcodecs.codes import Codes
from neuralcodecs.coding import Coding
from neuralcodecs.criteria import Metric, MetricFailure
from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.complexity import complexity
from neuralcodecs.evaluation.figures import Evaluation, Row, Setting
from neuralcodecs.files import read_codes, write_codes
from neuralcodecs.medium import SignalInfo
from neuralcodecs.pretrained import fingerprint


def find_files(sources: Sequence[str | Path], suffixes: tuple[str, ...], limit: int | None = None) -> list[Path]:
    """Files of a medium in folders (recursively, sorted) and files given by name; CodecError if there are none."""
    found: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            found += sorted(p for p in source.rglob("*") if p.suffix.lower() in suffixes)
        elif source.is_file():
            found.append(source)
        else:
            raise CodecError(f"no file or folder {source}")
    if not found:
        raise CodecError(f"no {', '.join(suffixes)} file in {', '.join(map(str, sources))}")
    return found[:limit]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; after it every module is in the mode that it had, frozen parts included."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def evaluate(
    codec: Codec,
    files: Iterable[Path],
    levels: Sequence[int] | None = None,
    metrics: Sequence[Metric] | None = None,
    progress: bool = True,
) -> Evaluation:
    """Measure ``codec`` on ``files`` at each number of levels (the quantizer's own operating points by default)."""
    levels = [codec.check_levels(n) for n in (levels or codec.quantizer.levels)]
    metrics = codec.medium.metrics() if metrics is None else metrics
    result = Evaluation(
        unit=codec.medium.unit,
        speed_unit=codec.medium.speed_unit,
        definitions={name: metric.definition for metric in metrics for name in metric.names},
    )
    histograms = {n: [np.zeros(k, dtype=np.int64) for k in codec.quantizer.alphabet(n)] for n in levels}
    gathering = {n: [metric.fresh() for metric in metrics] for n in levels}
    identity, coding = fingerprint(codec), Coding(codec)
    with evaluating(codec):
        for path in tqdm(list(files), desc="evaluate", unit="file", disable=not progress):
            try:
                signal, original = codec.medium.read(path)
            except CodecError as error:
                result.unreadable[str(path)] = str(error)
                continue
            for n in levels:
                trip = _round_trip(codec, identity, coding, signal, original, n, path)
                for histogram, codes in zip(histograms[n], trip.codes["codes"][0], strict=True):
                    histogram += np.bincount(codes.flatten().cpu().numpy(), minlength=len(histogram))
                result.rows.append(_judge(codec, str(path), signal, n, trip, gathering[n]))
    if not result.rows:
        reason = next(iter(result.unreadable.values()), "the list of files is empty")
        raise CodecError(f"nothing could be evaluated: {reason}")
    try:
        result.complexity = complexity(codec, result.rows[0].shape)
    except MetricFailure as error:
        result.failures["complexity"] = str(error)
    for n in levels:
        rows = [row for row in result.rows if row.levels == n]
        setting = _summarize(rows, histograms[n], codec)
        result.failures |= _over_files(gathering[n], setting)
        result.settings.append(setting)
    return result


@dataclass(frozen=True)
class _Trip:
    codes: Codes
    decoded: Float[Tensor, "c *space"]
    written_bytes: int
    encode_seconds: float
    decode_seconds: float
    coded_bits: float | None


def _round_trip(
    codec: Codec,
    identity: bytes,
    coding: Coding,
    signal: Float[Tensor, "c *space"],
    original: SignalInfo,
    levels: int,
    path: Path,
) -> _Trip:
    """Signal to file to signal; the file is read back from the disk and its codes compared with those written."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "measured.ncs"
        started = time.perf_counter()
        codes = with_found(codec, codec.encode(signal[None].to(codec.device), levels), path)
        write_codes(target, codec, codes, original, identity, coding=coding)
        encoded = time.perf_counter()
        read, _ = read_codes(target, codec, identity)
        decoded = codec.decode(read)[0].cpu()
        finished = time.perf_counter()
        size = target.stat().st_size
    if not torch.equal(read["codes"].cpu(), codes["codes"].cpu()):
        raise AssertionError("a file that was just written reads back as other codes: a defect of this package")
    entropy = coding.bits(codes) if coding.streams else None
    return _Trip(codes, decoded, size, encoded - started, finished - encoded, entropy)


def _judge(
    codec: Codec, file: str, signal: Float[Tensor, "c *space"], levels: int, trip: _Trip, metrics: Sequence[Metric]
) -> Row:
    figures: dict[str, float] = {}
    failures: dict[str, str] = {}
    for metric in metrics:
        try:
            figures |= metric(trip.decoded.clamp(-1, 1), signal, codec.medium.rate)
        except MetricFailure as error:
            failures |= dict.fromkeys(metric.names, str(error))
    shape = tuple(signal.shape[1:])
    return Row(
        file=file,
        levels=levels,
        shape=shape,
        extent=codec.medium.extent(shape),
        nominal_bits=float(codec.bits(trip.codes)[0]),
        written_bits=8 * trip.written_bytes,
        encode_seconds=trip.encode_seconds,
        decode_seconds=trip.decode_seconds,
        figures=figures,
        failures=failures,
        coded_bits=trip.coded_bits,
    )


def _summarize(rows: list[Row], histograms: list[np.ndarray], codec: Codec) -> Setting:
    entropies = [entropy_of(histogram) for histogram in histograms]
    extent = sum(row.extent for row in rows)
    # the unit of one bit: every medium's rate is proportional to bits over extent
    unit = codec.medium.bitrate(1.0, rows[0].shape) * rows[0].extent
    main = sum(int(histogram.sum()) * h for histogram, h in zip(histograms, entropies, strict=True))
    side = sum(row.nominal_bits for row in rows) - sum(
        int(histogram.sum()) * math.log2(len(histogram)) for histogram in histograms
    )
    names = sorted({name for row in rows for name in (*row.figures, *row.failures)})
    values = {name: [row.figures[name] for row in rows if name in row.figures] for name in names}
    coded = [row.coded_bits for row in rows if row.coded_bits is not None]
    return Setting(
        levels=rows[0].levels,
        files=len(rows),
        nominal=sum(row.nominal_bits for row in rows) * unit / extent,
        entropy=(sum(coded) if coded else main + side) * unit / extent,
        written=sum(row.written_bits for row in rows) * unit / extent,
        figures={name: float(np.mean(v)) for name, v in values.items() if v},
        failures={name: len(rows) - len(v) for name, v in values.items() if len(v) < len(rows)},
        usage=[float((histogram > 0).mean()) for histogram in histograms],
        perplexity=[float(2**h) for h in entropies],
        entropy_bits=entropies,
        encode_speed=codec.medium.speed(extent, sum(row.encode_seconds for row in rows)),
        decode_speed=codec.medium.speed(extent, sum(row.decode_seconds for row in rows)),
    )


def _over_files(metrics: Sequence[Metric], setting: Setting) -> dict[str, str]:
    """Add to ``setting`` the figures of all files together; why some have none."""
    reasons: dict[str, str] = {}
    for metric in metrics:
        try:
            setting.figures.update(metric.over_files())
        except MetricFailure as error:
            reasons |= dict.fromkeys(metric.names, str(error))
    setting.failures.update(dict.fromkeys(reasons, setting.files))
    return reasons


def entropy_of(histogram: np.ndarray) -> float:
    """Entropy in bits of a histogram of counts."""
    p = histogram[histogram > 0] / histogram.sum()
    return float(-(p * np.log2(p)).sum()) + 0.0
