"""Two processes end where one does that sees both their batches: an encoder and a residual quantizer in training."""

from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from neuralcodecs.quantizers.residual import ResidualVQ

WORLD, DIM, SIZE, LEVELS, STEPS, KILL_AT = 2, 6, 16, 3, 8, 5
MICRO_BATCHES = 2


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.encoder = nn.Conv1d(2, DIM, 1)
        self.quantizer = ResidualVQ(DIM, LEVELS, SIZE)

    def forward(self, signal: Tensor) -> Tensor:
        latents = self.encoder(signal)
        quantized = self.quantizer(latents)
        return (quantized.latents - 1).square().mean() + quantized.losses["commitment"]


def signals(step: int, micro: int, rank: int) -> Tensor:
    return torch.randn(3, 2, 48, generator=torch.Generator().manual_seed(1000 * step + 10 * micro + rank))


def train(model: nn.Module, quantizer: ResidualVQ, ranks: list[int]) -> dict[str, Tensor]:
    """Final state, how many codes were replaced, and the codes of a fixed signal."""
    replaced = torch.zeros(LEVELS)
    for step in range(STEPS):
        if step == KILL_AT:
            quantizer.bank.codebooks[:, ::2] = 1e3
            quantizer.bank.usage[:, ::2] = 0
        for micro in range(MICRO_BATCHES):
            last = micro == MICRO_BATCHES - 1
            context = nullcontext() if last or not isinstance(model, DistributedDataParallel) else model.no_sync()
            with context:
                model(torch.cat([signals(step, micro, rank) for rank in ranks])).backward()
        with torch.no_grad():  # not torch.optim, whose first step imports the compiler: seconds per process
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.sub_(parameter.grad, alpha=0.01)
                parameter.grad = None
        quantizer.update()
        replaced += quantizer.bank.replaced
    return {**quantizer.state_dict(), "weight": next(model.parameters()).detach(), "replaced in all": replaced}


def worker(index: int, folder: str) -> None:
    """Rank ``index + 1``: rank 0 is the process of the test, which has imported torch already."""
    torch.set_num_threads(1)
    run_rank(index + 1, folder)


def run_rank(rank: int, folder: str) -> None:
    address = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=WORLD, timeout=timedelta(seconds=90))
    try:
        model = Model()
        state = train(DistributedDataParallel(model), model.quantizer, [rank])
        torch.save(state, Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("ranks")
    others = spawn(worker, (str(folder),), nprocs=WORLD - 1, join=False)
    run_rank(0, str(folder))
    others.join()
    model = Model()
    alone = train(model, model.quantizer, list(range(WORLD)))
    return [alone, *(torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD))]


def test_two_processes_equal_one_on_the_joined_batch(states: list[dict[str, Tensor]]) -> None:
    alone, first, _ = states
    assert int(alone["bank.initialised_levels"]) == LEVELS
    assert bool((alone["replaced in all"] >= SIZE // 2).all())  # the case covers replacement
    for name, value in alone.items():
        torch.testing.assert_close(first[name], value, rtol=1e-5, atol=1e-5, msg=name)


def test_ranks_end_equal_to_the_bit(states: list[dict[str, Tensor]]) -> None:
    _, first, second = states
    for name, value in first.items():
        assert torch.equal(second[name], value), name
