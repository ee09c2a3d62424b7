"""Nats per token of a Mamba-1 or Mamba-2 language model, from the papers, in plain Python.

An oracle for the compiled program: it shares no code with it, needs only the standard library, computes in
double precision, and goes through a record token by token with the recurrences as the papers print them.

    reference_forward.py CHECKPOINT_DIR SEQUENCES.fa [--per-record]

prints {"nats_per_token", "bits_per_token", "tokens"}; with --per-record also
"records": [{"name", "tokens", "nats"}], where "tokens" counts the scored targets of the record and "nats" is
their sum. Damaged or unsupported input is one line on stderr and exit code 1.

Sources: selective state spaces, arXiv 2312.00752 (algorithm 2, section 3.4, equation 4); state space duality,
arXiv 2405.21060 (sections 6 and 7.1); pools and shifted unpools of a U-Net, arXiv 2202.09729 (section 3.2); RMSNorm,
arXiv 1910.07467; the tensor names, the order of the fused
projections and the configuration keys are those of the public state-spaces/mamba checkpoints; safetensors:
its format page.
"""

import argparse
import gzip
import json
import math
import os
import struct
import sys
import zlib
from operator import mul

kNormEps = 1e-5
kTokenOf = {"A": 7, "C": 8, "G": 9, "T": 10}
kUnknownToken = 11


class BadInput(Exception):
    """The checkpoint or the sequences are damaged or not of a supported kind."""


# --- files ---


def read_safetensors(path):
    """{name: (shape, flat list of floats)}. Only F32; the data must fill the file without holes."""
    with open(path, "rb") as file:
        data = file.read()
    if len(data) < 8:
        raise BadInput(f"{path}: shorter than its header length")
    (header_bytes,) = struct.unpack_from("<Q", data)
    body = 8 + header_bytes
    if body > len(data):
        raise BadInput(f"{path}: header of {header_bytes} bytes in a file of {len(data)}")
    header = json.loads(data[8:body])
    header.pop("__metadata__", None)
    tensors, end_of_last = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        count = math.prod(entry["shape"])
        if entry["dtype"] != "F32":
            raise BadInput(f"{path}: {name}: dtype {entry['dtype']}, only F32 is read")
        if begin != end_of_last or end - begin != 4 * count or body + end > len(data):
            raise BadInput(f"{path}: {name}: bytes {begin} to {end} do not hold shape {entry['shape']}")
        tensors[name] = (tuple(entry["shape"]), list(struct.unpack_from(f"<{count}f", data, body + begin)))
        end_of_last = end
    if body + end_of_last != len(data):
        raise BadInput(f"{path}: {len(data) - body - end_of_last} bytes after the last tensor")
    return tensors


def read_fasta(path):
    """[(name, upper-case sequence)], plain or gzip. The name is the first word of the header."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    records = []
    for line in data.decode("ascii").splitlines():
        line = line.strip()
        if line.startswith(">"):
            records.append(((line[1:].split() or [""])[0], []))
        elif line and not records:
            raise BadInput(f"{path}: sequence before the first header")
        elif line:
            records[-1][1].append(line.upper())
    records = [(name, "".join(parts)) for name, parts in records]
    for name, sequence in records:
        if not sequence:
            raise BadInput(f"{path}: {name}: header without sequence")
    return records


def tokenize(sequence):
    """A 7, C 8, G 9, T 10; every other letter is an unknown base, 11."""
    return [kTokenOf.get(base, kUnknownToken) for base in sequence.upper()]


# --- arithmetic ---


def dot(a, b):
    return sum(map(mul, a, b))


def matvec(rows, x):
    return [dot(row, x) for row in rows]


def silu(x):
    return x / (1.0 + math.exp(-x)) if x >= 0 else x * math.exp(x) / (1.0 + math.exp(x))


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def rms_norm(x, weight):
    scale = 1.0 / math.sqrt(dot(x, x) / len(x) + kNormEps)
    return [v * scale * w for v, w in zip(x, weight)]


def log_sum_exp(x):
    top = max(x)
    return top + math.log(math.fsum(math.exp(v - top) for v in x))


def discretize(dt, a, zero_order_hold):
    """(A-bar, f) with B-bar = f B, a < 0: exp(dt a), and dt (Euler) or expm1(dt a)/a (zero-order hold)."""
    return math.exp(dt * a), (math.expm1(dt * a) / a if zero_order_hold else dt)


class CausalConv:
    """Depthwise y_t = bias + sum_k weight[k] x_(t-K+1+k), then SiLU; the state is the last K-1 inputs."""

    def __init__(self, weight, bias):
        self.weight = weight  # (channels, K)
        self.bias = bias if bias is not None else [0.0] * len(weight)
        self.recent = [[0.0] * (len(row) - 1) for row in weight]

    def step(self, x):
        out = []
        for c, value in enumerate(x):
            window = self.recent[c] + [value]
            out.append(silu(dot(self.weight[c], window) + self.bias[c]))
            self.recent[c] = window[1:]
        return out


# --- model ---


class Weights:
    """Tensors by name with their expected shapes; remembers which were asked for."""

    def __init__(self, tensors):
        self.tensors = tensors
        self.used = set()

    def vector(self, name, *shape):
        if name not in self.tensors:
            raise BadInput(f"{name}: missing")
        found, values = self.tensors[name]
        if found != shape:
            raise BadInput(f"{name}: expected shape {shape}, got {found}")
        self.used.add(name)
        return values

    def matrix(self, name, *shape):
        """As a list of rows over the first dimension."""
        values = self.vector(name, *shape)
        width = math.prod(shape[1:])
        return [values[r * width:(r + 1) * width] for r in range(shape[0])]

    def require_all_used(self):
        left = sorted(set(self.tensors) - self.used)
        if left:
            raise BadInput(f"{', '.join(left)}: not part of this model")


class Mamba1:
    """The selective scan: each inner channel has its own dt, N states and row of A; all share B_t and C_t."""

    kKeys = {"d_state": 16, "d_conv": 4, "expand": 2, "dt_rank": "auto", "conv_bias": True,
             "discretization": "euler"}

    def __init__(self, weights, prefix, d_model, options):
        self.n = options["d_state"]
        self.rank = math.ceil(d_model / 16) if options["dt_rank"] == "auto" else options["dt_rank"]
        self.inner = inner = int(options["expand"] * d_model)
        self.zero_order_hold = options["discretization"] == "zoh"
        taps = options["d_conv"]
        self.in_proj = weights.matrix(prefix + "in_proj.weight", 2 * inner, d_model)
        self.conv_weight = weights.matrix(prefix + "conv1d.weight", inner, 1, taps)
        self.conv_bias = weights.vector(prefix + "conv1d.bias", inner) if options["conv_bias"] else None
        self.x_proj = weights.matrix(prefix + "x_proj.weight", self.rank + 2 * self.n, inner)
        self.dt_proj = weights.matrix(prefix + "dt_proj.weight", inner, self.rank)
        self.dt_bias = weights.vector(prefix + "dt_proj.bias", inner)
        self.a = [[-math.exp(v) for v in row] for row in weights.matrix(prefix + "A_log", inner, self.n)]
        self.skip = weights.vector(prefix + "D", inner)
        self.out_proj = weights.matrix(prefix + "out_proj.weight", d_model, inner)

    def begin(self):
        self.conv = CausalConv(self.conv_weight, self.conv_bias)
        self.h = [[0.0] * self.n for _ in range(self.inner)]

    def step(self, u):
        xz = matvec(self.in_proj, u)
        x, z = self.conv.step(xz[:self.inner]), xz[self.inner:]
        projected = matvec(self.x_proj, x)
        low_rank = projected[:self.rank]
        b = projected[self.rank:self.rank + self.n]
        c = projected[self.rank + self.n:]
        y = []
        for d in range(self.inner):
            dt = softplus(dot(self.dt_proj[d], low_rank) + self.dt_bias[d])
            h = self.h[d]
            for n in range(self.n):
                decay, gain = discretize(dt, self.a[d][n], self.zero_order_hold)
                h[n] = decay * h[n] + gain * b[n] * x[d]
            y.append((dot(c, h) + self.skip[d] * x[d]) * silu(z[d]))
        return matvec(self.out_proj, y)


class Mamba2:
    """State space duality: head k of H has one A and one dt, and B and C of group k // (H/G)."""

    kKeys = {"d_state": 128, "d_conv": 4, "expand": 2, "headdim": 64, "ngroups": 1,
             "conv_bias": True, "discretization": "euler"}

    def __init__(self, weights, prefix, d_model, options):
        self.n, self.width, self.groups = options["d_state"], options["headdim"], options["ngroups"]
        self.inner = inner = int(options["expand"] * d_model)
        self.heads = inner // self.width
        if self.heads * self.width != inner or self.heads % self.groups:
            raise BadInput(f"inner width {inner}: no whole heads of {self.width} in {self.groups} groups")
        self.zero_order_hold = options["discretization"] == "zoh"
        self.convolved = inner + 2 * self.groups * self.n
        taps = options["d_conv"]
        convolved = self.convolved
        self.in_proj = weights.matrix(prefix + "in_proj.weight", inner + convolved + self.heads, d_model)
        self.conv_weight = weights.matrix(prefix + "conv1d.weight", convolved, 1, taps)
        self.conv_bias = weights.vector(prefix + "conv1d.bias", convolved) if options["conv_bias"] else None
        self.dt_bias = weights.vector(prefix + "dt_bias", self.heads)
        self.a = [-math.exp(v) for v in weights.vector(prefix + "A_log", self.heads)]
        self.skip = weights.vector(prefix + "D", self.heads)
        self.norm = weights.vector(prefix + "norm.weight", inner)
        self.out_proj = weights.matrix(prefix + "out_proj.weight", d_model, inner)

    def begin(self):
        self.conv = CausalConv(self.conv_weight, self.conv_bias)
        self.h = [[0.0] * self.n for _ in range(self.inner)]

    def step(self, u):
        inner, states = self.inner, self.groups * self.n
        projected = matvec(self.in_proj, u)
        z = projected[:inner]
        convolved = self.conv.step(projected[inner:inner + self.convolved])
        raw_dt = projected[inner + self.convolved:]
        x = convolved[:inner]
        b_all, c_all = convolved[inner:inner + states], convolved[inner + states:]
        y = []
        for k in range(self.heads):
            first = k // (self.heads // self.groups) * self.n
            b, c = b_all[first:first + self.n], c_all[first:first + self.n]
            dt = softplus(raw_dt[k] + self.dt_bias[k])
            decay, gain = discretize(dt, self.a[k], self.zero_order_hold)
            for p in range(k * self.width, (k + 1) * self.width):
                h = self.h[p] = [decay * v + gain * w * x[p] for v, w in zip(self.h[p], b)]
                y.append(dot(c, h) + self.skip[k] * x[p])
        gated = [v * silu(w) for v, w in zip(y, z)]
        size = inner // self.groups
        normed = []
        for i in range(0, inner, size):
            normed += rms_norm(gated[i:i + size], self.norm[i:i + size])
        return matvec(self.out_proj, normed)


# Keys that only choose how weights were drawn or which kernel runs: they change no value of the function.
kInert = {"A_init_range", "chunk_size", "conv_init", "dt_init", "dt_init_floor", "dt_max", "dt_min",
          "dt_scale", "use_fast_path", "use_mem_eff_path"}


class Stack:
    """Blocks on a residual stream, and a norm after them."""

    def __init__(self, weights, prefix, mixer, width, layers, options):
        self.layers = []
        for i in range(layers):
            norm = weights.vector(f"{prefix}layers.{i}.norm.weight", width)
            self.layers.append((norm, mixer(weights, f"{prefix}layers.{i}.mixer.", width, options)))
        self.final_norm = weights.vector(prefix + "norm_f.weight", width)

    def begin(self):
        for _, mixer in self.layers:
            mixer.begin()

    def streams(self, x):
        """The stream after 0, 1, ... blocks, and the last one after the norm."""
        found = [x]
        for norm, mixer in self.layers:
            found.append([r + v for r, v in zip(found[-1], mixer.step(rms_norm(found[-1], norm)))])
        return found + [rms_norm(found[-1], self.final_norm)]


class Stage:
    """A stage of a U-Net and those below: p rows side by side make one row of the next stage, whose output is added to
    the p rows after them."""

    def __init__(self, weights, config, ssm_cfg, i, width):
        self.pool = config["stage_pools"][i]
        self.width, self.inner_width = width, width * config["expand_width"][i]
        prefix, layers = f"backbone.stages.{i}.", config["n_layer"]
        mixer, options = mixer_and_options(config["stage_layers"][i], ssm_cfg, width // config["d_model"])
        self.down = Stack(weights, prefix + "down.", mixer, width, layers, options)
        self.up = Stack(weights, prefix + "up.", mixer, width, layers, options)
        self.into = weights.matrix(prefix + "pool.weight", self.inner_width, self.pool * width)
        self.into_bias = weights.vector(prefix + "pool.bias", self.inner_width)
        self.back = weights.matrix(prefix + "unpool.weight", self.pool * width, self.inner_width)
        self.back_bias = weights.vector(prefix + "unpool.bias", self.pool * width)
        if i + 1 < len(config["stage_pools"]):
            self.inner = Stage(weights, config, ssm_cfg, i + 1, self.inner_width)
        else:
            mixer, options = mixer_and_options(config["stage_layers"][i + 1], ssm_cfg, self.inner_width // config["d_model"])
            self.inner = Stack(weights, f"backbone.stages.{i + 1}.", mixer, self.inner_width, layers, options)

    def begin(self):
        for part in (self.down, self.inner, self.up):
            part.begin()
        self.group = []
        self.before = [0.0] * self.inner_width

    def streams(self, x):
        stream, normed = self.down.streams(x)[-2:]
        row = len(self.group) * self.width
        added = [dot(weights, self.before) + bias for weights, bias in
                 zip(self.back[row:row + self.width], self.back_bias[row:row + self.width])]
        self.group.append(normed)
        if len(self.group) == self.pool:
            together = sum(self.group, [])
            self.before = self.inner.streams([v + b for v, b in zip(matvec(self.into, together), self.into_bias)])[-1]
            self.group = []
        return self.up.streams([r + v for r, v in zip(stream, added)])[-1:]


def mixer_and_options(layer, ssm_cfg, times_wider):
    """The class of the layers and what they need of the configuration; a given rank grows with the width."""
    mixer = {"Mamba1": Mamba1, "Mamba2": Mamba2}[layer]
    options = {**mixer.kKeys, **{key: value for key, value in ssm_cfg.items() if key in mixer.kKeys}}
    if options.get("dt_rank", "auto") != "auto":
        options["dt_rank"] *= times_wider
    return mixer, options


class Model:
    """A language model: `begin` sets the zero state, `step` feeds a token and gives a logit per row."""

    def __init__(self, config, tensors):
        if not config.get("rms_norm", True):
            raise BadInput("rms_norm: only true is supported")
        if config.get("d_intermediate") or config.get("attn_layer_idx"):
            raise BadInput("d_intermediate, attn_layer_idx: hybrid models are not supported")
        ssm_cfg = dict(config.get("ssm_cfg") or {})
        layer = ssm_cfg.pop("layer", "Mamba1")
        if layer not in ("Mamba1", "Mamba2"):
            raise BadInput(f"ssm_cfg.layer: expected Mamba1 or Mamba2, got {layer}")
        layers = config.get("stage_layers", [layer])
        known = set().union(*({"Mamba1": Mamba1, "Mamba2": Mamba2}[name].kKeys for name in layers))
        unknown = sorted(set(ssm_cfg) - known - kInert)
        if unknown:
            raise BadInput(f"ssm_cfg: {', '.join(unknown)}: not supported for {', '.join(layers)}")
        if ssm_cfg.get("discretization", "euler") not in ("euler", "zoh"):
            raise BadInput(f"ssm_cfg.discretization: expected euler or zoh, got {ssm_cfg['discretization']}")
        backbone = config.get("backbone", "flat")
        if backbone not in ("flat", "unet"):
            raise BadInput(f"backbone: expected flat or unet, got {backbone}")

        width = config["d_model"]
        multiple = config.get("pad_vocab_size_multiple", 8)
        rows = -(-config["vocab_size"] // multiple) * multiple
        weights = Weights(tensors)
        self.embedding = weights.matrix("backbone.embedding.weight", rows, width)
        if backbone == "unet":
            self.backbone = Stage(weights, config, ssm_cfg, 0, width)
        else:
            mixer, options = mixer_and_options(layer, ssm_cfg, 1)
            self.backbone = Stack(weights, "backbone.", mixer, width, config["n_layer"], options)
        tied = config.get("tie_embeddings", True)
        self.head = self.embedding if tied else weights.matrix("lm_head.weight", rows, width)
        weights.require_all_used()

    def begin(self):
        self.backbone.begin()

    def streams(self, token):
        """Feeds a token; the residual stream after 0, 1, ... blocks, and the last one after the final norm. Of a U-Net only the
        latter."""
        return self.backbone.streams(self.embedding[token])

    def step(self, token):
        return matvec(self.head, self.streams(token)[-1])


def load_model(folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    return Model(config, read_safetensors(os.path.join(folder, "model.safetensors")))


# --- scores ---


def record_nats(model, tokens):
    """(scored targets, sum of -ln p) from the zero state; targets are tokens 2..n, unknown bases left out."""
    model.begin()
    losses = []
    for token, target in zip(tokens, tokens[1:]):
        logits = model.step(token)
        if target != kUnknownToken:
            losses.append(log_sum_exp(logits) - logits[target])
    return len(losses), math.fsum(losses)


def evaluate(model, records):
    """The object that is printed, with its "records"."""
    rows = []
    for name, sequence in records:
        count, nats = record_nats(model, tokenize(sequence))
        rows.append({"name": name, "tokens": count, "nats": nats})
    tokens = sum(row["tokens"] for row in rows)
    if tokens == 0:
        raise BadInput("no known base after the first of any record: nothing to score")
    per_token = math.fsum(row["nats"] for row in rows) / tokens
    return {"nats_per_token": per_token, "bits_per_token": per_token / math.log(2), "tokens": tokens,
            "records": rows}


def main():
    parser = argparse.ArgumentParser(description="Nats per token of a Mamba checkpoint on a FASTA file.")
    parser.add_argument("checkpoint", help="folder with config.json and model.safetensors")
    parser.add_argument("fasta", help="sequences, plain or gzip")
    parser.add_argument("--per-record", action="store_true", help="also print the nats of every record")
    options = parser.parse_args()
    try:
        result = evaluate(load_model(options.checkpoint), read_fasta(options.fasta))
    except KeyError as error:
        sys.exit(f"reference_forward: config.json or the tensor table lacks {error}")
    except (BadInput, OSError, EOFError, ValueError, zlib.error) as error:
        sys.exit(f"reference_forward: {error}")
    if not options.per_record:
        del result["records"]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
