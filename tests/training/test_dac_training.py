"""DAC's codebooks, learned by gradient, stay in use in the first steps of training on real speech."""

from functools import partial

import torch
from conftest import SAMPLES

from neuralcodecs import Codec
from neuralcodecs.audio import Audio, MultiScaleMel
from neuralcodecs.decoders import DACDecoder
from neuralcodecs.encoders import DACEncoder
from neuralcodecs.quantizers.projected import Projected
from neuralcodecs.quantizers.stacked import ResidualStack
from neuralcodecs.quantizers.vq import CosineVQ

RATE, LENGTH, STAGES = 16000, 6144, 9


def test_codebooks_do_not_collapse() -> None:
    """72 frames use 7 codes evenly, on average, after 15 steps; weights drawn with deviation .02 leave 1.6."""
    clips = [Audio(RATE).read(path)[0] for path in sorted((SAMPLES / "speech" / "train").glob("*.flac"))[:6]]
    stage = partial(Projected, quantizer=partial(CosineVQ, codebook_size=1024), code_dim=8)
    codec = Codec(
        Audio(RATE),
        DACEncoder(1, 256, 16),
        partial(ResidualStack, quantizer=stage, depth=STAGES, detach_residuals=False),
        partial(DACDecoder, width=96),
    ).train()
    optimizer, mel = torch.optim.AdamW(codec.parameters(), lr=1e-4, betas=(0.8, 0.99)), MultiScaleMel(RATE)
    for step in range(15):
        start = 2000 + 1000 * step
        batch = torch.stack([clip[:, start : start + LENGTH] for clip in clips if clip.shape[1] >= start + LENGTH])
        batch = 0.16 * batch / batch.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-3)
        decoded, quantized = codec(batch)
        losses = quantized.losses
        loss = 15 * mel(decoded, batch) + STAGES * losses["codebook"] + STAGES / 4 * losses["commitment"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert len(batch) >= 4
    assert quantized.statistics["perplexity"].mean() > 5
