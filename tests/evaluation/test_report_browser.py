"""The report as a reader meets it: headless Chromium, clicks and keys; its pictures are kept in build/report."""

import io
from collections.abc import Iterator
from math import comb
from pathlib import Path

import pytest
from PIL import Image as Pillow
from report_browser import Browser, browser
from report_folder import picture_results, run_folder, sound_results

from neuralcodecs.cli import main

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = sound_results(tmp_path_factory.mktemp("sounds") / "results")
    assert main(["report", str(folder), "--run", str(run_folder(folder / "run"))]) == 0
    return folder / "report.html"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = picture_results(tmp_path_factory.mktemp("pictures") / "results")
    assert main(["report", str(folder)]) == 0
    return folder / "report.html"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
def test_loads_alone_without_errors_and_fits(
    page: Browser, sounds: Path, pictures: Path, width: int, dark: bool
) -> None:
    for name, report in (("sounds", sounds), ("pictures", pictures)):
        page.open(report, width, dark=dark)
        page.js("new Promise(done => setTimeout(done, 200))")
        assert page.troubles == []
        assert page.js("document.title").startswith("Codecs compared")  # the hostile file name would have changed it
        assert page.js("document.documentElement.scrollWidth") <= width
        page.screenshot(f"{name}_{width}")


def test_table_sorts_up_and_down_by_value(page: Browser, sounds: Path) -> None:
    page.open(sounds)
    column = page.js("[...document.querySelectorAll('.sortable th button')].findIndex(b => b.textContent == 'snr ↑')")
    values = f"[...document.querySelectorAll('.sortable tbody tr')].map(r => +r.cells[{column}].dataset.value)"
    head = f".sortable thead th:nth-child({column + 1})"
    page.click(f"{head} button")
    rising = page.js(values)
    assert len(rising) == 5 and rising == sorted(rising)
    assert page.js(f"document.querySelector('{head}').ariaSort") == "ascending"
    page.click(f"{head} button")
    assert page.js(values) == rising[::-1]
    assert page.js(f"document.querySelector('{head}').ariaSort") == "descending"


def test_points_tell_their_figures_and_codecs_can_be_hidden(page: Browser, sounds: Path) -> None:
    page.open(sounds)
    page.js("document.querySelector('#curves .dot').focus()")
    assert "kbit/s written" in page.js("document.querySelector('#tip').textContent")
    curve = "getComputedStyle([...document.querySelectorAll('#curves g')].find(g => g.dataset.codec == 'pcm')).display"
    assert page.js(curve) != "none"
    page.click('[data-toggle="pcm"]')
    assert page.js(curve) == "none"


def test_plays_and_switches_at_the_same_position(page: Browser, sounds: Path) -> None:
    page.open(sounds)
    assert page.js("document.querySelectorAll('.tracks button').length") == 6
    page.key(" ")
    page.wait("document.querySelector('.level').value > 0.01")  # sound comes out
    page.wait("+document.querySelector('.seek').value > 0.1")
    before = page.js("document.querySelector('.now').textContent")
    page.key("5")
    assert page.js("document.querySelector('.now').textContent") != before
    assert page.js("document.querySelector('.tracks [aria-pressed=true]').dataset.index") == "5"
    assert page.js("document.querySelector('.play').getAttribute('aria-label')") == "Pause"
    page.key(" ")
    stopped = float(page.js("document.querySelector('.seek').value"))
    page.click('.tracks [data-index="0"]')
    assert float(page.js("document.querySelector('.seek').value")) == stopped > 0
    page.set(".seek", 0.5)
    assert page.js("document.querySelector('.time').textContent") == "0.8 of 1.5 s"
    page.set(".player .file", "1")  # the file with the hostile name
    assert page.js("document.querySelector('.seek').value") == "0"
    assert page.troubles == []


def test_blind_test_keeps_score_and_does_not_tell(page: Browser, sounds: Path) -> None:
    page.open(sounds)
    page.click(".blind summary")
    page.set(".blind .b", "4")
    score = "document.querySelector('.score').textContent"
    right = 0
    for trial in range(1, 9):
        page.click('[data-hear="X"]')
        assert page.js("document.querySelectorAll('.tracks [aria-pressed=true]').length") == 0
        assert page.js("document.querySelector('.spectrogram').hasAttribute('src')") is False
        page.click('[data-vote="A"]')
        text = page.js(score)
        right += text.startswith("Right.")
        assert f"{right} of {trial} right" in text
    guessed = sum(comb(8, k) for k in range(right, 9)) / 2**8
    assert f"p = {guessed:.3f}" in page.js(score)
    page.screenshot("blind", "#listen")
    page.click(".blind .reset")
    assert page.js(score) == "No trials yet."
    page.set(".blind .b", "0")
    page.click('[data-vote="A"]')
    assert "same take" in page.js(score) and page.troubles == []


def test_pictures_slide_zoom_and_show_the_difference(page: Browser, pictures: Path) -> None:
    page.open(pictures)
    page.wait("document.querySelector('.under').naturalWidth == 192")
    page.set(".take-list", "1")  # JPEG at quality 10
    page.wait("document.querySelector('.viewer .now').textContent.startsWith('jpeg')")
    page.set(".zoom", "1")  # pixel by pixel, whatever the height of the window
    halves = Pillow.open(io.BytesIO(page.screenshot("slider", ".canvas").read_bytes())).convert("RGB")
    page.set(".split", "100")
    original = Pillow.open(io.BytesIO(page.screenshot("slider_original", ".canvas").read_bytes())).convert("RGB")
    middle = halves.width // 2
    left, right = (box(middle, halves.width, halves.height) for box in (_left, _right))
    assert halves.crop(left).tobytes() == original.crop(left).tobytes()
    assert halves.crop(right).tobytes() != original.crop(right).tobytes()
    page.js("document.querySelector('.stage').focus()")
    page.key("ArrowLeft")
    assert page.js("document.querySelector('.split').value") == "98"
    page.set(".zoom", "4")
    assert page.js("document.querySelector('.canvas').getBoundingClientRect().width") == 4 * 192
    assert page.js("getComputedStyle(document.querySelector('.under')).imageRendering") == "pixelated"
    page.key("d")
    assert page.js("document.querySelector('canvas.difference').hidden") is False
    pixels = "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    shown = page.js(f"new Set(({pixels})(document.querySelector('canvas.difference'))).size")
    assert shown > 20  # JPEG at quality 10 differs by many amounts
    page.screenshot("difference", "#look")
    assert page.troubles == []


def _left(middle: int, width: int, height: int) -> tuple[int, int, int, int]:
    return 0, 0, middle - 3, height


def _right(middle: int, width: int, height: int) -> tuple[int, int, int, int]:
    return middle + 3, 0, width, height


def test_is_readable_without_a_script(page: Browser, sounds: Path) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(sounds)
        picture = page.screenshot("no_script", "#curves")
        assert page.js("[...document.querySelectorAll('audio')].every(a => a.getBoundingClientRect().height > 20)")
        assert page.js("document.querySelectorAll('#curves svg text').length") > 10
        assert len(set(Pillow.open(picture).convert("RGB").getdata())) > 20
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)
