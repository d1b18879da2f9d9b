"""A decoder of autoregressive payloads that shares no code with the package: NumPy int64 and Python integers only.

python pem24_reference.py MODEL PAYLOAD OUT.npy '{"alphabet": [9], "heads": 4, "window": 50, "lanes": 3, ...}'
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


class Stack:
    def __init__(self, model: dict, name: str, heads: int, window: int) -> None:
        count = len({key.split(".")[2] for key in model if key.startswith(f"{name}.blocks.")})
        self.prefixes = [f"{name}.blocks.{i}." for i in range(count)]
        self.model, self.heads, self.window = model, heads, window
        self.seen = [[] for _ in range(count)]

    def step(self, x: np.ndarray) -> np.ndarray:
        for prefix, seen in zip(self.prefixes, self.seen, strict=True):
            qkv = linear(self.model, prefix + "qkv.", norm(self.model, x)).clip(-255, 255)
            query, key, value = qkv.reshape(3, self.heads, -1)
            seen.append((key, value))
            keys, values = (np.stack([pair[i] for pair in seen[-self.window :]], 1) for i in (0, 1))
            bias = self.model[prefix + "distances"][:, : keys.shape[1]][:, ::-1]
            scores = ((query[:, None] * keys).sum(-1) + 16 >> 5) + bias
            power = self.model["lookups.exponentials"][np.minimum(scores.max(1, keepdims=True) - scores, 768)]
            weight = power * (2**46 // power.sum(1, keepdims=True)) >> 31
            mixed = ((weight[..., None] * values).sum(1) + 2**14 >> 15).reshape(-1)
            x = (x + linear(self.model, prefix + "out.", mixed)).clip(-(2**17), 2**17)
            hidden = linear(self.model, prefix + "rise.", norm(self.model, x)).clip(0, 255)
            x = (x + linear(self.model, prefix + "fall.", hidden)).clip(-(2**17), 2**17)
        return x


def linear(model: dict, name: str, x: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
    shift = model[name + "scale"][rows]
    return (model[name + "weight"][rows] * x).sum(1) + model[name + "bias"][rows] + 2 ** (shift - 1) >> shift


def norm(model: dict, x: np.ndarray) -> np.ndarray:
    root = model["lookups.roots"][np.searchsorted(model["lookups.thresholds"], (x * x).sum(), side="right")]
    return (x * root + 2**23 >> 24).clip(-255, 255)


def table(model: dict, x: np.ndarray, level: int, alphabet: list[int]) -> np.ndarray:
    first, size = level * max(alphabet), alphabet[level]
    logits = linear(model, "head.linear.", norm(model, x), slice(first, first + size))
    power = model["lookups.exponentials"][np.minimum(logits.max() - logits, 768)]
    return np.arange(size + 1) + np.append(0, power.cumsum()) * (2**24 - size) // power.sum()


def tables(model: dict, alphabet: list[int], heads: int, window: int, levels: int):
    """Of one lane: yields the table of each code and is sent the code."""
    starts, told_starts = np.cumsum([0] + [n + 1 for n in alphabet]), np.cumsum([0, 2] + [n + 1 for n in alphabet])
    time, codes = Stack(model, "time", heads, window), alphabet[:levels]
    while True:
        x = model["embeddings.vectors"][starts[:levels] + codes].sum(0).clip(-(2**17), 2**17)
        frame, depth, codes = time.step(x), Stack(model, "depth", heads, len(alphabet)), []
        x = frame
        for level in range(levels):
            if "told.vectors" in model:
                told = model["told.vectors"][told_starts[level] + (codes[-1] if codes else 0)]
                x = depth.step((frame + told).clip(-(2**17), 2**17))
            codes.append((yield table(model, x, level, alphabet)))


def decode(model: dict, words: list[int], lanes: int, positions: int, levels: int, **sizes) -> np.ndarray:
    lengths = [positions // lanes + (lane < positions % lanes) for lane in range(lanes)]
    runs = [tables(model, levels=levels, **sizes) for _ in lengths]
    following, found = [next(run) for run in runs], [[] for _ in lengths]
    groups = [[level] for level in range(levels)] if "told.vectors" in model else [range(levels)]
    stream, low, span = iter([*words, 0, 0]), 0, 2**64 - 1
    point = next(stream) << 32 | next(stream)
    for position, group in itertools.product(range(lengths[0]), groups):
        for lane in range(sum(length > position for length in lengths)):
            for _ in group:
                unit = span >> 24
                symbol = int(np.searchsorted(following[lane], (point - low) % 2**64 // unit, side="right")) - 1
                left, right = map(int, following[lane][symbol : symbol + 2])
                low, span = (low + unit * left) % 2**64, unit * (right - left)
                if span < 2**32:
                    low, span, point = low << 32 & 2**64 - 1, span << 32, (point << 32 | next(stream, 0)) & 2**64 - 1
                found[lane].append(symbol)
                following[lane] = runs[lane].send(symbol)
    return np.concatenate([np.array(lane, np.int64).reshape(-1, levels) for lane in found]).T


if __name__ == "__main__":
    words = np.frombuffer(Path(sys.argv[2]).read_bytes(), "<u4").tolist()
    model = {key: -np.log2(x) if key.endswith("scale") else x for key, x in load_file(sys.argv[1]).items()}
    model = {key: x.astype(np.int64) for key, x in model.items()}
    np.save(sys.argv[3], decode(model, words, **json.loads(sys.argv[4])))
    assert "torch" not in sys.modules
