"""Networks that a codec is trained or judged with but that are no part of it: frozen teachers, metric backbones."""

from collections.abc import Callable

from torch import Tensor, nn


class Outside(nn.Module):
    """Holds a frozen network outside checkpoints and optimizers, on the device of the module that holds this.

    The network is in evaluation mode and without gradients of its own; gradients pass through it to its input.
    It is reached by ``network``, and no ``state_dict``, ``parameters`` or ``train`` of an owner sees it.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._held = (network.eval().requires_grad_(False),)  # a tuple, so that torch does not register it

    @property
    def network(self) -> nn.Module:
        return self._held[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Outside":
        super()._apply(fn, recurse)
        self.network._apply(fn)
        return self
