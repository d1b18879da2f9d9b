"""WeTok's second stage: equal outputs after widening, reproducible noise, first-stage weights, frozen parts."""

from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from image_networks import CNN, cnn_codec, picture
from torch import Tensor, nn

from neuralcodecs import CodecError
from neuralcodecs.criteria import Loss
from neuralcodecs.decoders import AdaptiveGroupNorm, CNNDecoder, NoiseDecoder
from neuralcodecs.decoders.noise import fixed_noise
from neuralcodecs.pretrained import build, load
from neuralcodecs.training import CodecTask, Optimization, Reconstruct, Stage, Weighted

FIRST = partial(CNNDecoder, level_norm=AdaptiveGroupNorm, **CNN)
SECOND = partial(NoiseDecoder, decoder=FIRST)


class AbsoluteError(Loss):
    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).abs().mean()


def second_stage(folder: Path) -> tuple:
    first = cnn_codec()
    for parameter in first.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    first.save_pretrained(folder)
    second = cnn_codec(SECOND)
    Stage(load_from=str(folder), freeze=("encoder", "quantizer")).prepare(second)
    return first, second


def test_outputs_are_identical_right_after_widening(tmp_path: Path) -> None:
    first, second = second_stage(tmp_path)
    signal = picture(21, 30, batch=2)
    codes = first.encode(signal)
    assert torch.equal(second.encode(signal)["codes"], codes["codes"])
    assert torch.equal(second.decode(codes), first.decode(codes))
    assert torch.equal(second.train()(signal)[0], first.train()(signal)[0])


def test_widening_is_a_first_convolution_of_twice_the_inputs() -> None:
    decoder = cnn_codec(SECOND).decoder
    nn.init.normal_(decoder.widening.weight, std=0.1)
    latents = torch.randn(2, 8, 5, 4)
    inner = decoder.decoder
    weight = torch.cat([inner.first.weight, decoder.widening.weight], dim=1)
    both = torch.cat([latents, fixed_noise(latents, 0)], dim=1)
    features = nn.functional.conv2d(both, weight, inner.first.bias, padding=1)
    torch.testing.assert_close(decoder(latents), inner.finish(features, latents), rtol=1e-4, atol=1e-4)


def test_noise_is_reproducible_and_heard() -> None:
    codec = cnn_codec(SECOND)
    nn.init.normal_(codec.decoder.widening.weight, std=0.1)
    codes = codec.encode(picture(21, 30, batch=3))
    decoded = codec.decode(codes)
    torch.manual_seed(99)
    assert torch.equal(codec.decode(codes), decoded)
    for i in range(3):
        torch.testing.assert_close(codec.decode(codes.item(i)), decoded[i : i + 1], rtol=1e-4, atol=1e-5)
    codec.decoder.seed = 1
    assert not torch.allclose(codec.decode(codes), decoded, atol=1e-2)
    codec.train()
    latents = torch.randn(1, 8, 3, 3)
    assert not torch.equal(codec.decoder(latents), codec.decoder(latents))


def test_fixed_noise_is_standard_normal_and_equal_for_all_items() -> None:
    noise = fixed_noise(torch.empty(1, 4, 100, 100), 3)
    assert abs(noise.mean()) < 0.02 and abs(noise.std() - 1) < 0.02
    assert abs(noise.abs().lt(1).float().mean() - 0.6827) < 0.01
    batch = fixed_noise(torch.empty(3, 4, 100, 100), 3)
    assert torch.equal(batch, noise.expand(3, -1, -1, -1))


def test_frozen_parts_do_not_move_over_a_step(tmp_path: Path) -> None:
    cnn_codec().save_pretrained(tmp_path)
    stage = Stage(load_from=str(tmp_path), freeze=("encoder", "quantizer"))
    second, optimization = cnn_codec(SECOND), Optimization(partial(torch.optim.Adam, lr=1e-3))
    task = CodecTask(second, Reconstruct(Weighted(AbsoluteError())), optimization, stage=stage).train()
    before = {k: v.clone() for k, v in second.state_dict().items()}
    optimizer = task.configure_optimizers()
    assert {id(p) for g in optimizer.param_groups for p in g["params"]} == {id(p) for p in second.decoder.parameters()}
    for _ in range(2):
        terms, output, _ = task.objective(second, picture(16, 16, batch=2), 2)
        task.combination(terms, output).backward()
        optimizer.step()
        second.quantizer.discard()
    moved = {k for k, v in second.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {k for k in before if k.startswith("decoder.")}


def test_it_is_saved_and_loaded_with_its_widening(tmp_path: Path) -> None:
    codec = cnn_codec(SECOND)
    nn.init.normal_(codec.decoder.widening.weight)
    config = yaml.safe_load(yaml.safe_dump(codec.config()))
    again = build(config, "a test")
    again.load_state_dict(codec.state_dict())
    assert torch.equal(again.decoder.widening.weight, codec.decoder.widening.weight)
    codec.save_pretrained(tmp_path)
    codes = codec.encode(picture(9, 9))
    assert torch.equal(load(tmp_path).decode(codes), codec.decode(codes))


def test_weights_of_another_decoder_are_refused(tmp_path: Path) -> None:
    cnn_codec(partial(CNNDecoder, **CNN)).save_pretrained(tmp_path)
    with pytest.raises(CodecError, match=r"the decoder in .* does not fit this config"):
        Stage(load_from=str(tmp_path)).prepare(cnn_codec(SECOND))
