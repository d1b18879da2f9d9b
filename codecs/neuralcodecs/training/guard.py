"""Non-finite steps: skipped, counted, and after too many in a row an error that names the term."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from neuralcodecs.errors import CodecError
from neuralcodecs.training.terms import Terms


class Guard(nn.Module):
    """Watches the terms and gradients of a step.

    Args:
        patience: consecutive non-finite optimizer steps after which training stops.
    """

    def __init__(self, patience: int = 10) -> None:
        super().__init__()
        self.patience = patience
        self.skipped = 0
        self.in_a_row = 0
        self._broken: dict[str, Tensor] = {}

    def watch(self, terms: Terms) -> None:
        """Note which terms are not finite, on their device; called for every batch of a step."""
        for name, term in terms.items():
            broken = ~term.value.detach().isfinite()
            self._broken[name] = self._broken[name] | broken if name in self._broken else broken

    def step_is_sound(self, gradients: list[Tensor]) -> bool:
        """Whether the optimizer may step; called once per optimizer step, the same answer on every rank."""
        norms = list(torch._foreach_norm(gradients)) if gradients else []
        if norms:
            self._broken["gradient"] = ~torch.stack(norms).isfinite().all()
        flags = torch.stack(list(self._broken.values())).float()
        if dist.is_initialized():
            dist.all_reduce(flags, dist.ReduceOp.MAX)
        values = flags.tolist()  # the one host read of a step
        broken = [name for name, flag in zip(self._broken, values, strict=True) if flag]
        self._broken = {}
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
