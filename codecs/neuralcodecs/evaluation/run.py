"""A judgement: several codecs, each at all its settings, on the same files; it goes on where an earlier run stopped."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from neuralcodecs.atomic import atomic
from neuralcodecs.criteria import Metric, MetricFailure
from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.candidate import Candidate, Decoded, Point
from neuralcodecs.evaluation.protocol import PROTOCOL, conflicts, data, protocol
from neuralcodecs.evaluation.store import RESULTS, Appender, Line, read_lines
from neuralcodecs.medium import Medium, SignalInfo

Signal = Float[Tensor, "c *space"]
RATE_UNIT = {"kbit/s": "kbit/s", "bit/pixel": "bpp"}


def named_files(sources: Sequence[Path], found: Sequence[Path]) -> dict[str, Path]:
    """Files by the names that results give them: relative to the one source folder, else to the folder of all.

    A link is called by its own name, wherever it leads.
    """
    folder = sources[0].absolute() if len(sources) == 1 and sources[0].is_dir() else None
    if folder is None:
        parents = {path.parent.absolute() for path in found}
        folder = next(iter(parents)) if len(parents) == 1 else Path(Path(*_shared(parents)))
    return {path.absolute().relative_to(folder).as_posix(): path for path in found}


def _shared(folders: set[Path]) -> list[str]:
    columns = zip(*(folder.parts for folder in folders), strict=False)
    shared = []
    for column in columns:
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return shared


@dataclass
class Judgement:
    """Judges ``candidates`` on ``files`` with ``metrics``; everything goes to ``out``.

    Args:
        candidates: of different names.
        medium: what the signals are and how files are read.
        files: the test set by name.
        metrics: figures of a decoding against its reference.
        out: folder of the results, made if needed.
        absent: metrics that could not be made, with the reason; told in the protocol.
        keep: so many files, the first, are kept as they were and as they were decoded.
    """

    candidates: Sequence[Candidate]
    medium: Medium
    files: Mapping[str, Path]
    metrics: Sequence[Metric]
    out: Path
    absent: Mapping[str, str]
    keep: int = 0

    def run(self, progress: bool = True) -> tuple[list[Line], dict[str, str]]:
        """All lines of this judgement, and the files that could not be read, with the reason.

        Only what is missing is computed. Raises CodecError where ``out`` holds results of another protocol or model.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        self._agree()
        there = read_lines(self.out / RESULTS)
        lines: list[Line] = []
        unreadable: dict[str, str] = {}
        count = sum(len(candidate.points) for candidate in self.candidates)
        with (
            closing(Appender(self.out / RESULTS)) as appender,
            tqdm(total=count * len(self.files), desc="evaluate", unit="line", disable=not progress) as bar,
        ):
            for number, name in enumerate(self.files):
                todo = [(c, p) for c in self.candidates for p in c.points if not self._done(there, c, p, name, number)]
                done = [(c, p) for c in self.candidates for p in c.points if (c, p) not in todo]
                lines += [there[c.name, p.name, name] for c, p in done]
                bar.update(len(done))
                if todo:
                    try:
                        signal, original = self.medium.read(self.files[name])
                    except CodecError as error:
                        unreadable[name] = str(error)
                        bar.update(len(todo))
                        continue
                    if number < self.keep:
                        self._keep(self.out / "original" / name, signal, original)
                    for candidate, point in todo:
                        line = self._judge(candidate, point, name, signal, original, number < self.keep)
                        appender.write(line)
                        lines.append(line)
                        bar.update()
        return lines, unreadable

    def protocol(self) -> dict[str, Any]:
        """How the figures are made, with the identity of every codec and what the signals are."""
        facts = protocol(self.metrics, self.files, self.absent)
        facts["models"] = {candidate.name: candidate.identity for candidate in self.candidates}
        facts["rate"], facts["channels"] = self.medium.rate, self.medium.channels
        return facts

    def coded(self, candidate: Candidate, point: Point, name: str) -> Path:
        """Where the coded file lies: it is kept, since every figure rests on it."""
        return self._below("coded", candidate, point, name, candidate.suffix)

    def _below(self, folder: str, candidate: Candidate, point: Point, name: str, suffix: str) -> Path:
        return self.out / folder / plain(candidate.name) / plain(point.name) / f"{name}{suffix}"

    def _done(self, there: Mapping[Any, Line], candidate: Candidate, point: Point, name: str, number: int) -> bool:
        line = there.get((candidate.name, point.name, name))
        if line is None or line.error or (number < self.keep and not line.output):
            return False
        wanted = {figure for metric in self.metrics if metric.fresh() is metric for figure in metric.names}
        return wanted <= {*line.figures, *line.failures}

    def _judge(
        self, candidate: Candidate, point: Point, name: str, signal: Signal, original: SignalInfo, keep: bool
    ) -> Line:
        shape = tuple(signal.shape[1:])
        target = self.coded(candidate, point, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        facts: dict[str, Any] = {
            "codec": candidate.name,
            "kind": candidate.kind,
            "setting": point.name,
            "order": point.order,
            "levels": point.levels,
            "file": name,
            "group": Path(name).parent.name,
            "extent": self.medium.extent(shape),
            "unit": RATE_UNIT.get(self.medium.unit, self.medium.unit),
            "rate": self.medium.rate,
            "shape": shape,
        }
        try:
            with atomic(target) as temporary:
                coded = candidate.encode(self.files[name], signal, point, temporary)
            decoded = candidate.decode(target, signal)
        except CodecError as error:
            facts |= {
                "nominal_bits": None,
                "entropy_bits": None,
                "written_bits": 0,
                "encode_seconds": 0.0,
                "decode_seconds": 0.0,
            }
            return Line(**facts, error=str(error))
        output = None
        if keep:
            kept = self._below("decoded", candidate, point, name, "")
            output = self._keep(kept, decoded.signal, original).relative_to(self.out).as_posix()
        figures, failures = measured(self.metrics, decoded, signal, self.medium.rate)
        return Line(
            **facts,
            nominal_bits=coded.nominal_bits,
            entropy_bits=coded.entropy_bits,
            written_bits=8 * target.stat().st_size,
            encode_seconds=coded.seconds,
            decode_seconds=decoded.seconds,
            figures=figures,
            failures=failures,
            delay=decoded.delay,
            output=output,
        )

    def _keep(self, path: Path, signal: Signal, original: SignalInfo) -> Path:
        """Write a signal as the judge heard or saw it: at its own rate, channels and shape."""
        path = path.with_name(path.name + self.medium.suffixes[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        info = SignalInfo(self.medium.rate, self.medium.channels, tuple(signal.shape[1:]))
        self.medium.write(path, signal, info)
        return path

    def _agree(self) -> None:
        """Write the protocol; CodecError where one is there that these results must not be mixed with."""
        path, new = self.out / PROTOCOL, self.protocol()
        if path.exists():
            old = json.loads(path.read_text())
            found = conflicts(old, new) + [
                f"{name} was {identity}, now it is {new['models'][name]}"
                for name, identity in old.get("models", {}).items()
                if new["models"].get(name, identity) != identity
            ]
            if (old["rate"], old["channels"]) != (new["rate"], new["channels"]):
                was, now = (f"{p['channels']} channels at {p['rate']} Hz" for p in (old, new))
                found.append(f"signals had {was}, now {now}")
            if found:
                raise CodecError(f"{self.out} holds results of another protocol ({found[0]}): name another --out")
            if old["code"] != new["code"]:
                new["earlier_code"] = [*old.get("earlier_code", []), old["code"]]
            for part in ("metrics", "higher_is_better", "models"):
                new[part] = old[part] | new[part]
            new["data"] = data(old["data"]["files"] | new["data"]["files"])
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(new, indent=1) + "\n")


def measured(
    metrics: Sequence[Metric], decoded: Decoded, reference: Signal, rate: int
) -> tuple[dict[str, float], dict[str, str]]:
    """Figures of one decoding, and why others have no value."""
    figures: dict[str, float] = {}
    failures: dict[str, str] = {}
    for metric in metrics:
        try:
            figures |= metric(decoded.signal, reference, rate)
        except MetricFailure as error:
            failures |= dict.fromkeys(metric.names, str(error))
    return figures, failures


def plain(name: str) -> str:
    """A name as part of a path."""
    return "".join(c if c.isalnum() or c in "._-=" else "_" for c in name)
