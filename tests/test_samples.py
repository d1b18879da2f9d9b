"""The samples are small, complete, licensed and split by speaker."""

import csv
import hashlib
from collections import defaultdict

import soundfile
from conftest import SAMPLES

LIMIT = 6_000_000
LICENCES = ("CC0", "CC BY", "Public domain", "released by Eastman Kodak for unrestricted usage")


def _rows() -> list[dict[str, str]]:
    with (SAMPLES / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_size_is_within_the_limit() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) <= LIMIT


def test_every_file_is_listed_with_its_hash() -> None:
    listed = {row["path"]: row["sha256"] for row in _rows()}
    found = {
        path.relative_to(SAMPLES).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in SAMPLES.rglob("*")
        if path.is_file() and path.parent != SAMPLES
    }
    assert listed == found


def test_every_file_has_a_free_licence_and_an_attribution() -> None:
    for row in _rows():
        assert row["licence"].startswith(LICENCES), row["path"]
        assert row["attribution"] and row["source"], row["path"]


def test_no_group_stands_in_two_splits() -> None:
    splits = defaultdict(set)
    for row in _rows():
        splits[row["group"]].add(row["split"])
    assert [group for group, of in splits.items() if len(of) > 1] == []


def test_speech_has_enough_speakers() -> None:
    speakers = defaultdict(set)
    for row in _rows():
        if row["kind"] == "speech":
            speakers[row["split"]].add(row["group"])
    assert len(speakers["train"]) >= 8 and len(speakers["test"]) >= 2 and len(speakers["val"]) >= 2


def test_audio_is_what_the_manifest_says() -> None:
    for row in _rows():
        if row["kind"] in ("image", "video"):
            continue
        info = soundfile.info(SAMPLES / row["path"])
        assert (info.samplerate, info.channels) == (int(row["sample_rate"]), int(row["channels"])), row["path"]
        assert abs(info.frames / info.samplerate - float(row["duration"])) < 1e-4, row["path"]
