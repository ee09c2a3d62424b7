#!/usr/bin/env python3
"""Labelled sets of short DNA sequences: OUT/SET.fa and OUT/SET.tsv (columns name, label, split).

usage: make_labelled_sets.py --out OUT [--most N] [--seed 1] [--splice ARFF] [--introns LABEL=TXT]...
                             [--rloops NAME=POSITIVES,NEGATIVES]...

splice   the primate splice junctions of UCI, 60 letters: EI (donor), IE (acceptor) or N (neither)
donor    exon-intron-exon lines of KorfLab/datacore: 80 letters around the GT that begins the intron, or around another
         GT of the same line that has 40 letters on both sides
NAME     R-loop sequences of 100 letters (KorfLab/datacore) against one of the negative sets beside them

At most N sequences a set, as many of each label as there are (splice: all). 20 % are test and 10 % valid. Sequences that share 20
letters in a row, on either strand, stand in one part, and of equal ones only the first is kept. Files may be gzipped.
"""
import argparse
import gzip
import os
import random

OTHER = str.maketrans("ACGT", "TGCA")
SHARED = 20


def opened(path):
    return gzip.open(path, "rt") if path.endswith(".gz") else open(path)


def splice(path):
    for line in opened(path):
        cells = [c.strip() for c in line.strip().split(",")]
        if len(cells) == 62 and not line.startswith(("%", "@")):
            yield cells[-1], "".join(cells[1:-1])


def donors(sources, rng):
    for source in sources:
        label, path = source.split("=", 1)
        for line in opened(path):
            exon, intron, behind = line.split()[:3]
            whole, at = exon + intron + behind, len(exon)
            others = [p for p in range(40, len(whole) - 39) if whole[p:p + 2] == "GT" and p != at]
            if others:
                yield label, [("donor", whole[at - 40:at + 40]), ("other", (lambda p: whole[p - 40:p + 40])(rng.choice(others)))]


def fasta(path):
    return [line.strip() for line in opened(path) if not line.startswith(">")]


def families(sequences):
    """For each sequence a number that those share with which it has SHARED letters in a row in common."""
    root, first = list(range(len(sequences))), {}

    def find(i):
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for i, letters in enumerate(sequences):
        for strand in (letters, letters.translate(OTHER)[::-1]):
            for p in range(len(strand) - SHARED + 1):
                j = first.setdefault(strand[p:p + SHARED], i)
                if j != i:
                    root[find(i)] = find(j)
    return [find(i) for i in range(len(sequences))]


def write(out, name, rows, rng):
    rows = list({letters: (label, letters) for label, letters in reversed(rows)}.values())
    rng.shuffle(rows)
    family = families([letters for _, letters in rows])
    order = sorted(set(family))
    rng.shuffle(order)
    members = {}
    for f in family:
        members[f] = members.get(f, 0) + 1
    # The largest families are for training: a test on one family says little.
    order.sort(key=lambda f: members[f] > len(rows) // 100)
    part, taken = {}, 0
    for f in order:
        part[f] = "test" if taken < 0.2 * len(rows) else "valid" if taken < 0.3 * len(rows) else "train"
        taken += members[f]
    with open(os.path.join(out, name + ".fa"), "w") as file, open(os.path.join(out, name + ".tsv"), "w") as table:
        table.write("name\tlabel\tsplit\n")
        for i, (label, letters) in enumerate(rows):
            file.write(f">{name}_{i}\n{letters}\n")
            table.write(f"{name}_{i}\t{label}\t{part[family[i]]}\n")
    count = {}
    for f, (label, _) in zip(family, rows):
        count[part[f], label] = count.get((part[f], label), 0) + 1
    print(name, len(rows), "sequences,", len(order), "families,", max(members.values()), "in the largest;",
          ", ".join(f"{p} {l} {n}" for (p, l), n in sorted(count.items())))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--most", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--splice")
    parser.add_argument("--introns", action="append", default=[])
    parser.add_argument("--rloops", action="append", default=[])
    o = parser.parse_args()
    os.makedirs(o.out, exist_ok=True)
    if o.splice:
        write(o.out, "splice", list(splice(o.splice)), random.Random(f"{o.seed} splice"))
    if o.introns:
        rng = random.Random(f"{o.seed} donor")
        by_species = {}
        for label, pair in donors(o.introns, rng):
            by_species.setdefault(label, []).append(pair)
        each = o.most // (2 * len(by_species))
        write(o.out, "donor", [row for pairs in by_species.values() for pair in rng.sample(pairs, min(each, len(pairs)))
                               for row in pair], rng)
    for source in o.rloops:
        name, paths = source.split("=", 1)
        rng = random.Random(f"{o.seed} {name}")
        positives, negatives = (fasta(p) for p in paths.split(","))
        chosen = rng.sample(range(len(positives)), min(o.most // 2, len(positives), len(negatives)))
        write(o.out, name, [("rloop", positives[i]) for i in chosen] + [("other", negatives[i]) for i in chosen], rng)


if __name__ == "__main__":
    main()
