"""What a training step is made of: named terms, and the output at which their gradients meet."""

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Output:
    """A decoded batch as the losses see it.

    ``signal`` is attached to the codec's graph; ``leaf`` holds the same values and starts a graph of its own. Losses
    and discriminators are computed on the leaf and differentiated down to it, so that nothing they do leaves a gradient
    in their own parameters, and one backward through the codec carries the sum of all (design section 5).
    """

    signal: Float[Tensor, "b c *space"]
    leaf: Float[Tensor, "b c *space"]

    @staticmethod
    def of(signal: Float[Tensor, "b c *space"]) -> "Output":
        """The output of a codec's forward, attached as it is."""
        return Output(signal, signal.detach().requires_grad_())


class Term(NamedTuple):
    """A scalar of the step with its weight.

    ``on_output``: its graph ends at the output's leaf (reconstruction and adversarial losses); otherwise it reaches
    parameters by itself (commitment, the discriminator's own loss).
    """

    value: Float[Tensor, ""]
    weight: float
    on_output: bool = False


Terms = dict[str, Term]
