"""Model cards: what they state of a codec, of where it comes from, and of what was measured."""

import yaml
from examples import make_codec
from hyper_codecs import fresh

from neuralcodecs.card import Origin, card
from neuralcodecs.pretrained import fingerprint

METRICS = {
    "unit": "kbit/s",
    "settings": [
        {"levels": 2, "files": 7, "nominal": 1.0, "entropy": 0.9, "written": 0.95, "figures": {"stoi": 0.8}},
        {"levels": 4, "files": 7, "nominal": 2.0, "entropy": 1.8, "written": 1.85, "figures": {"stoi": 0.91}},
    ],
    "definitions": {"stoi": "intelligibility"},
}


def test_a_card_with_its_origin_and_others_beside() -> None:
    codec = make_codec()
    beside = [{"codec": "Opus 6", "written": 6.27, "stoi": 0.881, "pesq_wb": 1.97}]
    origin = Origin("speech", "speech at 16 kHz", "apache-2.0", {"data": "LibriSpeech", "steps": "8000"}, beside)
    text = card(codec, fingerprint(codec).hex(), METRICS, origin)
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "apache-2.0" and front["library_name"] == "neuralcodecs"
    for line in (
        "# speech at 16 kHz",
        f"* model {fingerprint(codec).hex()}: the fingerprint that its files carry",
        "* data: LibriSpeech",
        "* steps: 8000",
        "neuralcodecs encode INPUT -m speech",
        "Measured on 7 files:",
        "| levels | nominal kbit/s | entropy kbit/s | written kbit/s | stoi |",
        "| 4 | 2.000 | 1.800 | 1.850 | 0.910 |",
        "| Opus 6 | - | - | 6.270 | 0.881 |",
        "* stoi: intelligibility",
    ):
        assert line in text.splitlines(), line


def test_a_card_of_nothing_but_the_codec() -> None:
    text = card(make_codec(), "00", None)
    assert "license" not in text and "Measured" not in text and "* 4 levels: 1.18 kbit/s nominal" in text
    # the codes of a codec that codes them itself have no width worth telling
    assert "nominal" not in card(fresh("none").eval(), "00", None)
