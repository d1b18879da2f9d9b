"""Codes of real speech to train small priors on: two levels of residual k-means of log spectra, 50 a second."""

from functools import cache

import soundfile
import torch
from conftest import SAMPLES
from torch import Tensor
from torch.nn import functional as F

from neuralcodecs.priors.autoregressive import TokenTransformer
from neuralcodecs.quantizers.kmeans import kmeans
from neuralcodecs.quantizers.search import nearest

ALPHABET = (64, 64)
BANDS = 24


def features(split: str) -> list[Tensor]:
    """Of each file ``(frames, bands)``."""
    found = []
    for path in sorted((SAMPLES / "speech" / split).glob("*.flac")):
        signal, rate = soundfile.read(path, dtype="float32")
        hop = rate // 50
        spectrum = torch.stft(
            torch.from_numpy(signal), 2 * hop, hop, window=torch.hann_window(2 * hop), return_complex=True
        )
        bands = F.adaptive_avg_pool1d(spectrum.abs().T, BANDS).add(1e-3).log()
        found.append(bands - bands.mean(0))  # less of the speaker and the microphone
    return found


@cache
def speech_codes() -> tuple[Tensor, list[Tensor]]:
    """Training codes ``(b, 2, 128)`` and those of each test file ``(1, 2, n)``."""
    train, test = features("train"), features("test")
    pool, tests = torch.cat(train), torch.cat(test)
    rows, test_rows = [], []
    for size in ALPHABET:
        counter = torch.zeros((), dtype=torch.int64)
        centroids, _ = kmeans(pool, torch.ones(len(pool)), size, 8, counter)
        rows.append(nearest(pool, centroids))
        test_rows.append(nearest(tests, centroids))
        pool, tests = pool - centroids[rows[-1]], tests - centroids[test_rows[-1]]
    codes = torch.stack(rows)
    pieces = codes[:, : codes.shape[1] // 128 * 128].unflatten(1, (-1, 128)).transpose(0, 1)
    return pieces, list(torch.stack(test_rows).unsqueeze(0).split([len(t) for t in test], -1))


def trained(model: TokenTransformer, steps: int = 120) -> TokenTransformer:
    """The model after a few seconds of training on speech."""
    codes, _ = speech_codes()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, steps)
    for _ in range(steps):
        loss = model.bits(codes[torch.randint(len(codes), (8,))])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model
