"""What an evaluation holds: figures of each file, and of all files at each number of levels."""

from dataclasses import dataclass, field

from neuralcodecs.evaluation.complexity import Complexity


@dataclass(frozen=True)
class Row:
    """One file at one number of levels. Bits are counts; ``figures`` by metric name; ``failures`` say why not.

    ``coded_bits``: entropy under what coded the file; None where all of it is of fixed width.
    """

    file: str
    levels: int
    shape: tuple[int, ...]
    extent: float
    nominal_bits: float
    written_bits: int
    encode_seconds: float
    decode_seconds: float
    figures: dict[str, float]
    failures: dict[str, str]
    coded_bits: float | None = None


@dataclass(frozen=True)
class Setting:
    """All files at one number of levels.

    Rates are in the medium's unit: total bits over total extent. ``entropy``: under the prior that coded the files; for
    codecs without one, order 0 of each codebook over all files. ``figures`` are means over the files that have a
    value, or of all files together; ``failures`` count the others by metric. ``usage``, ``perplexity`` and
    ``entropy_bits`` are per codebook, over all codes of all files. Speeds are in the medium's ``speed_unit``, from
    signal to file and from file to signal.
    """

    levels: int
    files: int
    nominal: float
    entropy: float
    written: float
    figures: dict[str, float]
    failures: dict[str, int]
    usage: list[float]
    perplexity: list[float]
    entropy_bits: list[float]
    encode_speed: float
    decode_speed: float


@dataclass
class Evaluation:
    """Rows and their summary per setting; ``unreadable`` names the files that could not be read, with the reason."""

    unit: str
    speed_unit: str
    settings: list[Setting] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """Why a figure of all files together is missing, by its name."""
    definitions: dict[str, str] = field(default_factory=dict)
    complexity: Complexity | None = None
    """Of a signal of the first row's shape; None where it could not be counted, with the reason in ``failures``."""
