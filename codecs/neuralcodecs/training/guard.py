"""Non-finite steps: skipped, counted, and after too many in a row an error that names the term."""

import torch
import torch.distributed as dist
from jaxtyping import Float32
from torch import Tensor, nn

from neuralcodecs.errors import CodecError
from neuralcodecs.training.terms import Terms


class Guard(nn.Module):
    """Watches the terms and gradients of a step.

    ``step_is_sound`` waits for the device to answer. Where the optimizer itself can leave a step out, ``postponed``
    gives it the answer on the device, and the host learns it a step later, when it has long been known.

    Args:
        patience: consecutive non-finite optimizer steps after which training stops.
    """

    def __init__(self, patience: int = 10) -> None:
        super().__init__()
        self.patience = patience
        self.skipped = 0
        self.in_a_row = 0
        self._broken: dict[str, Tensor] = {}
        self._late: tuple[list[str], Late] | None = None

    def watch(self, terms: Terms) -> None:
        """Note which terms are not finite, on their device; called for every batch of a step."""
        for name, term in terms.items():
            broken = ~term.value.detach().isfinite()
            self._broken[name] = self._broken[name] | broken if name in self._broken else broken

    def step_is_sound(self, gradients: list[Tensor]) -> bool:
        """Whether the optimizer may step; called once per optimizer step, the same answer on every rank."""
        names, flags = self._flags(gradients)
        return self._count(names, flags.tolist())  # the one host read of a step

    def postponed(self, gradients: list[Tensor]) -> Float32[Tensor, ""]:
        """1 on the device if the step must be left out, else 0; counts and judges the step before this one."""
        names, flags = self._flags(gradients)
        if self._late is not None:
            before, late = self._late
            self._count(before, late.read())
        self._late = names, Late(flags)
        return flags.amax()

    def _flags(self, gradients: list[Tensor]) -> tuple[list[str], Float32[Tensor, " n"]]:
        """What was watched since the last step, and 1 for each that is not finite on some rank."""
        norms = list(torch._foreach_norm(gradients)) if gradients else []
        if norms:
            self._broken["gradient"] = ~torch.stack(norms).isfinite().all()
        flags = torch.stack(list(self._broken.values())).float()
        if dist.is_initialized():
            dist.all_reduce(flags, dist.ReduceOp.MAX)
        names, self._broken = list(self._broken), {}
        return names, flags

    def _count(self, names: list[str], flags: list[float]) -> bool:
        broken = [name for name, flag in zip(names, flags, strict=True) if flag]
        if not broken:
            self.in_a_row = 0
            return True
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row >= self.patience:
            raise CodecError(
                f"{self.in_a_row} steps in a row were not finite in {', '.join(broken)}: "
                "lower the learning rate or that term's weight, or look at the data"
            )
        return False

    def get_extra_state(self) -> dict[str, int]:
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]


class Late:
    """Flags on their way to the host, which waits for them only where they are read too soon."""

    def __init__(self, flags: Float32[Tensor, " n"]) -> None:
        cuda = flags.device.type == "cuda"
        self.flags = torch.empty(flags.shape, pin_memory=cuda).copy_(flags, non_blocking=True)
        self.event = torch.cuda.current_stream().record_event() if cuda else None

    def read(self) -> list[float]:
        if self.event is not None:
            self.event.synchronize()
        return self.flags.tolist()
