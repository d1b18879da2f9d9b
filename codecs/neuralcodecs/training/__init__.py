"""Training: the only package that imports lightning."""

from neuralcodecs.sources import Source
from neuralcodecs.training.adversary import Adversary
from neuralcodecs.training.audio_data import AudioDataModule
from neuralcodecs.training.average import WeightAverage
from neuralcodecs.training.checkpoint import AtomicCheckpointIO
from neuralcodecs.training.code_data import CodeDataModule
from neuralcodecs.training.combine import Balancer, WeightedSum
from neuralcodecs.training.data import Batch, Loading
from neuralcodecs.training.denoise import Denoise, Distill
from neuralcodecs.training.execution import Eager, Graphs
from neuralcodecs.training.games import Hinge, LeastSquares, LeCam, Linear, Mixed, NonSaturating
from neuralcodecs.training.image_data import ImageDataModule
from neuralcodecs.training.interrupt import SaveOnExit
from neuralcodecs.training.judge import EvaluateCheckpoints
from neuralcodecs.training.judge_language import JudgeLanguage
from neuralcodecs.training.language_task import LanguageTask
from neuralcodecs.training.objectives import RateDistortion, Reconstruct, Together, Weighted
from neuralcodecs.training.optimization import Optimization, OptimizerGroup
from neuralcodecs.training.prior_judge import EvaluatePrior
from neuralcodecs.training.prior_task import PriorTask
from neuralcodecs.training.stage import Stage
from neuralcodecs.training.task import CodecTask
from neuralcodecs.training.throughput import Throughput
from neuralcodecs.training.tradeoff import Lambdas, TargetRates
from neuralcodecs.training.video_data import VideoDataModule

__all__ = [
    "Adversary",
    "AtomicCheckpointIO",
    "AudioDataModule",
    "Balancer",
    "Batch",
    "CodeDataModule",
    "CodecTask",
    "Denoise",
    "Distill",
    "Eager",
    "EvaluateCheckpoints",
    "EvaluatePrior",
    "Graphs",
    "Hinge",
    "ImageDataModule",
    "JudgeLanguage",
    "Lambdas",
    "LanguageTask",
    "LeCam",
    "LeastSquares",
    "Linear",
    "Loading",
    "Mixed",
    "NonSaturating",
    "Optimization",
    "OptimizerGroup",
    "PriorTask",
    "RateDistortion",
    "Reconstruct",
    "SaveOnExit",
    "Source",
    "Stage",
    "TargetRates",
    "Throughput",
    "Together",
    "VideoDataModule",
    "WeightAverage",
    "Weighted",
    "WeightedSum",
]
