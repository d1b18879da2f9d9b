"""Where half precision would lose what matters: spectra span more decades than it resolves."""

import contextlib

import torch
from torch import Tensor
from torch.amp.autocast_mode import is_autocast_available


def full_precision(like: Tensor) -> contextlib.AbstractContextManager[object]:
    """Turns autocast off on the tensor's device, where there is any: none on tensors without memory."""
    device = like.device.type
    return torch.autocast(device, enabled=False) if is_autocast_available(device) else contextlib.nullcontext()
