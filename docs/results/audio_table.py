#!/usr/bin/env python3
"""Tables of a folder that audio.sh run filled: audio_table.py FOLDER MODEL..."""
import json
import os
import sys


def lines_of(path):
    try:
        with open(path) as file:
            return [json.loads(line) for line in file if line.strip()]
    except (OSError, ValueError):
        return []  # of a command that did not end


def bits(folder, name):
    found = lines_of(os.path.join(folder, name + ".json"))
    return f"{found[0]['bits_per_sample']:.4f}" if found else "-"


def mean(steps, last):
    """Training bits, mean of the 50 steps up to this one."""
    part = [r["loss"] for r in steps if last - 50 < r["step"] <= last]
    return sum(part) / len(part) / 0.6931471805599453


folder, models = sys.argv[1], sys.argv[2:]
print("model | steps | samples/s | best step | bits, choosing takes | bits, tested takes | tested takes, last step")
for model in models:
    rows = lines_of(os.path.join(folder, model + ".metrics.jsonl"))
    steps, held = [r for r in rows if "loss" in r], [r for r in rows if "valid_bits_per_token" in r]
    if not steps or not held:
        print(model, "| -")
        continue
    speed = sorted(r["tokens_per_s"] for r in steps)[len(steps) // 2]
    # Steps are compared on a part of the takes, the same at each; the last row is of all of them, and it is the last step's
    # checkpoint that was best where its bits are those.
    *before, last = held
    best = last if bits(folder, model + ".best.valid") == f"{last['valid_bits_per_token']:.4f}" or not before else min(
        before, key=lambda r: r["valid_bits_per_token"])
    print(f"{model} | {steps[-1]['step']} | {speed:.3g} | {best['step']} | {bits(folder, model + '.best.valid')} | "
          f"{bits(folder, model + '.best.test')} | {bits(folder, model + '.last.test')}")
    every = max(1, len(held) // 12)
    print("  step, training bits, held-out bits:", "; ".join(
        f"{r['step']} {mean(steps, r['step']):.3f} {r['valid_bits_per_token']:.4f}" for r in held[every - 1::every]))
print("model | device | streams | samples/s")
for row in lines_of(os.path.join(folder, "speed.jsonl")):
    print(" | ".join(str(row[key]) for key in ("model", "device", "streams", "samples_s")))
