#!/usr/bin/env bash
# tests/gpu.sh misses what was not checked, and what falls short of its figure.
. "$(dirname "$0")/lib.sh"
script=$ADDER_SOURCE_DIR/tests/gpu.sh

# A program that succeeds and says nothing, and no tests.
mkdir "$W/empty"
printf '#!/bin/sh\n' >"$W/empty/adder"
chmod +x "$W/empty/adder"
mkdir "$W/bin"
printf '#!/bin/sh\nexit 1\n' >"$W/bin/nvidia-smi"
chmod +x "$W/bin/nvidia-smi"
PATH=$W/bin:$PATH
for part in ops portable model train huge bench peers; do
    run bash "$script" --build "$W/empty" --portable "$W/empty" $part
    [ "$rc" -eq 1 ] || wrong "part $part of an empty folder must be a miss"
    says '^0 ok, 0 skipped, [1-9][0-9]* missed'
done
run bash "$script" --build "$W/none" ops
[ "$rc" -eq 1 ] || wrong "a folder that is not there must be a miss"
logs 'is missing; hint: '
succeeds bash "$script" --build "$W/empty" --allow-skip ops
says '^0 ok, 1 skipped, 0 missed'

# judge WHAT VERDICT ROW: beside the peers of $W/peers.
judge() {
    echo "$3" | awk -v what="$1" -v peers="$W/peers" -v absent=MISS -f "$ADDER_SOURCE_DIR/tests/gpu_peers.awk" >"$W/out"
    [ "$(cut -f 1 "$W/out" | tr '\n' ' ')" = "$2 " ] || wrong "expected $2 of $3"
}
size='"layer":"Mamba1","d":128,"n":4,"B":64,"L":1024'
cat >"$W/peers" <<TEXT
{"case": "train_step", ${size//:/: }, "tok_s": 3000000}
{"case": "embed_forward", ${size//:/: }, "tok_s": 500000}
{"case": "embed_forward_graph", ${size//:/: }, "tok_s": 1000000}
{"case": "decode_cuda_graph", ${size//:/: }, "tok_s": 1000}
TEXT
fine='"idle_pct":0.4,"idle_steps":224,"parity_max_rel":0.001,"parity":true'
judge train_step ok "{\"case\":\"train_step\",$size,\"tok_s\":8000000.0,$fine}"
judge train_step MISS "{\"case\":\"train_step\",$size,\"tok_s\":2900000.0,$fine}"
judge train_step MISS "{\"case\":\"train_step\",$size,\"tok_s\":8000000.0,${fine/0.4/10.5}}"
judge train_step MISS "{\"case\":\"train_step\",$size,\"tok_s\":8000000.0,${fine/224/64}}"
judge train_step MISS "{\"case\":\"train_step\",$size,\"tok_s\":8000000.0,${fine/true/false}}"
judge train_step 'ok MISS' "{\"case\":\"train_step\",${size/Mamba1/Mamba2},\"tok_s\":8000000.0,$fine}"
judge embed_forward MISS "{\"case\":\"embed_forward\",$size,\"tok_s\":700000.0}"
judge embed_forward ok "{\"case\":\"embed_forward\",$size,\"tok_s\":1000000.0}"
judge decode_cuda_graph MISS "{\"case\":\"decode_cuda_graph\",$size,\"tok_s\":1499.0}"
judge decode_cuda_graph ok "{\"case\":\"decode_cuda_graph\",$size,\"tok_s\":1500.0}"
judge loader MISS '{"case":"loader","B":1,"L":1024,"tok_s":19000000.0}'
judge loader ok '{"case":"loader","B":1,"L":1024,"tok_s":21000000.0}'
long=${size/64,\"L\":1024/1,\"L\":131072}
echo "{\"case\": \"embed_forward\", $long, \"tok_s\": 1}" >"$W/peers"
judge embed_forward 'ok MISS' "{\"case\":\"embed_forward\",$long,\"tok_s\":1.0,\"peak_GB\":1.0}"$'\n'"{\"case\":\"embed_forward\",${long/131072/1048576},\"tok_s\":1.0,\"peak_GB\":1.2}"
rm "$W/peers"
judge embed_forward MISS "{\"case\":\"embed_forward\",$size,\"tok_s\":1000000.0}"

# The table of the ops names every pass.
printf '%s\n' '{"case":"scan B1 L8 D4 N2","fwd_ms":0.5,"bwd_ms":1.0,"bytes":3000000,"flops":0,"fwd_bytes":1000000,"fwd_flops":0,"fwd_pct_floor":4,"bwd_pct_floor":5}' \
    '{"case":"grad_norm (3, 2, 1)","fwd_ms":0.0,"bwd_ms":0.0,"bytes":1000,"flops":2000,"fwd_bytes":0,"fwd_flops":0,"step_ms":0.01,"pct_floor":7}' >"$W/ops"
echo '{"case": "mamba1_scan", "B": 1, "D": 4, "L": 8, "N": 2, "fwd_ms": 1.0, "bwd_ms": 0.5}' >"$W/peers"
run awk -v peers="$W/peers" -f "$ADDER_SOURCE_DIR/tests/gpu_ops_table.awk" "$W/ops"
says '^\| scan B1 L8 D4 N2 \| forward \| 0.5 \| 2 \| - \| 4 \| 1 \| 2.00 \|$'
says '^\| scan B1 L8 D4 N2 \| backward \| 1 \| 2 \| - \| 5 \| 0.5 \| 0.50 \|$'
says '^\| grad_norm \(3, 2, 1\) \| step \| 0.01 \| 0 \| 0.0 \| 7 \| - \| - \|$'

finish
