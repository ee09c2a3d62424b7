"""Writes the golden checkpoints, sequences and expected losses beside this script; README.md says what for.

    make_golden.py [FOLDER]

Plain Python, no dependency. Weights and sequences have the same bytes on every machine: they come from
integer arithmetic and IEEE products and sums alone. The expected losses may differ in their last digit with
the C library.
"""

import json
import math
import os
import struct
import sys

kHere = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(kHere, "..", "python"))

import reference_forward

# Halving any tensor must move the loss by at least this many nats per token: ten times the tolerance of the
# comparison, so that none can be dropped or misplaced unnoticed.
kVisibleNats = 1e-4

kShared = {"d_intermediate": 0, "vocab_size": 12, "attn_layer_idx": [], "attn_cfg": {}, "rms_norm": True,
           "residual_in_fp32": True, "fused_add_norm": True, "tie_embeddings": True}

# Sizes are small, and odd where an implementation could lean on a multiple of 4, 8 or 16.
kCheckpoints = {
    "mamba1": {
        "d_model": 16, "n_layer": 2, "pad_vocab_size_multiple": 8,
        "ssm_cfg": {"layer": "Mamba1", "d_state": 5, "d_conv": 4, "expand": 2, "dt_rank": 3,
                    "conv_bias": True}},
    "mamba1_zoh": {
        "d_model": 18, "n_layer": 2, "pad_vocab_size_multiple": 8,
        "ssm_cfg": {"layer": "Mamba1", "d_state": 4, "d_conv": 3, "expand": 2, "dt_rank": "auto",
                    "conv_bias": False, "discretization": "zoh"}},
    "mamba2": {
        "d_model": 16, "n_layer": 2, "pad_vocab_size_multiple": 16,
        "ssm_cfg": {"layer": "Mamba2", "d_state": 6, "d_conv": 4, "expand": 2, "headdim": 8, "ngroups": 2,
                    "conv_bias": True}},
    "mamba2_zoh": {
        "d_model": 18, "n_layer": 2, "pad_vocab_size_multiple": 16,
        "ssm_cfg": {"layer": "Mamba2", "d_state": 5, "d_conv": 3, "expand": 2, "headdim": 6, "ngroups": 3,
                    "conv_bias": False, "discretization": "zoh"}},
    "unet": {
        "backbone": "unet", "d_model": 10, "n_layer": 1, "pad_vocab_size_multiple": 8, "stage_pools": [3, 2],
        "expand_width": [2, 1], "stage_layers": ["Mamba1", "Mamba2", "Mamba1"],
        "ssm_cfg": {"layer": "Mamba1", "d_state": 5, "d_conv": 4, "expand": 2, "dt_rank": 2, "headdim": 8,
                    "ngroups": 1, "conv_bias": True}},
}


class Generator:
    """splitmix64 (Steele, Lea, Flood, OOPSLA 2014)."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        mask = (1 << 64) - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    def uniform(self, low, high):
        return low + (high - low) * ((self.next() >> 40) * 2.0 ** -24)


def shapes_and_ranges(config):
    """[(name, shape, low, high)]: the tensors of a checkpoint and where their values lie.

    The ranges keep every part of the model at work: decays exp(dt A) from 0.99 down to 0.01, so that states
    are felt over long and short spans; norms and D away from 1; activations of order one.
    """
    width, multiple = config["d_model"], config["pad_vocab_size_multiple"]
    rows = -(-config["vocab_size"] // multiple) * multiple
    tensors = [("backbone.embedding.weight", (rows, width), -0.5, 0.5)]
    if config.get("backbone") != "unet":
        return sorted(tensors + stack("backbone.", config, config["ssm_cfg"]["layer"], width))
    for i, layer in enumerate(config["stage_layers"]):
        prefix = f"backbone.stages.{i}."
        if i == len(config["stage_pools"]):
            tensors += stack(prefix, config, layer, width)
            continue
        wide, inner = config["stage_pools"][i] * width, config["expand_width"][i] * width
        tensors += stack(prefix + "down.", config, layer, width) + stack(prefix + "up.", config, layer, width)
        tensors += [(prefix + "pool.weight", (inner, wide), -0.5, 0.5), (prefix + "pool.bias", (inner,), -0.5, 0.5),
                    (prefix + "unpool.weight", (wide, inner), -0.5, 0.5), (prefix + "unpool.bias", (wide,), -0.5, 0.5)]
        width = inner
    return sorted(tensors)


def stack(prefix, config, layer, width):
    """The tensors of blocks of one width and of the norm after them."""
    cfg = config["ssm_cfg"]
    n, taps, inner = cfg["d_state"], cfg["d_conv"], cfg["expand"] * width
    first = layer == "Mamba1"
    heads = 0 if first else inner // cfg["headdim"]
    convolved = inner if first else inner + 2 * cfg["ngroups"] * n
    fused = 2 * inner if first else inner + convolved + heads
    mixer = [("in_proj.weight", (fused, width), -0.5, 0.5),
             ("conv1d.weight", (convolved, 1, taps), -0.75, 0.75),
             ("out_proj.weight", (width, inner), -0.5, 0.5)]
    if cfg["conv_bias"]:
        mixer.append(("conv1d.bias", (convolved,), -0.5, 0.5))
    if first:
        rank = cfg["dt_rank"] * width // config["d_model"] if cfg["dt_rank"] != "auto" else -(-width // 16)
        mixer += [("x_proj.weight", (rank + 2 * n, inner), -0.5, 0.5),
                  ("dt_proj.weight", (inner, rank), -0.5, 0.5), ("dt_proj.bias", (inner,), -4.0, 0.5),
                  ("A_log", (inner, n), -2.0, 1.5), ("D", (inner,), -1.0, 1.5)]
    else:
        mixer += [("dt_bias", (heads,), -4.0, 0.5), ("A_log", (heads,), -2.0, 1.5),
                  ("D", (heads,), -1.0, 1.5), ("norm.weight", (inner,), 0.25, 1.75)]
    tensors = [(prefix + "norm_f.weight", (width,), 0.25, 1.75)]
    for i in range(config["n_layer"]):
        tensors.append((f"{prefix}layers.{i}.norm.weight", (width,), 0.25, 1.75))
        tensors += [(f"{prefix}layers.{i}.mixer.{name}", *rest) for name, *rest in mixer]
    return tensors


def safetensors_bytes(tensors):
    """[(name, shape, packed F32 bytes)] as a safetensors file, its header padded to a multiple of 8 bytes."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, packed in tensors:
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + len(packed)]}
        offset += len(packed)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(packed for _, _, packed in tensors)


def fasta_text(generator):
    """Three records: plain bases over several lines; N, an ambiguity code and lower case; a single base."""
    plain = "".join("ACGT"[generator.next() % 4] for _ in range(150))
    masked = list("".join("ACGT"[generator.next() % 4] for _ in range(73)))
    for position in (0, 19, 20, 21, 40):
        masked[position] = "N"
    masked[55] = "R"
    masked[30:50] = "".join(masked[30:50]).lower()
    lines = [">plain 150 bases"] + [plain[i:i + 60] for i in range(0, 150, 60)]
    lines += [">masked N R and lower case", "".join(masked), ">single", "G"]
    return "\n".join(lines) + "\n"


def require_visible(name, config, tensors, records):
    """Halves each tensor in turn: one that hardly moves the loss would not be tested by it."""
    def loss(weights):
        return reference_forward.evaluate(reference_forward.Model(config, weights), records)["nats_per_token"]

    base = loss(tensors)
    for tensor, (shape, values) in tensors.items():
        moved = abs(loss({**tensors, tensor: (shape, [v / 2 for v in values])}) - base)
        if moved < kVisibleNats:
            sys.exit(f"{name}: halving {tensor} moves the nats per token by only {moved:.1e}")


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else kHere
    fasta = os.path.join(out, "sequence.fa")
    os.makedirs(out, exist_ok=True)
    with open(fasta, "w", encoding="ascii", newline="\n") as file:
        file.write(fasta_text(Generator(4)))
    records = reference_forward.read_fasta(fasta)
    for seed, (name, part) in enumerate(sorted(kCheckpoints.items()), start=101):
        config = {**kShared, **part}
        generator = Generator(seed)
        tensors = []
        for tensor, shape, low, high in shapes_and_ranges(config):
            values = [generator.uniform(low, high) for _ in range(math.prod(shape))]
            tensors.append((tensor, shape, struct.pack(f"<{len(values)}f", *values)))
        folder = os.path.join(out, name)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "config.json"), "w", encoding="ascii", newline="\n") as file:
            file.write(json.dumps(config, indent=2) + "\n")
        path = os.path.join(folder, "model.safetensors")
        with open(path, "wb") as file:
            file.write(safetensors_bytes(tensors))
        require_visible(name, config, reference_forward.read_safetensors(path), records)
        expected = reference_forward.evaluate(reference_forward.load_model(folder), records)
        with open(os.path.join(folder, "expected.json"), "w", encoding="ascii", newline="\n") as file:
            file.write(json.dumps(expected, indent=2) + "\n")
        print(f"{name}: {expected['nats_per_token']:.6f} nats per token over {expected['tokens']}")


if __name__ == "__main__":
    main()
