"""Folders of results as ``neuralcodecs evaluate`` writes them, made of the samples: what report tests share."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from examples import clip, make_codec
from pictures import picture, picture_codec
from PIL import Image as Pillow

from neuralcodecs import Codec
from neuralcodecs.medium import SignalInfo

HOSTILE = '<img src=x onerror="document.title=1">'
"""A file name that would run a script where it is not escaped."""

Coder = Callable[[Path, str, Path], int]
"""Codes a file at a setting, writes what was decoded, and says how many bits it took."""


def sound_results(folder: Path, seconds: float = 1.5) -> Path:
    """Two files, the second with a hostile name; a small random codec at three rates, and 8- and 4-bit PCM."""
    (folder / "data").mkdir(parents=True)
    files = {
        name: clip(folder / "data", round(16000 * seconds), f"{i}.wav")
        for i, name in enumerate(["a.wav", f"{HOSTILE}.wav"])
    }
    coders = {"model <b>": (_model(make_codec()), ("1 level", "2 levels", "4 levels")), "pcm": (_pcm, ("q 4", "q 8"))}
    return _write(folder, files, coders, "kbit/s", lambda shape: shape[-1] / 16000)


def picture_results(folder: Path) -> Path:
    """One picture; a small random codec, and JPEG at three qualities."""
    (folder / "data").mkdir(parents=True)
    picture(192, 128).save(folder / "data" / "a.png")
    coders = {"model": (_model(picture_codec()), ("2 levels",)), "jpeg": (_jpeg, ("q 10", "q 50", "q 90"))}
    return _write(folder, {"a.png": folder / "data" / "a.png"}, coders, "bpp", lambda shape: float(np.prod(shape)))


def run_folder(folder: Path) -> Path:
    """A run's metrics.csv of two checkpoints at two numbers of levels."""
    (folder / "checkpoints").mkdir(parents=True)
    rows = [
        "checkpoint,step,levels,si_sdr,stoi",
        "a,500,2,1.5,0.6",
        "a,500,4,2.5,",
        "b,1000,2,1.75,0.65",
        "b,1000,4,3,nan",
    ]
    (folder / "checkpoints" / "metrics.csv").write_text("\n".join(rows) + "\n")
    return folder


def _write(
    folder: Path,
    files: dict[str, Path],
    coders: dict[str, tuple[Coder, Sequence[str]]],
    unit: str,
    extent: Callable[[tuple[int, ...]], float],
) -> Path:
    lines, codecs = [], {}
    for codec, (coder, settings) in coders.items():
        summary = []
        for order, setting in enumerate(settings):
            mine = [
                _line(folder, name, path, codec, coder, setting, order, unit, extent) for name, path in files.items()
            ]
            rate = (
                sum(x["written_bits"] for x in mine)
                / sum(x["extent"] for x in mine)
                / (1000 if unit == "kbit/s" else 1)
            )
            figures = {"snr": float(np.mean([x["figures"]["snr"] for x in mine]))}
            facts = {
                "setting": setting,
                "order": order,
                "levels": None,
                "files": len(mine),
                "failed": 0,
                "figures": figures,
            }
            facts |= {
                "rate_written": rate,
                "rate_nominal": None,
                "rate_entropy": None,
                "encode_speed": 12.0,
                "decode_speed": 34.0,
            }
            summary.append(
                facts | ({"usage": [0.5, 1.0], "perplexity": [20.0, 55.5]} if codec.startswith("model") else {})
            )
            lines += mine
        kind = "model" if codec.startswith("model") else "classical"
        codecs[codec] = {"kind": kind, "parameters": 1234567, "macs": None, "fingerprint": "ab12", "settings": summary}
    lines[0]["failures"] = {"pesq_wb": f"too short {HOSTILE}"}
    lines.append(
        {**lines[0], "file": "b.wav", "error": "the encoder died", "output": None, "failures": {}, "figures": {}}
    )
    (folder / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"torn')
    (folder / "summary.json").write_text(json.dumps({"codecs": codecs, "unit": unit}))
    protocol = {"metrics": {"snr": "of the test"}, "higher_is_better": {"snr": True}, "data": {"sha256": "c0ffee"}}
    (folder / "protocol.json").write_text(json.dumps(protocol))
    return folder


def _line(
    folder: Path, name: str, path: Path, codec: str, coder: Coder, setting: str, order: int, unit: str, extent: Any
) -> dict[str, Any]:
    output = Path("decoded", codec, setting, name)
    for target in (folder / "original" / name, folder / output):
        target.parent.mkdir(parents=True, exist_ok=True)
    (folder / "original" / name).write_bytes(path.read_bytes())
    bits = coder(path, setting, folder / output)
    original, decoded = (_samples(p) for p in (path, folder / output))
    noise = max(float(np.mean((original - decoded) ** 2)), 1e-12)
    shape = original.shape[:2] if unit == "bpp" else (len(original),)
    return {
        "codec": codec, "setting": setting, "order": order, "file": name, "group": "", "unit": unit, "levels": None,
        "extent": extent(shape), "shape": list(shape), "written_bits": bits, "error": None, "failures": {},
        "figures": {"snr": 10 * float(np.log10(np.mean(original**2) / noise))}, "output": str(output),
    }  # fmt: skip


def _samples(path: Path) -> np.ndarray:
    import soundfile

    return soundfile.read(path)[0] if path.suffix == ".wav" else np.asarray(Pillow.open(path).convert("RGB")) / 255


def _model(codec: Codec) -> Coder:
    def code(path: Path, setting: str, target: Path) -> int:
        signal, info = codec.medium.read(path)
        codes = codec.encode(signal[None], int(setting.split()[0]))
        codec.medium.write(
            target, codec.decode(codes)[0].clamp(-1, 1), SignalInfo(info.rate, info.channels, info.shape)
        )
        return round(float(codec.bits(codes)[0])) + 8 * 40

    return code


def _pcm(path: Path, setting: str, target: Path) -> int:
    import soundfile

    data, rate = soundfile.read(path)
    steps = 2 ** (int(setting.split()[1]) - 1)
    soundfile.write(target, np.round(0.4 * data * steps) / steps, rate)  # quieter, for the loudness to be matched
    return len(data) * int(setting.split()[1])


def _jpeg(path: Path, setting: str, target: Path) -> int:
    file = io.BytesIO()
    Pillow.open(path).save(file, "JPEG", quality=int(setting.split()[1]))
    Pillow.open(file).save(target)
    return 8 * file.tell() if file.seek(0, 2) else 0
