"""Batches of the data module: functions of counters for any workers, ranks and resume; bad files."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml
from audio_batches import TRAIN, VAL, hashes, make_data, take
from conftest import SAMPLES
from jsonargparse import ArgumentParser

from neuralcodecs.errors import CodecError
from neuralcodecs.sources import Source
from neuralcodecs.training.audio_data import AudioDataModule
from neuralcodecs.training.data import Loading, SignalDataModule
from neuralcodecs.training.stream import BatchStream, Shard


@pytest.fixture(scope="module")
def expected() -> list[tuple[str, int, int]]:
    return hashes(take(make_data(), 8))


def test_a_batch_is_what_it_promises() -> None:
    batches = take(make_data(), 3)
    assert [b.index for b in batches] == [0, 1, 2]
    assert all(b.signal.shape == (4, 1, 4800) and b.shapes is None and 0 <= b.seed < 2**63 for b in batches)
    assert len({b.seed for b in batches}) == 3
    assert all(item.any() and item.abs().max() <= 1 for b in batches for item in b.signal)


@pytest.mark.parametrize("workers", [0, 2, 3])
@pytest.mark.parametrize("start", [0, 5])
def test_batches_depend_neither_on_workers_nor_on_where_a_run_began(
    workers: int, start: int, expected: list[tuple[str, int, int]]
) -> None:
    data = make_data(Loading(workers=workers))
    data.load_state_dict({"next_batch": start, "seed": 0})
    assert hashes(take(data, len(expected) - start)) == expected[start:]


def test_batches_do_not_depend_on_the_number_of_threads(expected: list[tuple[str, int, int]]) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert hashes(take(make_data(), 2)) == expected[:2]
        assert torch.get_num_threads() != threads
    finally:
        torch.set_num_threads(threads)


def test_cached_batches_do_not_depend_on_workers() -> None:
    assert hashes(take(make_data(Loading(workers=0, cache=True)), 4)) == hashes(
        take(make_data(Loading(workers=2, cache=True)), 4)
    )


def test_another_seed_gives_other_batches(expected: list[tuple[str, int, int]]) -> None:
    other = hashes(take(make_data(Loading(workers=0, seed=1)), 8))
    assert not {h for h, *_ in other} & {h for h, *_ in expected}
    assert not {seed for *_, seed in other} & {seed for *_, seed in expected}


def test_two_ranks_share_the_batch_of_one_process() -> None:
    data = make_data()
    data.setup("fit")
    examples = data._training
    assert examples is not None
    for index in (0, 3):
        whole = BatchStream(examples, 0, Shard(4, 0, 1), 0).batch(index).batch
        parts = [BatchStream(examples, 0, Shard(2, rank, 2), 0).batch(index).batch for rank in (0, 1)]
        assert whole is not None
        assert [p.seed for p in parts] == [whole.seed] * 2
        assert torch.equal(torch.stack([p.signal for p in parts], dim=1).flatten(0, 1), whole.signal)


def test_every_epoch_of_draws_meets_every_file() -> None:
    data = make_data()
    data.setup("fit")
    examples = data._training
    assert examples is not None
    order = BatchStream(examples, 0, Shard(4, 0, 1), 0).order
    assert {order[n] for n in range(int(np.ceil(examples.shares.sum())) + 1)} == set(range(len(examples.shares)))


def test_the_state_is_the_next_batch_and_the_seed() -> None:
    data = make_data(Loading(workers=0, seed=3))
    data.next_batch = 17
    assert data.state_dict() == {"next_batch": 17, "seed": 3}
    with pytest.raises(CodecError, match="data seed 4, this run has 3"):
        data.load_state_dict({"next_batch": 17, "seed": 4})


def test_validation_is_fixed_finite_and_padded_to_true_shapes() -> None:
    # two crops of 10 s train as much sound as two whole validation files
    settings: dict[str, Any] = {"segment_seconds": 10.0, "batch_size": 2}
    runs = []
    for loading in (Loading(workers=0), Loading(workers=2, seed=5)):
        data = make_data(loading, **settings)
        data.setup("validate")
        runs.append(list(data.val_dataloader()))
        assert hashes(runs[-1]) == hashes(list(data.val_dataloader()))
    assert hashes(runs[0]) == hashes(runs[1])
    (batch,) = runs[0]
    assert batch.index == 0 and batch.signal.shape == (2, 1, 240000)
    assert batch.shapes == ((236280,), (240000,))
    assert not batch.signal[0, :, 236280:].any() and batch.signal[0, :, :236280].any()


def _broken(folder: Path, good: int, cut: int, text: int) -> Path:
    """Files that are readable, that fail only when they are decoded, and that are no audio."""
    whole = (SAMPLES / "speech" / "test" / "libri_1688-142285-0008.flac").read_bytes()
    noise = np.random.default_rng(0).normal(0, 0.1, 24000)
    for number in range(good):
        soundfile.write(folder / f"good{number}.wav", noise, 24000)
    for number in range(cut):
        (folder / f"cut{number}.flac").write_bytes(whole[:9000])
    for number in range(text):
        (folder / f"text{number}.wav").write_text("not audio")
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_files_are_named_once_and_replaced_alike(workers: int, tmp_path: Path) -> None:
    folder = str(_broken(tmp_path, good=8, cut=1, text=1))
    data = make_data(Loading(workers=workers, max_bad=0.3), [folder])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        batches = take(data, 20)
    named = [str(w.message) for w in caught if str(w.message).startswith("skipped")]
    assert len(named) == 2 and "text0.wav" in named[0] and "cut0.flac" in named[1]
    assert all(item.any() for b in batches for item in b.signal)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert hashes(batches[:5]) == hashes(take(make_data(Loading(workers=0, max_bad=0.3), [folder]), 5))


def test_too_many_bad_files_stop_the_run_with_the_list(tmp_path: Path) -> None:
    folder = str(_broken(tmp_path, good=5, cut=0, text=3))
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(CodecError, match=r"3 of 8 files") as caught:
        take(make_data(Loading(workers=0, max_bad=0.25), [folder]), 1)
    assert all(f"text{n}.wav" in str(caught.value) for n in range(3))


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_files_that_fail_while_training_stop_it_too(workers: int, tmp_path: Path) -> None:
    folder = str(_broken(tmp_path, good=2, cut=4, text=0))
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(CodecError, match=r"cut\d\.flac") as caught:
        take(make_data(Loading(workers=workers), [folder]), 50)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_but_bad_files_is_one_line(workers: int, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="in a row") as caught:
        take(make_data(Loading(workers=workers, max_bad=1.0), [str(_broken(tmp_path, 0, 3, 0))]), 1)
    assert "\n" not in str(caught.value)
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(CodecError, match="none of 2 files can be used"):
        take(make_data(Loading(workers=0, max_bad=1.0), [str(_broken(tmp_path, 0, 0, 2))]), 1)


@pytest.mark.parametrize(
    "settings", [{"batch_size": 0}, {"segment_seconds": 0.0}, {"sample_rate": 0}, {"loading": Loading(workers=-1)}]
)
def test_arguments_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(CodecError):
        AudioDataModule([TRAIN], [VAL], **settings)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match="absent: no such folder"):
        make_data(train=[str(tmp_path / "absent")]).setup("fit")


CONFIG = f"""
data:
  class_path: neuralcodecs.training.audio_data.AudioDataModule
  init_args:
    train: [{TRAIN}, {{path: {SAMPLES}/music, weight: 0.5, kind: music}}]
    val: [{VAL}]
    segment_seconds: 0.5
    augmentation: {{class_path: neuralcodecs.audio.augment.GainAndMix, init_args: {{two: 0.5}}}}
    loading: {{workers: 0, cache: true}}
"""


def test_it_is_built_from_yaml() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(SignalDataModule, "data")
    built = parser.instantiate_classes(
        parser.parse_object({**yaml.safe_load(CONFIG), "data.init_args.loading.seed": 7})
    ).data
    assert built.loading == Loading(workers=0, seed=7, cache=True)
    assert built.sources["train"] == [TRAIN, Source(f"{SAMPLES}/music", weight=0.5, kind="music")]
    assert built.augmentation.two == 0.5 and built.length == 12000
