"""The worked examples of docs/format.md are what the writer writes."""

import io
import re
from dataclasses import replace

import numpy as np
from bitstream_examples import FINGERPRINT, Example
from conftest import ROOT

from neuralcodecs.bitstream import UNKNOWN, Chunk, Header, Original, StreamSpec, write
from neuralcodecs.coding import Payloads
from neuralcodecs.prior_coders import AdaptivePriorCoder


def documented() -> dict[str, bytes]:
    """The bytes of every hex block, by the name on its first line."""
    blocks = re.findall(r"```hex (\S+)\n(.*?)```", (ROOT / "docs" / "format.md").read_text(), re.DOTALL)
    digits = re.compile(r"^((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  |$)", re.MULTILINE)
    return {name: bytes.fromhex(" ".join(digits.findall(block))) for name, block in blocks}


def test_documented_examples_are_what_is_written() -> None:
    picture = Example(
        Header(FINGERPRINT, 0, 3, (64, 48), (StreamSpec("codes", (1000,), (4, 3)),)),
        (np.arange(1, 13).reshape(1, 4, 3) * 83,),
    )
    streams = (StreamSpec("codes", (1024, 1024, 512), (UNKNOWN,)), StreamSpec("scale", (2**32,), (UNKNOWN,)))
    recording = Example(
        Header(
            FINGERPRINT,
            24000,
            1,
            (1500,),
            (replace(streams[0], grid=(5,)), replace(streams[1], grid=(2,))),
            Original(48000, 2, (3000,)),
            {"title": "tone"},
        ),
        (
            np.array([[1, 2, 3, 4, 5], [1023, 1022, 1021, 1020, 1019], [511, 0, 256, 1, 8]]),
            np.array([[0x3F800000, 0x3F000000]]),
        ),
        3,
        (1,),
    )
    assert documented() == {"picture": picture.data(), "recording": recording.open_data(), "coded": coded()}


def coded() -> bytes:
    coder = Payloads(AdaptivePriorCoder((5, 5)))
    stream = StreamSpec("codes", (5, 5), (10,), coder.number, coder.prior)
    header, file = Header(FINGERPRINT, 8000, 1, (1000,), (stream,)), io.BytesIO()
    values = np.array([[0, 1, 2, 2, 2, 2, 2, 2, 3, 4], [4, 4, 4, 4, 4, 4, 4, 4, 4, 0]])
    write(file, header, [Chunk((0,), (values,))], coders={"codes": coder})
    return file.getvalue()
