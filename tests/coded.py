"""A small codec with every kind of prior of its codes: random networks, counts of real speech."""

import torch
from examples import make_codec, speech

from neuralcodecs import Codec
from neuralcodecs.files import encode_signals
from neuralcodecs.prior_coders import LearnedPriorCoder, StaticPriorCoder
from neuralcodecs.priors.autoregressive import FactorisedTransformer, ParallelTransformer
from neuralcodecs.priors.counted import StaticPrior

KINDS = ("none", "static", "adaptive", "learned")


def with_priors(factorised: bool = False, segmented: bool = False) -> Codec:
    codec = make_codec(segmented=segmented)
    alphabet = codec.quantizer.codebook_sizes
    static = StaticPrior(alphabet)
    for path in speech(2):
        static.count(encode_signals(codec, [codec.medium.read(path)[0]])[0]["codes"])
    codec.attach("static", StaticPriorCoder(static))
    torch.manual_seed(1)
    kind = FactorisedTransformer if factorised else ParallelTransformer
    codec.attach("learned", LearnedPriorCoder(kind(alphabet, 16, 2, 1, 20).export(), alphabet))
    return codec
