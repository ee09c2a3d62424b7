"""Compares embeddings of `adder embed`, as h5py reads them, with the reference forward pass.

    check_embeddings.py --adder BINARY --fasta SEQUENCES.fa CHECKPOINT_DIR...

Per position, pooled, of one layer and of all, of both strands, of whole sequences and of regions. Exit code 1 with one
line for each miss. Needs h5py and numpy.
"""

import argparse
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np

import reference_forward

kTolerance = 1e-5
kComplement = {7: 10, 8: 9, 9: 8, 10: 7}


def outputs(model, tokens):
    """(positions, layers 0..n and the normed one, width)."""
    model.begin()
    return np.array([model.streams(token) for token in tokens])


class Record:
    def __init__(self, model, name, sequence):
        tokens = reference_forward.tokenize(sequence)
        self.name = name
        self.forward = outputs(model, tokens)
        # Position i of the other strand is position n - 1 - i of this one.
        self.reverse = outputs(model, [kComplement.get(t, t) for t in tokens[::-1]])[::-1]


def chosen(positions, layer):
    """(positions, width) as --layer says; None is the default."""
    if layer is None:
        return positions[:, -1]
    if layer == "all":
        return np.concatenate([positions[:, k] for k in range(1, positions.shape[1] - 2)] + [positions[:, -1]], axis=1)
    return positions[:, int(layer)]


def pooled(values, pool, backwards):
    if pool == "none":
        return values
    last = values[0] if backwards else values[-1]
    return {"mean": values.mean(0), "max": values.max(0), "last": last}[pool][None]


def expected(record, begin, end, pool, layer, rc, own_is_reverse=False):
    one = pooled(chosen(record.forward, layer)[begin:end], pool, False)
    other = pooled(chosen(record.reverse, layer)[begin:end], pool, True)
    if rc == "mean":
        return (one + other) / 2
    if rc == "concat":
        return np.concatenate([other, one] if own_is_reverse else [one, other], axis=1)
    return one


def embed(arguments, checkpoint, fasta, pool, layer, rc, regions=None):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "e.h5")
        command = [arguments.adder, "embed", "--device", "cpu", "--checkpoint", checkpoint, "--input", fasta, "--out", out,
                   "--pool", pool, "--tile", "33"]
        command += ["--layer", layer] if layer else []
        command += ["--rc", rc] if rc else []
        if regions:
            bed = os.path.join(folder, "r.bed")
            with open(bed, "w", encoding="ascii") as file:
                file.writelines("\t".join(map(str, row)) + "\n" for row in regions)
            command += ["--regions", bed]
        subprocess.run(command, check=True, capture_output=True)
        with h5py.File(out, "r") as file:
            offset = file["offset"][:].tolist() if "offset" in file else None
            attributes = {key: str(value) for key, value in file.attrs.items()}
            return file["embedding"][:], [name.decode() for name in file["name"][:]], offset, attributes


def check(arguments, checkpoint):
    model = reference_forward.load_model(checkpoint)
    records = [Record(model, *record) for record in reference_forward.read_fasta(arguments.fasta)]
    misses = []

    def compare(what, found, parts, names, pool):
        values, found_names, offset, _ = found
        wanted = np.concatenate(parts)
        if found_names != names:
            misses.append(f"{what}: names {found_names}, expected {names}")
        if offset != (np.cumsum([0] + [len(p) for p in parts]).tolist() if pool == "none" else None):
            misses.append(f"{what}: offset {offset}")
        if values.dtype != np.float32 or values.shape != wanted.shape:
            misses.append(f"{what}: {values.dtype} {values.shape}, expected float32 {wanted.shape}")
            return
        error = np.sqrt(np.mean((values - wanted) ** 2) / np.mean(wanted ** 2))
        if not error <= kTolerance:
            misses.append(f"{what}: relative rms {error:.2e} above {kTolerance}")

    cases = [("none", None, None), ("none", "all", "concat"), ("none", "1", "mean"), ("mean", "all", "mean"),
             ("last", None, "concat"), ("max", "0", None), ("mean", None, None)]
    for pool, layer, rc in cases:
        found = embed(arguments, checkpoint, arguments.fasta, pool, layer, rc)
        parts = [expected(r, 0, len(r.forward), pool, layer, rc) for r in records]
        compare(f"{checkpoint} {pool} {layer} {rc}", found, parts, [r.name for r in records], pool)
        attributes = found[3]
        if (attributes["pool"], attributes["layer"], attributes["rc"]) != (pool, layer or "final", rc or "none"):
            misses.append(f"{checkpoint}: attributes {attributes}")
        longest = max(range(len(records)), key=lambda i: len(records[i].forward))
        record, n = records[longest], len(records[longest].forward)
        regions = [(record.name, n - 5, n, "end", 0, "-"), (record.name, 3, 40), (record.name, 0, n, "whole"),
                   (record.name, 10, 20, "x", 0, "+")]
        found = embed(arguments, checkpoint, arguments.fasta, pool, layer, rc, regions)
        parts = [expected(record, r[1], r[2], pool, layer, rc, len(r) > 5 and r[5] == "-") for r in regions]
        compare(f"{checkpoint} regions {pool} {layer} {rc}", found, parts, ["end", f"{record.name}:3-40", "whole", "x"], pool)
    return misses


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--adder", required=True)
    parser.add_argument("--fasta", required=True)
    parser.add_argument("checkpoints", nargs="+")
    arguments = parser.parse_args()
    misses = [miss for checkpoint in arguments.checkpoints for miss in check(arguments, checkpoint)]
    for miss in misses:
        print(miss, file=sys.stderr)
    print(f"{len(arguments.checkpoints)} checkpoints: {'embeddings equal the reference' if not misses else 'WRONG'}")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
