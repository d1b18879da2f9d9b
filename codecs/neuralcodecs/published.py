"""Saving, loading and sharing of a codec, by the names that users of huggingface_hub know."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuralcodecs.stream_coder import StreamCoder, StreamCoders

if TYPE_CHECKING:
    from neuralcodecs.codec import Codec


_NO_PRIORS: StreamCoders = {}


class Published:
    """The methods of ``Codec`` that deal with folders and the hub, and the priors that are published with it."""

    priors: StreamCoders = _NO_PRIORS
    """Of its main stream, by name: ``static``, ``learned``. Part of the published model, not of the codec's weights."""

    def attach(self: "Codec", name: str, prior: StreamCoder) -> None:  # type: ignore[misc]
        """Make ``prior`` (of ``prior_coders``) the codec's ``static`` or ``learned`` one, in place of another."""
        from neuralcodecs.attached import check_prior

        check_prior(self, name, prior)
        self.priors = {**self.priors, name: prior}

    def config(self: "Codec") -> dict[str, Any]:  # type: ignore[misc]
        """Class paths and arguments from which an equal codec (but for its weights) can be built: plain YAML data."""
        return self.describe()

    def save_pretrained(self: "Codec", directory: str | Path) -> None:  # type: ignore[misc]
        """Write ``config.yaml``, ``model.safetensors`` and a model card."""
        from neuralcodecs.pretrained import save

        save(self, Path(directory))

    @classmethod
    def from_pretrained(
        cls, source: str | Path, trust: bool = False, revision: str | None = None, token: str | bool | None = None
    ) -> "Codec":
        """Load a folder, a checkpoint, a known name or a hub id; ``trust`` allows classes from outside this package."""
        from neuralcodecs.pretrained import load

        return load(source, trust, revision, token)

    def push_to_hub(  # type: ignore[misc]
        self: "Codec", repo_id: str, private: bool | None = None, token: str | None = None, message: str = "Push codec"
    ) -> str:
        """Upload what ``save_pretrained`` writes to ``owner/name``, made if needed; returns the commit's address."""
        from neuralcodecs.hub import push

        return push(self, repo_id, private, token, message)
