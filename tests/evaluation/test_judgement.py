"""A judgement: a line per file, codec and setting; what is there is not repeated, what is torn is; models are told."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from examples import clip, make_codec
from judged import folder_of

from neuralcodecs import CodecError
from neuralcodecs.audio import Audio
from neuralcodecs.audio.metrics import SISDR, STFTDistance
from neuralcodecs.evaluation.candidate import Candidate, Coded, Decoded, ModelCandidate, Point
from neuralcodecs.evaluation.figures_text import failures_of, lines_of
from neuralcodecs.evaluation.history import open_run
from neuralcodecs.evaluation.measure import evaluate
from neuralcodecs.evaluation.run import Judgement, named_files
from neuralcodecs.evaluation.store import RESULTS, read_lines
from neuralcodecs.evaluation.summary import summarize, write_summary


class Rounding(Candidate):
    """A codec without a model: samples as 8-bit integers; refuses the file that it is told to."""

    name, kind, identity, suffix = "rounding", "classical", "of the tests", ".raw"
    points = (Point("coarse", 1.0), Point("fine", 2.0))

    def __init__(self, refused: str = "") -> None:
        self.refused = refused
        self.encoded: list[tuple[str, str]] = []

    def encode(self, path: Path, signal: torch.Tensor, point: Point, target: Path) -> Coded:
        self.encoded.append((path.name, point.name))
        if path.name == self.refused:
            raise CodecError("rounding: cannot")
        scale = {"coarse": 15, "fine": 127}[point.name]
        target.write_bytes((signal * scale).round().to(torch.int8).numpy().tobytes() + bytes([scale]))
        return Coded(0.5, None)

    def decode(self, source: Path, reference: torch.Tensor) -> Decoded:
        data = torch.frombuffer(bytearray(source.read_bytes()), dtype=torch.int8)
        return Decoded((data[:-1].float() / float(data[-1]))[None], 0.25)


def judgement(folder: Path, *candidates: Candidate, keep: int = 0) -> Judgement:
    paths = [folder / "data" / name for name in ("a.wav", "b.wav")]
    if not paths[0].exists():
        (folder / "data").mkdir()
        clip(folder / "data", 9000, "a.wav"), clip(folder / "data", 5000, "b.wav")
    files = named_files([folder / "data"], paths)
    return Judgement(
        candidates, Audio(16000), files, [SISDR(), STFTDistance()], folder / "out", {"pesq": "left out"}, keep
    )


def test_lines_are_what_was_written_and_a_model_has_the_figures_of_evaluate(tmp_path: Path) -> None:
    codec, rounding = make_codec(), Rounding()
    judged = judgement(tmp_path, ModelCandidate("tiny", codec, Audio(16000)), rounding, keep=1)
    lines, unreadable = judged.run(progress=False)
    assert len(lines) == 2 * (3 + 2) and unreadable == {} and rounding.encoded[0] == ("a.wav", "coarse")
    for line in lines:
        folder = line.setting.replace(" ", "_")
        suffix = ".ncs" if line.kind == "model" else ".raw"
        coded = tmp_path / "out" / "coded" / line.codec / folder / f"{line.file}{suffix}"
        assert line.written_bits == 8 * coded.stat().st_size and line.figures.keys() == {"si_sdr", "stft_distance"}
        assert (line.output is not None) == (line.file == "a.wav")
    summary = summarize(judged, lines, unreadable)
    fine = summary["codecs"]["rounding"]["settings"][1]
    assert fine["rate_written"] == pytest.approx(8 * 14002 / (14000 / 16000) / 1000) and fine["rate_nominal"] is None
    assert fine["encode_speed"] == pytest.approx((14000 / 16000) / 1.0)
    usual = evaluate(codec, list(judged.files.values()), metrics=judged.metrics, progress=False)
    for ours, theirs in zip(summary["codecs"]["tiny"]["settings"], usual.settings, strict=True):
        assert ours["figures"] == pytest.approx(theirs.figures) and ours["usage"] == theirs.usage
        rates = [ours[f"rate_{kind}"] for kind in ("nominal", "entropy", "written")]
        assert rates == pytest.approx([theirs.nominal, theirs.entropy, theirs.written])
    assert summary["codecs"]["tiny"]["parameters"] > 0 and summary["codecs"]["tiny"]["macs"] > 0
    write_summary(summary, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["absent"] == {"pesq": "left out"}
    assert "not measured: pesq: left out" in lines_of(summary)
    kept = [name for name in folder_of(tmp_path / "out") if name.endswith(".wav")]
    assert "original/a.wav.wav" in kept and "decoded/rounding/fine/a.wav.wav" in kept and len(kept) == 6


def test_a_second_run_computes_only_what_is_missing_and_survives_a_torn_line(tmp_path: Path) -> None:
    first = judgement(tmp_path, Rounding())
    lines, _ = first.run(progress=False)
    again = Rounding()
    repeated, _ = judgement(tmp_path, again).run(progress=False)
    assert again.encoded == [] and sorted(repeated, key=str) == sorted(lines, key=str)
    results = tmp_path / "out" / RESULTS
    results.write_bytes(results.read_bytes()[:-40])  # killed while it wrote the last line
    third = Rounding()
    healed, _ = judgement(tmp_path, third).run(progress=False)
    assert third.encoded == [("b.wav", "fine")]
    assert sorted((replace(x) for x in healed), key=str) == sorted(lines, key=str)
    assert len(results.read_text().splitlines()) == 4 and len(read_lines(results)) == 4


def test_failures_are_counted_and_tried_again(tmp_path: Path) -> None:
    judged = judgement(tmp_path, Rounding("b.wav"))
    lines, unreadable = judged.run(progress=False)
    summary = summarize(judged, lines, unreadable)
    assert [s["failed"] for s in summary["codecs"]["rounding"]["settings"]] == [1, 1]
    assert failures_of(lines) == ["failed 2 times: rounding: rounding: cannot"]
    (tmp_path / "data" / "c.wav").write_text("not a sound")
    well = Rounding()
    judged = judgement(tmp_path, well)
    judged.files = {**judged.files, "c.wav": tmp_path / "data" / "c.wav"}
    lines, unreadable = judged.run(progress=False)
    assert well.encoded == [("b.wav", "coarse"), ("b.wav", "fine")] and list(unreadable) == ["c.wav"]
    assert len(open_run(str(tmp_path / "out")).lines) == 4


def test_another_model_of_that_name_and_another_file_are_refused(tmp_path: Path) -> None:
    judgement(tmp_path, ModelCandidate("tiny", make_codec(), Audio(16000), (1,))).run(progress=False)
    with pytest.raises(CodecError, match=r"tiny was .*, now it is .*: name another --out"):
        judgement(tmp_path, ModelCandidate("tiny", make_codec(seed=1), Audio(16000), (1,))).run(progress=False)
    judgement(tmp_path, Rounding()).run(progress=False)
    names = {line.codec for line in read_lines(tmp_path / "out" / RESULTS).values()}
    assert names == {"tiny", "rounding"}
    with pytest.raises(CodecError, match=r"has results of tiny, rounding: name one, such as .*:tiny"):
        open_run(str(tmp_path / "out"))
    assert {line.codec for line in open_run(f"{tmp_path / 'out'}:rounding").lines} == {"rounding"}
    clip(tmp_path / "data", 5001, "b.wav")
    with pytest.raises(CodecError, match=r"1 files of one name differ, such as b\.wav"):
        judgement(tmp_path, Rounding()).run(progress=False)


def test_a_model_of_another_rate_is_judged_at_the_judges(tmp_path: Path) -> None:
    judged = judgement(tmp_path, ModelCandidate("other", make_codec(rate=24000), Audio(16000), (4,)))
    lines, _ = judged.run(progress=False)
    assert [line.shape for line in lines] == [(9000,), (5000,)] and all(line.rate == 16000 for line in lines)


def test_links_are_called_by_their_own_names(tmp_path: Path) -> None:
    (tmp_path / "sound").mkdir()
    (tmp_path / "sound" / "a.wav").touch()
    links = tmp_path / "links"
    links.mkdir()
    (links / "b.wav").symlink_to(tmp_path / "sound" / "a.wav")
    (tmp_path / "other").symlink_to(links)
    assert [*named_files([links], [links / "b.wav"])] == ["b.wav"]
    assert [*named_files([tmp_path / "other"], [tmp_path / "other" / "b.wav"])] == ["b.wav"]
    two = [links / "b.wav", tmp_path / "sound" / "a.wav"]
    assert [*named_files(two, two)] == ["links/b.wav", "sound/a.wav"]
