"""The one exception family for everything that comes from outside: files, streams, arguments of a command."""


class CodecError(Exception):
    """Names the offending value and the remedy in one line. Commands print it and exit with status 2."""
