"""Models on the Hugging Face hub, by the conventions of huggingface_hub: fetch a snapshot, push a folder."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from neuralcodecs.errors import CodecError


@runtime_checkable
class Saves(Protocol):
    """What can be pushed: a codec, a tokenizer."""

    def save_pretrained(self, directory: str | Path) -> None: ...


def fetch(repo_id: str, files: Sequence[str], revision: str | None = None, token: str | bool | None = None) -> Path:
    """The local copy of the named files of a hub model; CodecError when it cannot be had."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo_id, revision=revision, token=token, allow_patterns=list(files)))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CodecError(
            f"no folder {repo_id} here, and no hub model of that name could be fetched: {reason}"
        ) from error


def push(
    what: Saves, repo_id: str, private: bool | None = None, token: str | None = None, message: str = "Push codec"
) -> str:
    """Upload what ``save_pretrained`` writes; returns the address of the commit."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        what.save_pretrained(folder)
        try:
            repo = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            return str(api.upload_folder(repo_id=repo, folder_path=folder, commit_message=message))
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CodecError(f"{repo_id} could not be pushed: {reason}") from error
