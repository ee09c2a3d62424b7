#!/usr/bin/env python3
"""Windows of several genomes, to be told apart: OUT.fa and OUT.tsv (columns name, label, split).

usage: make_species_windows.py [--width 1024] [--windows 500] [--seed 1] --out OUT LABEL=FASTA[,FASTA...]...

Of each genome, the contigs of at least a tenth of the longest one's length stand after each other in the order of the
file. Training windows come from its first 70 %, test windows from its last 20 %, three tenths of all; the tenth between
them is not used, and no two windows overlap. Windows with a letter other than A, C, G, T are left out. LABEL=FASTA;FASTA
takes the test windows from the files behind the semicolon instead. FASTA may be gzipped; lower case is raised.
"""
import argparse
import gzip
import random
import re


def contigs_of(path):
    opened = gzip.open(path, "rt") if path.endswith(".gz") else open(path)
    parts = []
    with opened as file:
        for line in file:
            if line.startswith(">"):
                parts.append([])
            else:
                parts[-1].append(line.strip().upper())
    # A leading run of N, as at a telomere, would take the place of most of a part.
    return ["".join(p).lstrip("N") for p in parts]


def grid(paths, width, begin, end):
    """Windows of a grid over all contigs that lie between these parts of the whole."""
    contigs = [c for path in paths for c in contigs_of(path)]
    least = max(map(len, contigs)) / 10
    contigs = [c for c in contigs if len(c) >= least]
    total, before = sum(map(len, contigs)), 0
    for number, contig in enumerate(contigs):
        for at in range(0, len(contig) - width + 1, width):
            if begin * total <= before + at and before + at + width <= end * total:
                letters = contig[at:at + width]
                if re.fullmatch("[ACGT]+", letters):
                    yield f"{number}_{at}", letters
        before += len(contig)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--windows", type=int, default=500, help="of each genome")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", required=True)
    parser.add_argument("genomes", nargs="+", metavar="LABEL=FASTA")
    o = parser.parse_args()
    n_test = o.windows * 3 // 10
    with open(o.out + ".fa", "w") as fasta, open(o.out + ".tsv", "w") as table:
        table.write("name\tlabel\tsplit\n")
        for genome in o.genomes:
            label, paths = genome.split("=", 1)
            train, _, test = paths.partition(";")
            parts = [("train", o.windows - n_test, grid(train.split(","), o.width, 0, 1 if test else 0.7)),
                     ("test", n_test, grid((test or train).split(","), o.width, 0 if test else 0.8, 1))]
            for split, wanted, found in parts:
                found = list(found)
                if len(found) < wanted:
                    raise SystemExit(f"{label}: {len(found)} {split} windows of {o.width} letters, {wanted} are wanted")
                for place, letters in random.Random(f"{o.seed} {label} {split}").sample(found, wanted):
                    name = f"{label}_{split}_{place}"
                    fasta.write(f">{name}\n{letters}\n")
                    table.write(f"{name}\t{label}\t{split}\n")


if __name__ == "__main__":
    main()
