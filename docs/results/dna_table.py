#!/usr/bin/env python3
"""Tables of a folder that dna.sh run filled: dna_table.py FOLDER"""
import collections
import glob
import json
import os
import sys

CONTEXTS = ["10", "14", "17", "20", "whole"]


def read(path):
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None  # of a task that did not end


def rows_of(path):
    with open(path) as file:
        return [json.loads(line) for line in file if line.strip()]


def fixed(value):
    return "-" if value is None else f"{value:.4f}"


def training(folder):
    """Of each run the mean loss of its last tenth of steps, in bits, and its speed."""
    print("run | steps | training bits, last tenth | largest gradient norm | tokens/s")
    for path in sorted(glob.glob(os.path.join(folder, "*.metrics.jsonl"))):
        name = os.path.basename(path)[:-len(".metrics.jsonl")]
        steps = [r for r in rows_of(path) if r.get("loss") is not None]
        if name.startswith("finetune") or not steps:
            continue
        last = steps[-max(1, len(steps) // 10):]
        bits = sum(r["loss"] for r in last) / len(last) / 0.6931471805599453
        speed = sorted(r["tokens_per_s"] for r in steps)[len(steps) // 2]
        print(f"{name} | {steps[-1]['step']} | {bits:.4f} | {max(r['grad_norm'] for r in steps):.2f} | {speed:.3g}")


def held_out(folder):
    """Bits a base of every run (rows) with every context in evaluation (columns)."""
    bits = collections.defaultdict(dict)
    for path in glob.glob(os.path.join(folder, "mamba*.json")):
        parts = os.path.basename(path).split(".")
        result = read(path)
        if len(parts) == 6 and result:
            bits[parts[3], parts[0], int(parts[1]), int(parts[2])][parts[4]] = result["bits_per_token"]
    for held in sorted({key[0] for key in bits}):
        print(f"\n{held}: bits a base; trained with context 2^k, evaluated with | " + " | ".join(CONTEXTS))
        for key in sorted(k for k in bits if k[0] == held):
            print(f"{key[1]} 2^{key[2]} seed {key[3]} | " + " | ".join(fixed(bits[key].get(c)) for c in CONTEXTS))


def classification(folder):
    print("\nset | what | accuracy | mcc | auroc | note")
    for path in sorted(glob.glob(os.path.join(folder, "probe.*.json"))):
        name, result = os.path.basename(path).split(".")[1], read(path)
        if not result:
            continue
        print(f"{name} | majority | {fixed(result['majority'])} | - | - | {result['test']} of {result['classes']} classes")
        kmer = result["kmer"]
        for what, row, note in [("k-mers", kmer, f"k {kmer['k']}"), ("frozen, random init", result["random_init"], ""),
                                ("frozen, trained", result, "")]:
            print(f"{name} | {what} | {fixed(row['accuracy'])} | {fixed(row['mcc'])} | {fixed(row['auroc'])} | {note}")
    best = collections.defaultdict(list)
    for path in sorted(glob.glob(os.path.join(folder, "finetune.*.metrics.jsonl"))):
        stem = path[:-len(".metrics.jsonl")]
        _, name, *model, rate = os.path.basename(stem).split(".")
        result, valid = read(stem + ".json"), [r["valid_macro_f1"] for r in rows_of(path) if "valid_macro_f1" in r]
        if result and valid:
            best[name, ".".join(model)].append((max(valid), rate, result))
    for (name, model), runs in sorted(best.items()):
        # The rate is chosen by what was held out in training, never by the test.
        chosen = max(runs, key=lambda run: run[0])
        for valid, rate, r in runs:
            print(f"{name} | finetuned {model} | {fixed(r['accuracy'])} | {fixed(r['mcc'])} | {fixed(r['auroc'])} | "
                  f"rate {rate}, valid macro-F1 {valid:.4f}{', chosen' if rate == chosen[1] else ''}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    training(sys.argv[1])
    held_out(sys.argv[1])
    classification(sys.argv[1])
