"""Selective scan and divisive normalization against their definitions."""

import torch

from neuralcodecs.layers.gdn import GDN1
from neuralcodecs.layers.scan import ScanBlock, SelectiveScan, scan


def test_the_scan_is_its_recurrence() -> None:
    decay, drive = torch.rand(2, 150, 3, 4), torch.randn(2, 150, 3, 4)
    state, expected = torch.zeros(2, 3, 4), []
    for a, b in zip(decay.unbind(1), drive.unbind(1), strict=True):
        state = a * state + b
        expected.append(state)
    torch.testing.assert_close(scan(decay, drive), torch.stack(expected, 1), atol=1e-5, rtol=1e-5)


def test_one_direction_ignores_what_follows_and_a_block_sees_everything() -> None:
    layer, x = SelectiveScan(8, 4), torch.randn(1, 80, 8)
    other = x.clone()
    other[:, 70:] += 1
    assert torch.equal(layer(x)[:, :64], layer(other)[:, :64]) and not torch.equal(
        layer(x)[:, 70:], layer(other)[:, 70:]
    )
    picture = torch.randn(1, 8, 6, 7, requires_grad=True)
    ScanBlock(8, 4)(picture)[0, :, 3, 3].sum().backward()
    assert picture.grad is not None and bool((picture.grad.abs().sum(1) > 0).all())


def test_gdn_divides_and_its_inverse_multiplies() -> None:
    x = torch.randn(2, 5, 4, 3)
    norm = GDN1(5)
    torch.nn.init.uniform_(norm.gamma)
    by = norm.beta.square()[:, None, None] + 1e-6 + torch.einsum("ij,bjhw->bihw", norm.gamma.square(), x.abs())
    torch.testing.assert_close(norm(x), x / by)
    inverse = GDN1(5, inverse=True)
    inverse.load_state_dict(norm.state_dict())
    torch.testing.assert_close(inverse(x), x * by)
