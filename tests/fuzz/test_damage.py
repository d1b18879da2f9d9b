"""Damaged and forged files of every shipped config: refused in one line, or read as they were written.

Sections 5 and 6 of the reliability specification; docs/fuzzing.md says what is counted and how.
"""

import random
from collections.abc import Iterator
from itertools import islice

import pytest
from fuzz_corpus import CONFIGS, Victim, mutants, victims
from fuzz_judge import Judge, watched
from mutations import DAMAGE, FORGERY, Mutation, forge_values

COUNTS = dict.fromkeys(DAMAGE, 1800) | dict.fromkeys(FORGERY, 1200)
"""Files of each kind."""
LEAST_REFUSED = {forge_values: 0.05}
"""Share of a kind that must be refused, else 0.6: most values that fill their alphabet are as good as others."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Victim]:
    return victims(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="module")
def judge(corpus: list[Victim]) -> Iterator[Judge]:
    with watched():
        yield Judge(corpus)


def test_every_shipped_config_has_files(corpus: list[Victim]) -> None:
    names = [victim.name for victim in corpus]
    counts = {path.stem: sum(name.startswith(f"{path.stem} ") for name in names) for path in CONFIGS}
    assert set(counts.values()) == {0, 4}, counts
    assert sum(count == 4 for count in counts.values()) > 25


def test_there_are_enough_of_them() -> None:
    assert sum(COUNTS.values()) >= 20_000


@pytest.mark.parametrize("kind", COUNTS, ids=lambda kind: kind.__name__)
def test_mutations(kind: Mutation, corpus: list[Victim], judge: Judge) -> None:
    rng = random.Random(kind.__name__)
    refused = saved = 0
    for index, (victim, data) in enumerate(islice(mutants(corpus, kind, rng), COUNTS[kind])):
        try:
            refused += not judge(victim, data, kind in FORGERY)
            saved += judge.salvage(victim, data) if kind in DAMAGE and index % 4 == 0 else 0
        except Exception as error:
            raise AssertionError(f"{kind.__name__} of {victim.name}: {data.hex()}") from error
    print(f"{kind.__name__}: {COUNTS[kind]} files, {refused} refused, {saved} chunks salvaged")
    assert saved > (COUNTS[kind] / 50 if kind in DAMAGE else -1)
    assert refused > COUNTS[kind] * LEAST_REFUSED.get(kind, 0.6)


def test_every_bit_flip_and_every_truncation_is_refused(corpus: list[Victim], judge: Judge) -> None:
    """Of the smallest file of a model, and of the smallest with two streams, an original and an end record."""
    models = [victim for victim in corpus if not victim.name.startswith(("known", "open"))]
    tried = 0
    for victim in (min(models, key=lambda victim: len(victim.data)), corpus[0], corpus[1]):
        data = victim.data
        assert judge(victim, data, False)
        whole = int.from_bytes(data, "little")
        changed = [(whole ^ 1 << bit).to_bytes(len(data), "little") for bit in range(8 * len(data))]
        changed += [data[:length] for length in range(len(data))] + [data + b"\0", data + data]
        assert not any(judge(victim, other, False) for other in changed)
        tried += len(changed)
    print(f"every bit and every length: {tried} files")
