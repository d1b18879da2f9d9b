"""Whole corpora as codes: inputs to Parquet shards, by worker processes or by Ray, and shards to train on."""

from neuralcodecs.errors import CodecError

try:
    import pyarrow  # noqa: F401
except ImportError as error:
    raise CodecError("corpora of codes need pyarrow: pip install 'neuralcodecs[corpus]'") from error

from neuralcodecs.lm.corpus.material import Corpus

__all__ = ["Corpus"]
