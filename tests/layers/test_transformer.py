"""The causal transformer: what a position sees, how far, and that a cached step gives what the whole gives."""

import pytest
import torch
from torch import Tensor

from neuralcodecs import CodecError
from neuralcodecs.layers.transformer import Attention, Transformer, rotate

DIM, CONTEXT = 16, 5


def attention(context: int = CONTEXT) -> Attention:
    return Attention(DIM, 2, context)


@torch.no_grad()
def test_a_position_sees_itself_and_the_context_before_it_and_nothing_else() -> None:
    layer, positions = attention(), torch.arange(23)
    x = torch.randn(1, 23, DIM)
    before = layer(x, positions)
    for moved in range(23):
        changed = x.clone()
        changed[:, moved] += 1
        differs = (layer(changed, positions) != before).any(dim=-1)[0]
        assert differs.nonzero().flatten().tolist() == list(range(moved, min(23, moved + CONTEXT)))


@pytest.mark.parametrize("length", [1, CONTEXT - 1, CONTEXT, CONTEXT + 1, 4 * CONTEXT + 2])
@torch.no_grad()
def test_blocks_give_what_one_masked_product_gives(length: int) -> None:
    layer, positions = attention(), torch.arange(length)
    x = torch.randn(2, length, DIM)
    query, key, value = layer.project(x, positions)
    scores = query @ key.transpose(-1, -2) / (DIM / 2) ** 0.5
    age = positions[:, None] - positions
    scores = scores.masked_fill((age < 0) | (age >= CONTEXT), -torch.inf)
    mixed = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer(x, positions), layer.output(mixed))


@torch.no_grad()
def test_steps_with_cached_keys_give_what_the_whole_gives() -> None:
    layer, positions = attention(), torch.arange(17)
    x = torch.randn(2, 17, DIM)
    whole = layer(x, positions)
    keys: list[Tensor] = []
    values: list[Tensor] = []
    for step in range(17):
        now = positions[step : step + 1]
        query, key, value = layer.project(x[:, step : step + 1], now)
        keys, values = [*keys, key][-CONTEXT:], [*values, value][-CONTEXT:]
        seen = positions[step + 1 - len(keys) : step + 1]
        output = layer.attend(query, torch.cat(keys, 2), torch.cat(values, 2), now, seen)
        torch.testing.assert_close(output, whole[:, step : step + 1])


@torch.no_grad()
def test_only_distances_between_positions_count() -> None:
    layer, x = attention(), torch.randn(1, 12, DIM)
    here, later = layer(x, torch.arange(12)), layer(x, torch.arange(12) + 400)
    torch.testing.assert_close(here, later, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(here, layer(x, 2 * torch.arange(12)), atol=1e-3)  # and they do count


def test_rotation_keeps_lengths_and_turns_the_first_pair_by_one_radian_per_position() -> None:
    x = torch.randn(1, 1, 4, 6)
    turned = rotate(x, torch.tensor([0, 1, 2, 50]))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[:, :, 0], x[:, :, 0])
    pairs = [torch.complex(v[0, 0, :, 0], v[0, 0, :, 3]) for v in (x, turned)]
    torch.testing.assert_close(pairs[1], pairs[0] * torch.exp(1j * torch.tensor([0.0, 1, 2, 50])))


@torch.no_grad()
def test_the_network_starts_near_the_identity_and_is_causal() -> None:
    latents = torch.randn(1, DIM, 40)
    network = Transformer(DIM, depth=3, heads=2, hidden=32, context=CONTEXT)
    difference = (network(latents) - latents).abs().max()
    assert 0 < difference < 0.3  # LayerScale 0.01
    assert torch.equal(
        network(latents)[..., :20], network(torch.cat([latents[..., :20], latents[..., :20]], -1))[..., :20]
    )
    assert torch.equal(Transformer(DIM, 2, 2, 32, scale=0.0)(latents), latents)


def test_every_parameter_learns() -> None:
    network = Transformer(DIM, depth=2, heads=2, hidden=32, context=CONTEXT)
    network(torch.randn(2, DIM, 12)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@torch.no_grad()
def test_forty_minutes_of_frames_fit_into_memory() -> None:
    """60,000 positions: all pairs of them would take 14 GB per head."""
    latents = torch.randn(1, 8, 60_000)
    assert Transformer(8, depth=1, heads=2, hidden=8)(latents).shape == latents.shape


def test_errors_name_the_value() -> None:
    with pytest.raises(CodecError, match="3 heads do not divide 16"):
        Attention(16, 3, 5)
    with pytest.raises(CodecError, match="8 heads do not divide 8"):  # one channel each cannot be turned
        Attention(8, 8, 5)
    with pytest.raises(CodecError, match="context 0"):
        Attention(16, 2, 0)
