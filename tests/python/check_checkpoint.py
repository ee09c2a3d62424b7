"""check_checkpoint.py [--adder BINARY --fasta FILE] CHECKPOINT...

The safetensors package loads model.safetensors, and its tensors are those that state-spaces/mamba's MambaLMHeadModel of
config.json has (github.com/state-spaces/mamba, mamba_ssm/models and modules). With a binary and sequences, `adder eval`
gives the nats per token that reference_forward.py gives, to 1e-5.

Needs the packages `safetensors` and `numpy`.
"""
import argparse
import json
import math
import os
import subprocess

import numpy
from safetensors import safe_open

import reference_forward

kNatsTolerance = 1e-5


def expected_shapes(c):
    """Name -> shape, from the constructors of MambaLMHeadModel, Mamba and Mamba2."""
    ssm = c["ssm_cfg"]
    d_model, expand, n, k = c["d_model"], ssm["expand"], ssm["d_state"], ssm["d_conv"]
    d_inner = expand * d_model
    multiple = c["pad_vocab_size_multiple"]
    vocab = (c["vocab_size"] + multiple - 1) // multiple * multiple
    shapes = {"backbone.embedding.weight": (vocab, d_model), "backbone.norm_f.weight": (d_model,)}
    if not c["tie_embeddings"]:
        shapes["lm_head.weight"] = (vocab, d_model)
    for i in range(c["n_layer"]):
        block = f"backbone.layers.{i}."
        mixer = block + "mixer."
        shapes[block + "norm.weight"] = (d_model,)
        shapes[mixer + "out_proj.weight"] = (d_model, d_inner)
        if ssm["layer"] == "Mamba1":
            rank = ssm.get("dt_rank", math.ceil(d_model / 16))
            conv_channels = d_inner
            shapes.update({mixer + "in_proj.weight": (2 * d_inner, d_model),
                           mixer + "x_proj.weight": (rank + 2 * n, d_inner),
                           mixer + "dt_proj.weight": (d_inner, rank), mixer + "dt_proj.bias": (d_inner,),
                           mixer + "A_log": (d_inner, n), mixer + "D": (d_inner,)})
        else:
            heads = d_inner // ssm["headdim"]
            conv_channels = d_inner + 2 * ssm["ngroups"] * n
            shapes.update({mixer + "in_proj.weight": (d_inner + conv_channels + heads, d_model),
                           mixer + "dt_bias": (heads,), mixer + "A_log": (heads,), mixer + "D": (heads,),
                           mixer + "norm.weight": (d_inner,)})
        shapes[mixer + "conv1d.weight"] = (conv_channels, 1, k)
        if ssm.get("conv_bias", True):
            shapes[mixer + "conv1d.bias"] = (conv_channels,)
    return shapes


def check(folder):
    with open(os.path.join(folder, "config.json")) as f:
        expected = expected_shapes(json.load(f))
    with safe_open(os.path.join(folder, "model.safetensors"), framework="numpy") as f:
        found = {name: f.get_tensor(name) for name in f.keys()}
    assert set(found) == set(expected), (f"{folder}: missing {sorted(set(expected) - set(found))}, "
                                         f"surplus {sorted(set(found) - set(expected))}")
    for name, tensor in found.items():
        assert tensor.dtype == numpy.float32, f"{folder}: {name} is {tensor.dtype}, expected float32"
        assert tensor.shape == expected[name], f"{folder}: {name} is {tensor.shape}, expected {expected[name]}"
        assert numpy.isfinite(tensor).all(), f"{folder}: {name} has values that are not finite"
        assert tensor.std() > 0 or tensor.ndim == 1, f"{folder}: {name} is constant"
    print(f"{folder}: {len(found)} tensors, {sum(t.size for t in found.values())} values")


def check_nats(folder, adder, fasta):
    command = [adder, "eval", "--checkpoint", folder, "--input", fasta, "--json"]
    own = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)
    expected = reference_forward.evaluate(reference_forward.load_model(folder), reference_forward.read_fasta(fasta))
    difference = abs(own["nats_per_token"] - expected["nats_per_token"])
    assert own["tokens"] == expected["tokens"], f"{folder}: {own['tokens']} tokens, expected {expected['tokens']}"
    assert difference <= kNatsTolerance, (f"{folder}: {own['nats_per_token']} nats per token, the reference has "
                                          f"{expected['nats_per_token']}")
    print(f"{folder}: nats per token differ by {difference:.1e} from the reference's")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--adder")
    parser.add_argument("--fasta")
    parser.add_argument("checkpoints", nargs="+")
    options = parser.parse_args()
    for checkpoint in options.checkpoints:
        check(checkpoint)
        if options.adder:
            check_nats(checkpoint, options.adder, options.fasta)
