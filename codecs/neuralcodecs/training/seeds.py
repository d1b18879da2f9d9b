"""Randomness without state: every draw is a function of counters (run seed, batch, rank, purpose)."""

import hashlib
import struct


def derive(*counters: int) -> int:
    """A 63-bit seed that depends on all counters and on nothing else: the same on every machine and version."""
    packed = struct.pack(f"<{len(counters)}q", *counters)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little") >> 1
