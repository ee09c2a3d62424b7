"""check_events.py RUN...: what TensorBoard reads from the event files of a run is what metrics.jsonl says.

Uses TensorBoard's own loader, so that framing, checksums, wire format and the cut on resume are judged by the program
that people look at. Needs the package `tensorboard`.
"""
import json
import os
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TAGS = {"loss": "loss/train", "grad_norm": "grad_norm", "lr": "lr", "tokens_per_s": "tokens_per_s",
        "valid_loss": "loss/valid"}


def as_float32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def check(run):
    with open(os.path.join(run, "metrics.jsonl")) as f:
        rows = [json.loads(line) for line in f]
    assert rows, f"{run}: metrics.jsonl is empty"
    events = EventAccumulator(run, size_guidance={"scalars": 0})
    events.Reload()
    expected = {}
    for row in rows:
        for key, tag in TAGS.items():
            if row.get(key) is not None:
                expected.setdefault(tag, {})[row["step"]] = as_float32(row[key])
    found_tags = set(events.Tags()["scalars"])
    assert found_tags == set(expected), f"{run}: tags {sorted(found_tags)}, expected {sorted(expected)}"
    for tag, values in expected.items():
        found = [(e.step, e.value) for e in events.Scalars(tag)]
        assert found == sorted(values.items()), f"{run}: {tag}: {found[:5]}... against {sorted(values.items())[:5]}..."
    print(f"{run}: {sum(map(len, expected.values()))} values in {len(expected)} tags agree")


if __name__ == "__main__":
    assert len(sys.argv) > 1, __doc__
    for folder in sys.argv[1:]:
        check(folder)
