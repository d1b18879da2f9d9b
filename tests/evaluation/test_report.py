"""The report's content, without a browser: figures, escaping, bounds, loudness; what is refused."""

import base64
import io
import itertools
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import soundfile
import torch
from conftest import ROOT
from examples import clip, make_codec
from report_folder import HOSTILE, picture_results, run_folder, sound_results

from neuralcodecs import CodecError
from neuralcodecs.cli import main
from neuralcodecs.evaluation.report.charts import Axis, Dot, Line, chart
from neuralcodecs.evaluation.report.folder import read_results, read_run
from neuralcodecs.evaluation.report.loudness import loudness


class Elements(HTMLParser):
    """All start tags of a page with their attributes, and its text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._raw = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._raw = tag in ("script", "style")
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += "" if self._raw else data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sound_results(tmp_path_factory.mktemp("report") / "sounds")


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    run = run_folder(folder / "a-run")
    assert main(["report", str(folder), "--run", str(run), "--out", str(folder / "out" / "page.html")]) == 0
    return (folder / "out" / "page.html").read_text()


def test_nothing_is_loaded_from_elsewhere_and_no_name_becomes_markup(html: str) -> None:
    page = Elements(html)
    sources = [
        value for _, of in page.found for name, value in of.items() if name in ("src", "href", "srcset", "action")
    ]
    assert sources and all((value or "").startswith(("data:", "#")) for value in sources)
    assert not [name for _, of in page.found for name in of if name.startswith("on")]
    assert (
        HOSTILE in page.text
        and HOSTILE not in html
        and "model <b>" in page.text
        and not [t for t, _ in page.found if t == "b"]
    )
    assert "Content-Security-Policy" in html and "too short" in page.text and "the encoder died" in page.text
    assert "c0ffee" in page.text and "of the test" in page.text


def test_table_holds_every_setting_with_its_figures(folder: Path, html: str) -> None:
    results = read_results(folder)
    values = {of.get("data-value") for tag, of in Elements(html).found if tag == "td"}
    points = [point for contender in results.contenders for point in contender.points]
    assert len(points) == 5
    assert all(str(point.written) in values and str(point.figures["snr"]) in values for point in points)
    assert html.count('scope="row"') >= 5 and "snr ↑" in Elements(html).text


def test_curves_are_beside_the_page_and_show_every_point(folder: Path, html: str) -> None:
    curves = folder / "out" / "page_curves"
    assert sorted(p.name for p in curves.iterdir()) == ["run_a-run_si_sdr.svg", "run_a-run_stoi.svg", "snr.svg"]
    svg = (curves / "snr.svg").read_text()
    assert svg.count('class="dot"') == 5 and "model &lt;b&gt;" in svg and "<style>" in svg
    course = (curves / "run_a-run_stoi.svg").read_text()
    assert course.count('class="dot"') == 2 and "4 levels" not in course  # an empty cell and a nan are no figures


def test_takes_are_whole_and_of_one_loudness(html: str) -> None:
    levels = []
    for uri in re.findall(r'src="data:audio/flac;base64,([^"]+)"', html):
        data, rate = soundfile.read(io.BytesIO(base64.b64decode(uri)), always_2d=True, dtype="float32")
        assert rate == 16000 and len(data) == 24000
        levels.append(loudness(torch.from_numpy(data.T), rate))
    assert len(levels) == 12
    quantized = [level for i, level in enumerate(levels) if i % 6 in (0, 4, 5)]  # the original and PCM at 0.4 of it
    assert max(quantized) - min(quantized) < 0.2


def test_the_budget_bounds_the_page_and_what_is_left_out_is_told(folder: Path) -> None:
    target = folder / "small.html"
    assert main(["report", str(folder), "--out", str(target), "--megabytes", "0.3"]) == 0
    html = target.read_text()
    taken = sum(len(uri) for uri in re.findall(r'src="(data:[^"]+)"', html))
    assert 0 < taken <= 0.3e6 and "did not fit" in html
    assert main(["report", str(folder), "--out", str(target), "--files", "0"]) == 0
    assert "data:audio" not in target.read_text()


def test_pictures_are_lossless(tmp_path: Path) -> None:
    from PIL import Image as Pillow

    folder = picture_results(tmp_path / "pictures")
    assert main(["report", str(folder)]) == 0
    found = re.findall(r'src="data:image/webp;base64,([^"]+)"', (folder / "report.html").read_text())
    assert len(found) == 5
    with (
        Pillow.open(io.BytesIO(base64.b64decode(found[0]))) as ours,
        Pillow.open(folder / "data" / "a.png") as original,
    ):
        assert ours.convert("RGB").tobytes() == original.convert("RGB").tobytes()


def test_outputs_elsewhere_are_not_read(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    secret = tmp_path / "secret.wav"
    secret.write_bytes((folder / "data" / "0.wav").read_bytes())
    line = json.loads((folder / "results.jsonl").read_text().splitlines()[0])
    for name in ("summary.json", "protocol.json"):
        (copy / name).write_text((folder / name).read_text())
    lines = [json.dumps(line | {"file": path, "output": path}) for path in ("../secret.wav", str(secret))]
    (copy / "results.jsonl").write_text("\n".join(lines))
    results = read_results(copy)
    assert [take.output for take in results.takes] == [None, None] and results.original("../../secret.wav") is None


def test_a_line_that_was_judged_again_replaces_the_first(folder: Path, tmp_path: Path) -> None:
    for name in ("summary.json", "protocol.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    line = json.loads((folder / "results.jsonl").read_text().splitlines()[0]) | {"failures": {}}
    again = line | {"written_bits": 2 * line["written_bits"]}
    lines = [line | {"error": "killed"}, line, again]
    (tmp_path / "results.jsonl").write_text("\n".join(map(json.dumps, lines)))
    results = read_results(tmp_path)
    assert [take.bitrate for take in results.takes] == [pytest.approx(again["written_bits"] / line["extent"] / 1000)]
    assert results.failures == ()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("summary.json", None, "no .*summary.json"),
        ("summary.json", '{"codecs": {"a": {"settings": [{"figures": 3}]}}}', "no codec has a figure"),
        ("summary.json", '{"codecs": {"a": {}}}', "damaged"),
        ("summary.json", "[1]", "no JSON object"),
        ("protocol.json", "{", "empty or torn"),
        ("results.jsonl", '{"codec": 1}', "damaged"),
        ("results.jsonl", '{"codec": 1, "setting": 1, "file": 1, "written_bits": 1, "extent": 0}', "damaged"),
    ],
)
def test_damaged_results_are_refused(
    folder: Path, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    for kept in ("summary.json", "protocol.json", "results.jsonl"):
        (tmp_path / kept).write_text((folder / kept).read_text())
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(CodecError, match=message):
        read_results(tmp_path)
    assert main(["report", str(tmp_path)]) == 2 and not (tmp_path / "report.html").exists()


def test_a_folder_without_checkpoints_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=r"no metrics\.csv"):
        read_run(tmp_path)


def test_loudness_of_the_standard_sines() -> None:
    time = torch.arange(48000 * 5, dtype=torch.float64)
    for rate in (16000, 44100, 48000):
        sine = torch.sin(2 * math.pi * 997 * time / rate)[None].float()
        # BS.1770: a 997 Hz sine at 0 dBFS in one front channel reads -3.01 LKFS; both channels 3.01 more
        assert loudness(sine, rate) == pytest.approx(-3.01, abs=0.05)
        assert loudness(0.1 * sine.repeat(2, 1), rate) == pytest.approx(-20.0, abs=0.05)
    assert loudness(torch.zeros(1, 48000), 48000) == -math.inf
    gated = torch.cat([sine, torch.zeros(1, 48000 * 20)], 1)  # silence does not count
    assert loudness(gated, 48000) == pytest.approx(-3.01, abs=0.15)


@pytest.mark.parametrize("logarithmic", [True, False])
@pytest.mark.parametrize("values", [[3.0], [1e-3, 1e3], [5.0, 5.2], [0.1, 0.7, 2.0]])
def test_axes_hold_their_values_and_have_few_ticks(values: list[float], logarithmic: bool) -> None:
    axis = Axis(values, 50.0, 340.0, logarithmic)
    assert all(50 <= axis(value) <= 340 for value in (*values, *axis.ticks()))
    assert sorted(values) == sorted(values, key=axis) and 1 <= len(axis.ticks()) <= 9


def test_labels_of_equal_curves_do_not_overlap() -> None:
    lines = [Line(f"codec {i}", i, (Dot(1.0, 2.0, ""), Dot(2.0, 3.0, ""))) for i in range(12)]
    heights = [float(y) for y in re.findall(r'<text x="\S+" y="(\S+)" font-size', chart("t", "x", lines))]
    assert len(heights) == 12 and min(b - a for a, b in itertools.pairwise(heights)) >= 12.9


def test_what_evaluate_writes_becomes_a_report(tmp_path: Path) -> None:
    make_codec().save_pretrained(tmp_path / "model")
    clip(tmp_path, 16000, "speech.wav")
    out = tmp_path / "results"
    options = ["--data", str(tmp_path / "speech.wav"), "--out", str(out), "--keep", "1", "--metrics", "si_sdr"]
    command = [sys.executable, "-m", "neuralcodecs.cli", "evaluate", str(tmp_path / "model"), *options]
    subprocess.run(command, check=True, cwd=ROOT / "codecs", stdout=subprocess.DEVNULL)
    assert main(["report", str(out)]) == 0
    html = (out / "report.html").read_text()
    points = [point for contender in read_results(out).contenders for point in contender.points]
    assert [point.setting for point in points] == ["1 level", "2 levels", "4 levels"]
    assert all(f'data-value="{point.written}"' in html for point in points)
    assert html.count("data:audio/flac") == 4 and "entries used" in html
