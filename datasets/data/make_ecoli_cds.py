#!/usr/bin/env python3
"""Writes ecoli_cds.bed: the coding sequences of E. coli K-12 MG1655 (NC_000913.2), from its GenBank file.

usage: make_ecoli_cds.py NC_000913.gbk.gz MG1655-K12.fasta.gz > ecoli_cds.bed

The GenBank file is in Debian's package cct-examples, the FASTA file in ragout-examples. Both must have the same
letters, or the intervals would not fit: this is checked. One line a CDS feature, pseudogenes too: chromosome,
start, end (from 0, end excluded), locus tag, 0, strand. A CDS of several parts gives a line a part.
"""
import gzip
import re
import sys


def read_fasta(path):
    with gzip.open(path, "rt") as file:
        name = file.readline()[1:].split()[0]
        return name, "".join(line.strip() for line in file).upper()


def read_genbank(path):
    """Features as (key, location, qualifiers), and the letters."""
    features, letters, in_features, in_origin = [], [], False, False
    with gzip.open(path, "rt") as file:
        for line in file:
            if line.startswith("FEATURES"):
                in_features = True
            elif line.startswith("ORIGIN"):
                in_features, in_origin = False, True
            elif line.startswith("//"):
                break
            elif in_origin:
                letters.append(re.sub("[^a-zA-Z]", "", line))
            elif in_features and line[5] != " ":
                key, location = line.split()
                features.append([key, location, []])
            elif in_features and line[21] == "/":
                features[-1][2].append(line[21:].strip())
            elif in_features and features[-1][2]:
                features[-1][2][-1] += line[21:].strip()
            elif in_features:
                features[-1][1] += line.strip()
    return features, "".join(letters).upper()


def main():
    features, letters = read_genbank(sys.argv[1])
    name, bases = read_fasta(sys.argv[2])
    if letters != bases:
        sys.exit("the GenBank file and the FASTA file are not the same sequence")
    rows = []
    for key, location, qualifiers in features:
        if key != "CDS":
            continue
        tag = next(q.split('"')[1] for q in qualifiers if q.startswith("/locus_tag="))
        strand = "-" if location.startswith("complement") else "+"
        for first, last in re.findall(r"(\d+)\.\.(\d+)", location):
            rows.append((int(first) - 1, int(last), tag, strand))
    for start, end, tag, strand in sorted(rows):
        print(name, start, end, tag, 0, strand, sep="\t")


if __name__ == "__main__":
    main()
