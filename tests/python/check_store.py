#!/usr/bin/env python3
"""check_store.py STORE FASTA: a token store of DNA, read with h5py alone, holds the letters of the FASTA file.

Follows the layout that pipelines/store.h describes and shares no code with adder.
"""
import gzip
import json
import sys

import h5py
import numpy as np


def read_fasta(path):
    records = []
    with (gzip.open if path.endswith(".gz") else open)(path, "rt") as lines:
        for line in lines:
            if line.startswith(">"):
                records.append((line[1:].split()[0], []))
            elif line.strip():
                records[-1][1].append(line.strip())
    return [(name, "".join(parts)) for name, parts in records]


def runs(group):
    end = 0
    for gap, length in zip(group["gap"][:], group["length"][:]):
        begin = end + gap
        end = begin + length
        yield slice(begin, end)


def letters_of(store):
    meta = json.loads(store["meta"][:].tobytes())
    n = meta["symbols"]
    packed = store["symbols"][:]
    codes = np.stack([packed >> shift & 3 for shift in (0, 2, 4, 6)], axis=1).reshape(-1)[:n]
    assert meta["packing"] == {"symbols": [0, 1, 2, 3], "flag": 8}, meta["packing"]
    symbols = codes.copy()
    for run, symbol in zip(runs(store["other"]), store["other/symbol"][:]):
        symbols[run] = symbol
    letters = np.frombuffer(b"ACGTN", dtype=np.uint8)[symbols]
    for run in runs(store["flagged"]):
        letters[run] |= 0x20
    return letters.tobytes().decode()


def names_of(store):
    text = store["record/name"][:].tobytes()
    ends = np.cumsum(store["record/name_bytes"][:])
    return [text[b:e].decode() for b, e in zip(np.concatenate([[0], ends[:-1]]), ends)]


def main():
    store_path, fasta = sys.argv[1:]
    expected = read_fasta(fasta)
    to_n = str.maketrans("RYSWKMBDHVryswkmbdhvUu", "N" * 10 + "n" * 10 + "Tt")
    with h5py.File(store_path, "r") as store:
        assert store.attrs["format"] == "adder token store" and store.attrs["version"] == 1
        assert names_of(store) == [name for name, _ in expected]
        assert store["record/symbols"][:].tolist() == [len(s) for _, s in expected]
        assert letters_of(store) == "".join(s.translate(to_n) for _, s in expected)
        n, size = json.loads(store["meta"][:].tobytes())["symbols"], store.id.get_filesize()
    print(f"{store_path}: {len(expected)} records, {n} bases, {8 * size / n:.3f} bits a base")


if __name__ == "__main__":
    main()
