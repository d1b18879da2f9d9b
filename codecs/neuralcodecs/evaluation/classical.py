"""Which classical codecs there are, for which medium, and how the judge's medium is chosen."""

from collections.abc import Callable, Sequence
from pathlib import Path

from neuralcodecs.audio import files as audio_files
from neuralcodecs.audio.medium import Audio
from neuralcodecs.errors import CodecError
from neuralcodecs.evaluation.candidate import Candidate
from neuralcodecs.evaluation.classical_audio import mp3, opus
from neuralcodecs.evaluation.classical_image import FORMATS, JpegXL, PillowCandidate
from neuralcodecs.evaluation.measure import find_files
from neuralcodecs.image.medium import Image
from neuralcodecs.medium import Medium

SOUND: dict[str, Callable[[Medium], Candidate]] = {
    "opus": lambda medium: opus(medium.rate, medium.channels),
    "mp3": lambda medium: mp3(medium.rate, medium.channels),
}
PICTURES: dict[str, Callable[[Medium], Candidate]] = {
    **{name: lambda medium, name=name: PillowCandidate(name) for name in FORMATS},  # type: ignore[misc]
    "jxl": lambda medium: JpegXL(),
}


def names_of(text: str) -> list[str]:
    """The names in a list with commas; CodecError for one that is not known or of two media at once."""
    names = [name for name in dict.fromkeys(part.strip() for part in text.split(",")) if name]
    known = [*SOUND, *PICTURES]
    for name in names:
        if name not in known:
            raise CodecError(f"--against {name}: no such classical codec: give some of {', '.join(known)}")
    if {name in SOUND for name in names} == {True, False}:
        raise CodecError(f"--against {text}: codecs of sound and of pictures cannot judge the same files")
    return names


def judges_medium(media: Sequence[Medium], names: Sequence[str], data: Sequence[Path], rate: int | None) -> Medium:
    """The medium in which signals are compared: the models' common one, else that of the files.

    ``rate``: samples per second that the user asks for. Raises CodecError where models differ and none was asked for.
    """
    kinds = {(medium.rate, medium.channels) for medium in media}
    if len({medium.unit for medium in media}) > 1:
        raise CodecError("models of sound and of pictures cannot judge the same files: evaluate them apart")
    if len(kinds) == 1 and rate in (None, media[0].rate):
        return media[0]
    if kinds and rate is None:
        told = " and ".join(f"{channels} channels at {n} Hz" for n, channels in sorted(kinds))
        raise CodecError(f"models of {told}: say with --rate at how many Hz to compare")
    if not kinds and not names:
        raise CodecError("nothing to evaluate: name a MODEL, or codecs with --against")
    if (media and not media[0].rate) or (not media and names[0] in PICTURES):
        return Image()
    first = audio_files.info(find_files(data, Audio.suffixes, 1)[0])
    return Audio(rate or first.rate, first.channels)


def classical(names: Sequence[str], medium: Medium) -> tuple[list[Candidate], dict[str, str]]:
    """Those of ``names`` that this machine has; why it lacks others. CodecError for one of another medium."""
    makers = SOUND if medium.rate else PICTURES
    found: list[Candidate] = []
    absent: dict[str, str] = {}
    for name in names:
        if name not in makers:
            raise CodecError(f"--against {name}: not for these files: give some of {', '.join(makers)}")
        try:
            found.append(makers[name](medium))
        except CodecError as error:
            absent[name] = str(error)
    return found, absent
