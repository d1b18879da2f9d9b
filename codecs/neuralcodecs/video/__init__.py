"""Video edges: files, datasets, metrics; losses are those of pictures."""

from neuralcodecs.video.medium import Video

__all__ = ["Video"]
