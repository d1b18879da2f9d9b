"""A set on the training device gives the batches of the loader: the same crops, mixes and gains."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from audio_batches import make_data, take
from tiny import tiny_data, tiny_task, tiny_trainer

from neuralcodecs.audio.augment import Augmentation, GainAndMix, Partners
from neuralcodecs.audio.dataset import AudioCrops
from neuralcodecs.audio.resident import ResidentCrops
from neuralcodecs.errors import CodecError
from neuralcodecs.training import Batch, ImageDataModule, Loading
from neuralcodecs.training.stream import BatchStream, Shard

CACHED = Loading(workers=0, cache=True)
RESIDENT = Loading(workers=0, cache=True, resident=True)
MIXES = {
    "none": None,
    "recipe": GainAndMix(),
    "all mixed": GainAndMix(0.5, 0.5),
    "mostly clipping": GainAndMix(0.5, 0.5, (10.0, 30.0)),
    "always clipping": GainAndMix(gain_db=(50.0, 60.0)),
}


@pytest.fixture(scope="module", params=[1, 2])
def crops(request: pytest.FixtureRequest) -> AudioCrops:
    data = make_data(CACHED, sample_rate=16000, channels=request.param)
    data.setup("fit")
    return cast(AudioCrops, data._training)


def pairs(crops: AudioCrops, batches: int) -> Iterator[tuple[Batch, Batch]]:
    """Batches made on the device, and by the loader."""
    shard, held = Shard(6, 0, 1), ResidentCrops(crops, torch.device("cpu"))
    ours, theirs = BatchStream(held, 3, shard, 0, held.join), BatchStream(crops, 3, shard, 0)
    for index in range(batches):
        one, other = ours.batch(index).batch, theirs.batch(index).batch
        assert one is not None and other is not None and one[1:] == other[1:]
        yield one, other


@pytest.mark.parametrize("name", [*MIXES])
def test_batches_are_those_of_the_loader(name: str, crops: AudioCrops) -> None:
    crops.augmentation = MIXES[name]
    for one, other in pairs(crops, 5):
        torch.testing.assert_close(one.signal, other.signal, rtol=1e-4, atol=1e-6)


def test_files_shorter_than_a_crop_are_padded(crops: AudioCrops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "augmentation", None)
    monkeypatch.setattr(crops, "length", 30 * 16000)
    for one, other in pairs(crops, 1):
        assert torch.equal(one.signal, other.signal)
        assert bool((one.signal[..., -1] == 0).any())


def test_a_run_trains_and_goes_on_with_the_batch_that_is_next(tmp_path: Path) -> None:
    data = tiny_data()
    data.loading = RESIDENT
    tiny_trainer(tmp_path, max_steps=3).fit(tiny_task(), data)
    assert data.next_batch == 3
    rest = take(data, 1)[0]
    other = tiny_data()
    other.loading = CACHED
    assert rest.index == 3
    torch.testing.assert_close(rest.signal, take(other, 4)[3].signal, rtol=1e-4, atol=1e-6)


def test_what_cannot_be_resident_says_so(crops: AudioCrops) -> None:
    with pytest.raises(CodecError, match=r"set loading\.cache to true"):
        take(make_data(Loading(workers=0, resident=True), sample_rate=16000), 1)

    class Louder(Augmentation):
        def partners(self, kind: str, source: np.random.Generator) -> Partners:
            return Partners(0)

        def __call__(self, parts: list[torch.Tensor], source: np.random.Generator) -> torch.Tensor:
            return 2 * parts[0]

    with pytest.raises(CodecError, match="Louder augments crops one by one"):
        take(make_data(RESIDENT, sample_rate=16000, augmentation=Louder()), 1)
    pictures = ImageDataModule(["samples/image/train"], ["samples/image/test"], 32, 2, loading=RESIDENT)
    with pytest.raises(CodecError, match="ImageDataModule holds no set on the device"):
        pictures.resident(crops)
