"""Generative decoders and what they are made of: shapes, gradients, the same signal for the same codes."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import yaml
from generative import DECODERS, SMALL, flow_picture_codec
from image_networks import cnn_codec, picture
from torch import Tensor

from neuralcodecs import Codec, CodecError
from neuralcodecs.decoders import DiT, FlowDecoder, UNet
from neuralcodecs.decoders.condition import Tokens, UpsampledMap
from neuralcodecs.decoders.process import Cosine, Data, Estimate, Noise, Process, Rotation
from neuralcodecs.decoders.solvers import Euler, Sampler, TwoPhase
from neuralcodecs.decoders.space import CodecSpace, FoldedSpace
from neuralcodecs.layers.noise import normal_noise
from neuralcodecs.pretrained import build
from neuralcodecs.sampling import Sampling


@pytest.fixture(params=sorted(DECODERS))
def codec(request: pytest.FixtureRequest) -> Codec:
    return flow_picture_codec(DECODERS[request.param])


def test_odd_sizes_decode_to_their_shape_and_batches_to_what_singles_do(codec: Codec) -> None:
    codes = codec.encode(picture(21, 30, batch=3))
    whole = codec.decode(codes)
    assert whole.shape == (3, 3, 21, 30) and whole.isfinite().all()
    for i in range(3):
        assert torch.equal(codec.decode(codes.item(i)), whole[i : i + 1])
    torch.manual_seed(99)
    assert torch.equal(codec.decode(codes), whole)
    assert not torch.allclose(whole[0], codec.decode(codes, Sampling(seed=12))[0], atol=1e-3)


def test_every_parameter_learns_and_the_config_rebuilds_it(codec: Codec) -> None:
    codec.train()
    codec.decoder.dropout = 0.0
    signal, quantized = codec.analyse(picture(20, 28, batch=2))
    (loss,) = codec.decoder.loss(signal, quantized.latents).values()
    loss.backward()
    assert [n for n, p in codec.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    again = build(yaml.safe_load(yaml.safe_dump(codec.config())), "a test")
    again.load_state_dict(codec.state_dict())
    codes = codec.eval().encode(picture(9, 9))
    assert torch.equal(again.eval().decode(codes), codec.decode(codes))


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("network", ["unet", "dit"])
def test_networks_take_one_two_and_three_axes(axes: int, network: str) -> None:
    made = {"unet": partial(UNet, width=8, multipliers=(1, 2), blocks=1, factors=(1, 2, 2)[-axes:])}
    made["dit"] = partial(DiT, patch=(2,) * axes, width=32, depth=1, heads=2)
    decoder = FlowDecoder(6, 2, (4,) * axes, made[network], partial(UpsampledMap, width=4)).eval()
    grid = {1: (100,), 2: (6, 10), 3: (3, 4, 5)}[axes]
    latents = torch.randn(2, 6, *grid)
    assert decoder(latents).shape == (2, 2, *(4 * n for n in grid))
    (loss,) = decoder.loss(torch.randn(2, 2, *(4 * n - 1 for n in grid)), latents).values()
    assert 1.7 < float(loss.detach()) < 2.3  # a fresh network says 0 of data minus noise, each of variance one


def test_k_tokens_stand_for_a_whole_picture() -> None:
    tokens = partial(Tokens, width=16, count=5)
    decoder = FlowDecoder(8, 3, (16, 24), partial(DiT, patch=(8, 8), width=16, depth=1, heads=2), tokens).eval()
    assert decoder(torch.randn(2, 8, 5)).shape == (2, 3, 16, 24)
    with pytest.raises(CodecError, match=r"latents of grid \(4,\) for 5 tokens"):
        decoder(torch.randn(2, 8, 4))
    with pytest.raises(CodecError, match="give K tokens to Tokens"):
        FlowDecoder(8, 3, (16, 24), partial(UNet, width=8), UpsampledMap)(torch.randn(1, 8, 5))


@pytest.mark.parametrize("block", [(3, 2), (4, 4)])
def test_folding_loses_nothing(block: tuple) -> None:
    space, signal = FoldedSpace(3, (8, 8), block, 1.7), torch.randn(2, 3, 10, 13)
    folded = space.encode(signal)
    assert tuple(folded.shape[1:]) == (space.channels, *space.size((10, 13)))
    torch.testing.assert_close(space.decode(folded)[..., :10, :13], signal)
    torch.testing.assert_close(folded[0, :: block[0] * block[1], 1, 2], 1.7 * signal[0, :, block[0], 2 * block[1]])


def test_latents_of_a_frozen_codec_are_a_space() -> None:
    inner = cnn_codec()
    space = partial(CodecSpace, codec=inner, scale=3.0)
    codec = flow_picture_codec(partial(FlowDecoder, **SMALL, space=space))
    codec.train()
    assert not codec.decoder.space.codec.training
    signal = picture(20, 28, batch=2)
    space = codec.decoder.space
    torch.testing.assert_close(space.decode(space.encode(signal)), inner.decoder(inner.encoder(signal)))
    scaled, quantized = codec.analyse(signal)
    codec.decoder.loss(scaled, quantized.latents)["denoising"].backward()
    assert all(p.grad is None and not p.requires_grad for p in space.parameters())
    again = build(yaml.safe_load(yaml.safe_dump(codec.config())), "a test")
    again.load_state_dict(codec.state_dict())
    codes = codec.eval().encode(signal)
    assert torch.equal(again.eval().decode(codes), codec.decode(codes))
    with pytest.raises(CodecError, match="give a codec of the same medium"):
        CodecSpace(1, (8,), inner)


def test_guidance_goes_from_nothing_through_the_condition_and_beyond() -> None:
    codec = flow_picture_codec()
    codes = codec.encode(picture(16, 16))
    outputs = [codec.decode(codes, Sampling(steps=1, guidance=g)) for g in (0.0, 1.0, 2.0)]
    torch.testing.assert_close(outputs[2] - outputs[1], outputs[1] - outputs[0], rtol=1e-3, atol=1e-4)
    latents = codec.quantizer.decode(codes["codes"])
    alone = codec.decoder.decode(torch.zeros_like(latents), Sampling(steps=1, guidance=0.0))
    torch.testing.assert_close(alone, outputs[0])
    assert not torch.allclose(outputs[0], outputs[1], atol=1e-3)


def test_two_phases_drop_one_part_first_and_everything_later() -> None:
    told: list[tuple] = []

    def evaluate(time: Tensor, dropped: tuple, scale: Tensor) -> Tensor:
        told.append((dropped, float(scale[0])))
        return torch.full((2, 1, 1), {(): 3.0, ("tokens",): 2.0}.get(dropped, 0.0))

    time, scale = torch.tensor([0.3, 0.8]), torch.tensor([2.0, 2.0])
    guided = TwoPhase("tokens", 0.5, 2.0)(evaluate, time, scale)
    assert guided.flatten().tolist() == [2 + 3 * (3 - 2), 0 + 2 * (3 - 0)]
    assert told == [((), 1.0), (("tokens",), 1.0), (("maps", "tokens", "vector"), 1.0)]


def test_guidance_by_a_part_that_is_not_there_is_refused() -> None:
    with pytest.raises(CodecError, match="the guidance drops a part"):
        flow_picture_codec(partial(FlowDecoder, **SMALL | {"sampler": Sampler(guidance=TwoPhase("tokens"))}))


def test_times_are_shifted_as_published() -> None:
    assert Euler(0.5).times(4) == pytest.approx([0, 1 / 7, 1 / 3, 0.6, 1])
    assert Euler().times(4, 0.2) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])


@pytest.mark.parametrize("prediction", [Rotation(), Noise(), Data()], ids=lambda p: type(p).__name__)
def test_predictions_resolve_to_the_data_and_noise_they_are_made_of(prediction: Rotation) -> None:
    process, time = Process(Cosine(), prediction), torch.tensor([0.1, 0.5, 0.9])
    truth = Estimate(torch.randn(3, 2, 5), torch.randn(3, 2, 5))
    x = process.at(truth, time)
    found = process.resolve(process.target(truth, time), x, time)
    torch.testing.assert_close(found.data, truth.data, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.noise, truth.noise, rtol=1e-4, atol=1e-4)
    ahead = (process.at(truth, time + 1e-3) - process.at(truth, time - 1e-3)) / 2e-3
    torch.testing.assert_close(process.velocity(truth, time), ahead, rtol=1e-2, atol=1e-2)


def test_one_step_of_ddim_is_the_networks_estimate_of_the_data() -> None:
    codec = flow_picture_codec(DECODERS["one step"])
    latents = torch.randn(1, 8, 4, 4)
    noise = 0.8 * normal_noise(0, 3, (16, 16))[None]
    decoder = codec.decoder
    condition = decoder.conditioner(latents, decoder.network.sizes((16, 16)))
    output = decoder.network(noise, torch.zeros(1), torch.ones(1), condition)
    torch.testing.assert_close(decoder(latents), output, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", sorted(DECODERS))
def test_a_gpu_draws_the_same_picture_every_time_and_in_any_batch(name: str) -> None:
    codec = flow_picture_codec(DECODERS[name])
    codes = codec.encode(picture(40, 52, batch=3))
    here = codec.decode(codes)
    codec.to("cuda")
    moved = replace(codes, streams=tuple(replace(s, values=s.values.cuda()) for s in codes))
    there = codec.decode(moved)
    assert torch.equal(codec.decode(moved), there)
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-3)
    torch.testing.assert_close(codec.decode(moved.item(1)), there[1:2], rtol=0, atol=1e-3)
