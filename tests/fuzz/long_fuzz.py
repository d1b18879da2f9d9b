"""Damages and forges files for as long as one likes: ``make fuzz BUDGET=600``. docs/fuzzing.md says what it looks for.

PYTHONPATH=codecs:tests python tests/fuzz/long_fuzz.py --seconds 600 [--seed N] [--out runs/fuzz]
"""

import argparse
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path

from fuzz_coded import coded_victims
from fuzz_corpus import Victim, mutants, victims
from fuzz_judge import Judge, watched
from mutations import DAMAGE, FORGERY, Mutation, twice

ROUND = 200
"""Files of a kind from one seed."""


class Fuzzing:
    """Counts by kind; saves each file that was not read as promised, with what is needed to make it again."""

    def __init__(self, corpus: list[Victim], out: Path) -> None:
        self.corpus = corpus
        self.out = out
        self.judge = Judge(corpus)
        self.tried: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.findings = 0

    def round(self, kind: Mutation, seed: int) -> None:
        name = kind.__name__
        rng = random.Random(f"{name} {seed}")
        for index, (victim, data) in zip(range(ROUND), mutants(self.corpus, kind, rng), strict=False):
            try:
                self.refused[name] += not self.judge(victim, data, kind not in DAMAGE)
            except Exception as error:
                self._save(f"{name}-{seed}-{index}", victim, data, error)
            self.tried[name] += 1

    def report(self) -> None:
        for name, tried in self.tried.items():
            print(f"{name:14} {tried:9} files {self.refused[name]:9} refused")
        judge = self.judge
        print(f"{sum(self.tried.values())} files, {self.findings} findings")
        print(f"slowest {judge.slowest:.3f} s, most memory {judge.largest / 2**20:.1f} MiB beyond what was returned")

    def _save(self, name: str, victim: Victim, data: bytes, error: Exception) -> None:
        self.findings += 1
        self.out.mkdir(parents=True, exist_ok=True)
        path = self.out / f"{name}.ncs"
        path.write_bytes(data)
        print(f"FOUND {path}, made of {victim.name!r}: {type(error).__name__}: {error}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, help="of the first round, the next ones count up; default: any")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), help="where offending files go")
    options = parser.parse_args()
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    print(f"seed {seed}, {options.seconds:g} s", flush=True)
    end = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory() as folder, watched():
        fuzzing = Fuzzing([*victims(Path(folder)), *coded_victims(Path(folder))], options.out)
        for number in count(seed):
            for kind in (*DAMAGE, *FORGERY, twice):
                fuzzing.round(kind, number)
            if time.monotonic() > end:
                break
        fuzzing.report()
    return 1 if fuzzing.findings else 0


if __name__ == "__main__":
    sys.exit(main())
