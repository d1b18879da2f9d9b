"""Portable noise: published vectors of Philox, an accurate normal, and values that depend on their place alone."""

import hashlib

import pytest
import torch

from neuralcodecs.layers.noise import inverse_normal, normal_noise, philox

# Random123's kat_vectors for philox4x32-10: counter, key (both low word first), output
PUBLISHED = [
    ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, 0xFFFFFFFF_FFFFFFFF, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        0x299F31D0_A4093822,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "output"), PUBLISHED)
def test_philox_gives_the_published_words(counter: tuple, key: int, output: tuple) -> None:
    several = torch.tensor([(0, 1, 2, 3), counter]).T
    assert philox(several, key)[:, 1].tolist() == list(output)


def test_normals_are_those_of_scipy_grade_inverse() -> None:
    words = torch.randint(2**32, (200_000,), generator=torch.Generator().manual_seed(0))
    words[:4] = torch.tensor([0, 1, 2**31, 2**32 - 1])
    exact = torch.special.ndtri((words.double() + 0.5) / 2**32)
    torch.testing.assert_close(inverse_normal(words), exact, atol=1e-6, rtol=0)


def test_noise_is_standard_normal_and_uncorrelated() -> None:
    noise = normal_noise(5, 3, (200, 300))
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01
    assert abs(noise.abs().lt(1).float().mean() - 0.6827) < 0.005
    for shifted in (noise.roll(1, 0), noise.roll(1, 1), noise.roll(1, 2), normal_noise(6, 3, (200, 300))):
        assert abs((noise * shifted).mean()) < 0.01


def test_a_value_depends_on_its_place_alone() -> None:
    for size, part in (((101,), (7,)), ((9, 14), (4, 13)), ((3, 5, 6), (2, 2, 3))):
        whole = normal_noise(2**63 - 1, 4, size)
        assert torch.equal(whole[(slice(2), *map(slice, part))], normal_noise(2**63 - 1, 2, part))
        for first in (1, 2, 6):
            rest = normal_noise(2**63 - 1, 4, (size[0] - first, *size[1:]), first) if first < size[0] else whole[:, :0]
            assert torch.equal(rest, whole[:, first:])
    assert not torch.equal(normal_noise(1, 1, (8,)), normal_noise(2**32 + 1, 1, (8,)))  # both halves of a seed count


def test_the_noise_of_files_never_changes() -> None:
    """Any change of it changes what every file decodes to."""
    data = normal_noise(7, 2, (3, 50)).numpy().astype("<f4").tobytes()
    assert hashlib.sha256(data).hexdigest()[:16] == "10b55eb237deec4a"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_makes_the_same_bits() -> None:
    for size in ((100_003,), (301, 402), (5, 120, 160)):
        here, there = (normal_noise(2**40 + 3, 5, size, 2, device) for device in ("cpu", "cuda"))
        assert torch.equal(there.cpu(), here)
