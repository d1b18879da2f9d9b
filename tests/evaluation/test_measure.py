"""What evaluation reports: rates that add up, failures that are counted, figures that follow quality."""

import math
from pathlib import Path

import pytest
import torch
from examples import clip, make_codec
from torch import Tensor

from neuralcodecs import CodecError
from neuralcodecs.audio.metrics import SISDR, MelDistance
from neuralcodecs.codec import Decoder
from neuralcodecs.criteria import Metric, MetricFailure
from neuralcodecs.evaluation.complexity import complexity
from neuralcodecs.evaluation.measure import evaluate, find_files
from neuralcodecs.evaluation.results import append_csv, table, write_json


class Fails(Metric):
    names = ("fails_when_short",)
    higher_is_better = True
    definition = "a test's"

    def __call__(self, decoded: Tensor, reference: Tensor, rate: int) -> dict[str, float]:
        if reference.shape[-1] < 5000:
            raise MetricFailure("too short")
        return {"fails_when_short": 1.0}


def test_rates_and_statistics_add_up(tmp_path: Path) -> None:
    codec = make_codec(segmented=True)
    files = [clip(tmp_path, 30000, "a.wav"), clip(tmp_path, 4000, "b.wav")]
    result = evaluate(codec, files, metrics=[SISDR(), Fails()], progress=False)
    assert [s.levels for s in result.settings] == [1, 2, 4] and len(result.rows) == 6
    for setting in result.settings:
        rows = [r for r in result.rows if r.levels == setting.levels]
        extent = sum(r.extent for r in rows)
        assert setting.written == pytest.approx(sum(r.written_bits for r in rows) / extent / 1000)
        assert setting.nominal == pytest.approx(sum(r.nominal_bits for r in rows) / extent / 1000)
        assert setting.entropy < setting.nominal < setting.written
        assert setting.failures == {"fails_when_short": 1} and setting.figures["fails_when_short"] == 1.0
        assert all(p == pytest.approx(2**h) for p, h in zip(setting.perplexity, setting.entropy_bits, strict=True))
        assert all(0 < u <= 1 and h <= math.log2(60) for u, h in zip(setting.usage, setting.entropy_bits, strict=True))
        assert setting.figures["si_sdr"] == pytest.approx(sum(r.figures["si_sdr"] for r in rows) / 2)
    assert "1 failed" in table(result) and "too short" in table(result)


def test_unreadable_files_are_reported_and_none_at_all_is_an_error(tmp_path: Path) -> None:
    good, bad = clip(tmp_path, 9000), tmp_path / "bad.wav"
    bad.write_text("not a sound")
    result = evaluate(make_codec(), [good, bad], [1], [SISDR()], progress=False)
    assert list(result.unreadable) == [str(bad)] and len(result.rows) == 1
    with pytest.raises(CodecError, match="nothing could be evaluated"):
        evaluate(make_codec(), [bad], [1], [SISDR()], progress=False)
    with pytest.raises(CodecError, match="no file or folder"):
        find_files([tmp_path / "missing"], (".wav",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CodecError, match=r"no \.wav file in"):
        find_files([tmp_path / "empty"], (".wav",))


def test_a_better_codec_has_better_figures(tmp_path: Path) -> None:
    """The same signal path with a decoder that returns the reference: distances fall, SI-SDR rises."""
    path = clip(tmp_path, 16000)
    codec = make_codec()
    poor = evaluate(codec, [path], [4], [SISDR(), MelDistance()], progress=False).settings[0].figures
    reference, _ = codec.medium.read(path)

    class Oracle(Decoder):
        def forward(self, latents: Tensor) -> Tensor:
            return reference[None] + 0.001 * torch.randn_like(reference)

    codec.decoder = Oracle()
    good = evaluate(codec, [path], [4], [SISDR(), MelDistance()], progress=False).settings[0].figures
    assert good["si_sdr"] > poor["si_sdr"] + 10 and good["mel_distance"] < poor["mel_distance"] / 2


def test_arithmetic_is_told_and_what_cannot_be_counted_has_a_reason(tmp_path: Path) -> None:
    codec, path = make_codec(), clip(tmp_path, 9000)
    counted = evaluate(codec, [path], [1], [SISDR()], progress=False)
    assert counted.complexity == complexity(codec, counted.rows[0].shape)
    assert counted.complexity.decoder_parameters == sum(p.numel() for p in codec.decoder.parameters())
    assert f"{counted.complexity.encoder_macs / 1e3:,.0f} kMAC/s" in table(counted)

    class Peeks(Decoder):
        def forward(self, latents: Tensor) -> Tensor:
            return torch.full((1, 1, 9000), float(latents.mean()))

    codec.decoder = Peeks()
    refused = evaluate(codec, [path], [1], [SISDR()], progress=False)
    assert refused.complexity is None and "Peeks cannot be counted" in refused.failures["complexity"]
    assert "failed: complexity: Peeks" in table(refused) and "kMAC" not in table(refused)


def test_every_part_is_left_in_the_mode_that_it_had(tmp_path: Path) -> None:
    codec = make_codec().train()
    codec.quantizer.eval()  # as a frozen part is during training
    evaluate(codec, [clip(tmp_path, 9000)], [1], [SISDR()], progress=False)
    assert codec.training and codec.encoder.training and codec.decoder.training and not codec.quantizer.training
    assert not any(module.training for module in codec.quantizer.modules())


def test_results_are_written_whole_and_appended(tmp_path: Path) -> None:
    result = evaluate(make_codec(), [clip(tmp_path, 9000)], [1, 2], [SISDR()], progress=False)
    write_json(result, tmp_path / "metrics.json", step=7)
    append_csv(result, tmp_path / "metrics.csv", step=7)
    append_csv(result, tmp_path / "metrics.csv", step=8)
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert len(lines) == 5 and lines[0].startswith("step,levels,nominal,entropy,written,si_sdr")
