"""Which coder goes with which kind of trained prior."""

from functools import singledispatch

from neuralcodecs.codes import Shape
from neuralcodecs.masked_coder import MaskedPriorCoder
from neuralcodecs.prior_coders import LearnedPriorCoder
from neuralcodecs.priors.integer import IntegerPrior, Sealed
from neuralcodecs.priors.integer_masked import IntegerMasked
from neuralcodecs.stream_coder import StreamCoder


@singledispatch
def coder_of(prior: Sealed, alphabet: Shape) -> StreamCoder:
    """What codes a stream of ``alphabet`` in files with this prior, to be attached to a codec."""
    raise TypeError(f"no coder for a prior of type {type(prior).__name__}: register one with coder_of")


@coder_of.register
def _(prior: IntegerPrior, alphabet: Shape) -> StreamCoder:
    return LearnedPriorCoder(prior, alphabet)


@coder_of.register
def _(prior: IntegerMasked, alphabet: Shape) -> StreamCoder:
    return MaskedPriorCoder(prior)
