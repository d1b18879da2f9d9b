"""Range coder: symbols per second on one core, and bits beyond the ideal length.

``static``: one table for all symbols. ``rows``: a table for each symbol, given to the encoder as intervals (all that it
needs) and to the decoder whole, ``lanes`` rows a call, as a decoder with a learned prior asks for them. Decoding has
the check of ``finish`` in it. Times are CPU time, best of the repeats. Beside it, on the same static symbols,
constriction called directly, and the ``encodec`` package's arithmetic coder (a thousandth of the symbols).

    python benchmarks/range_coder.py [--symbols 1000000] [--repeats 5]
"""

import argparse
import io
import time
from collections.abc import Callable

import constriction
import numpy as np
import torch
from encodec.quantization.ac import ArithmeticCoder, ArithmeticDecoder, build_stable_quantized_cdf

from neuralcodecs.bitstream.range_coder import TOTAL, RangeDecoder, RangeEncoder, ideal_bits, intervals, table_of


def table_of_size(size: int) -> np.ndarray:
    """A table of about two bits less than uniform."""
    weights = np.random.default_rng(size).random(size) ** 6
    return table_of((weights * 2**20 + 1).astype(np.int64))


def drawn(table: np.ndarray, count: int) -> np.ndarray:
    return np.searchsorted(table, np.random.default_rng(0).integers(0, TOTAL, count), side="right") - 1


def best(job: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        job()
        times.append(time.process_time() - start)
    return min(times)


def report(name: str, symbols: int, encode: float, decode: float, bits: float, ideal: float) -> None:
    print(
        f"{name:28} encode {symbols / encode / 1e6:9.4f} M/s   decode {symbols / decode / 1e6:9.4f} M/s   "
        f"{bits - ideal:8.1f} bits over {ideal:.0f} ({bits / ideal - 1:.4%})"
    )


def static(size: int, count: int, repeats: int) -> None:
    table = table_of_size(size)
    symbols = drawn(table, count)
    ideal = ideal_bits(table[symbols], table[symbols + 1])

    def encode() -> bytes:
        encoder = RangeEncoder()
        encoder.encode(symbols, table)
        return encoder.finish()

    def decode() -> None:
        decoder = RangeDecoder(data)
        assert np.array_equal(decoder.decode(count, table), symbols)
        decoder.finish()

    data = encode()
    report(f"static, {size} symbols", count, best(encode, repeats), best(decode, repeats), 8 * len(data), ideal)


def rows(size: int, lanes: int, count: int, repeats: int) -> None:
    table = table_of_size(size)
    symbols = drawn(table, count // lanes * lanes)
    tables = np.broadcast_to(table, (lanes, size + 1)).copy()

    def encode() -> bytes:
        encoder = RangeEncoder()
        for part in symbols.reshape(-1, lanes):
            encoder.encode_intervals(*intervals(part, tables))
        return encoder.finish()

    def decode() -> None:
        decoder = RangeDecoder(data)
        for _ in range(len(symbols) // lanes):
            decoder.decode_rows(tables)
        decoder.finish()

    data = encode()
    ideal = ideal_bits(table[symbols], table[symbols + 1])
    name = f"rows, {size} symbols, {lanes} lanes"
    report(name, len(symbols), best(encode, repeats), best(decode, repeats), 8 * len(data), ideal)


def direct(size: int, count: int, repeats: int) -> None:
    table = table_of_size(size)
    symbols = drawn(table, count).astype(np.int32)
    model = constriction.stream.model.Categorical((np.diff(table) - 1).astype(np.float32), perfect=False, lazy=False)

    def encode() -> np.ndarray:
        encoder = constriction.stream.queue.RangeEncoder()
        encoder.encode(symbols, model)
        return encoder.get_compressed()

    words = encode()
    decode = best(lambda: constriction.stream.queue.RangeDecoder(words).decode(model, count), repeats)
    ideal = ideal_bits(table[symbols], table[symbols + 1])
    report(f"constriction, {size} symbols", count, best(encode, repeats), decode, 32 * len(words), ideal)


def encodec(size: int, count: int, repeats: int) -> None:
    table = table_of_size(size)
    symbols = drawn(table, count).tolist()
    probability = torch.from_numpy(np.diff(table) / TOTAL).float()
    cdf = build_stable_quantized_cdf(probability, 24, check=False)

    def encode() -> bytes:
        file = io.BytesIO()
        coder = ArithmeticCoder(file)
        for symbol in symbols:
            coder.push(symbol, cdf)
        coder.flush()
        return file.getvalue()

    def decode() -> None:
        coder = ArithmeticDecoder(io.BytesIO(data))
        assert [coder.pull(cdf) for _ in symbols] == symbols

    data = encode()
    chosen = np.array(symbols)
    ideal = ideal_bits(table[chosen], table[chosen + 1])
    report(f"encodec, {size} symbols", count, best(encode, repeats), best(decode, repeats), 8 * len(data), ideal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for size in (2, 256, 1024, 2**18):
        static(size, arguments.symbols, arguments.repeats)
    direct(1024, arguments.symbols, arguments.repeats)
    for lanes in (1, 32, 128, 1024):
        rows(1024, lanes, max(arguments.symbols // 50, lanes), arguments.repeats)
    encodec(1024, max(arguments.symbols // 1000, 1), arguments.repeats)


if __name__ == "__main__":
    main()
