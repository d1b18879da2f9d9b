"""Damaged and forged files of every coder: refused in one line, or read as they were written.

A forged payload that is read is the very one that its codes are coded as: no two files have the same codes.
"""

import random
from collections.abc import Iterator
from itertools import islice

import pytest
from fuzz_coded import coded_victims
from fuzz_corpus import Victim, mutants
from fuzz_judge import Judge, watched
from mutations import DAMAGE, FORGERY, Mutation, forge_values

COUNTS = dict.fromkeys(DAMAGE, 160) | dict.fromkeys(FORGERY, 64) | {forge_values: 48}
"""Files of each kind: three to ten of each victim."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Victim]:
    return coded_victims(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="module")
def judge(corpus: list[Victim]) -> Iterator[Judge]:
    with watched():
        yield Judge(corpus)


def test_every_coder_takes_part(corpus: list[Victim]) -> None:
    coders = {stream.coder for victim in corpus for stream in victim.open(victim.data).header.streams}
    assert coders == {0, 1, 2, 3, 4, 5, 6, 16, 17} and len(corpus) == 18


@pytest.mark.parametrize("kind", COUNTS, ids=lambda kind: kind.__name__)
def test_mutations(kind: Mutation, corpus: list[Victim], judge: Judge) -> None:
    rng = random.Random(kind.__name__)
    refused = saved = 0
    for victim, data in islice(mutants(corpus, kind, rng), COUNTS[kind]):
        try:
            refused += not judge(victim, data, kind in FORGERY)
            saved += judge.salvage(victim, data) if kind in DAMAGE else 0
        except Exception as error:
            raise AssertionError(f"{kind.__name__} of {victim.name}: {data.hex()}") from error
    print(f"{kind.__name__}: {COUNTS[kind]} files, {refused} refused, {saved} chunks salvaged")
    assert refused >= COUNTS[kind] * (1 if kind in DAMAGE else 0.5)


def test_every_truncation_of_a_payload_is_refused(corpus: list[Victim], judge: Judge) -> None:
    for victim in corpus[::2]:
        data = victim.data
        assert judge(victim, data, False)
        assert not any(judge(victim, data[:length], False) for length in range(0, len(data), 7))
