#!/usr/bin/env bash
# plan, selftest and bench.
. "$(dirname "$0")/lib.sh"

model=(--domain dna --d-model 32 --layers 2 --length 16384 --batch 1)
succeeds "$ADDER" plan "${model[@]}" --tile 1024 --json
[ "$(wc -l <"$W/out")" -eq 1 ] || wrong "expected one JSON object on one line"
[ "$(json tile) $(json keep) $(json tiles)" = "1024 1 16" ] || wrong "expected 16 tiles of 1024, one kept"
for key in memory_bytes step_flops tokens_per_s hours largest_batch largest_length; do
    awk -v x="$(json $key)" 'BEGIN { exit !(x > 0) }' || wrong "expected a positive $key"
done
tiled=$(json memory_bytes)
succeeds "$ADDER" plan "${model[@]}" --json
[ "$(json tiles)" -eq 1 ] || wrong "what fits is one tile"
[ "$(json memory_bytes)" -gt $((3 * tiled)) ] || wrong "one tile of 16384 needs more than 3 times the memory of 1024"
succeeds "$ADDER" plan "${model[@]}" --memory 16MiB --json
[ "$(json memory_bytes)" -le $((16 << 20)) ] || wrong "the plan must fit into --memory"
[ "$(json tiles)" -gt 1 ] || wrong "one tile does not fit into 16 MiB"
succeeds "$ADDER" plan "${model[@]}"
says '^memory '
# Of a length warm-up the stage that takes most counts: the first, whose 64 rows have a state each at every border.
warm=(plan --domain dna --d-model 32 --layers 2 --length 16384 --batch 1 --tile 1024 --length-warmup 5:256)
succeeds "$ADDER" "${warm[@]}" --json
[ "$(json memory_bytes)" -gt "$tiled" ] || wrong "the first stage of a warm-up takes more"
[ "$(json tile) $(json tiles)" = "1024 16" ] || wrong "expected the tiles of the last stage"
most=$(json memory_bytes)
succeeds "$ADDER" "${warm[@]}"
says "^memory   $(awk -v b="$most" 'BEGIN { printf "%.1f MiB", b / 1048576 }'):"
refused 1 'memory' "$ADDER" plan "${model[@]}" --memory 100KiB
# The need of the cheapest tiles, where it is, what would fit, and this command's own options.
refused 1 '1.0 MiB of memory are too little: 1 x 16384 tokens in tiles of [0-9]+ need [0-9.]+ MiB, the most of it, .* hint: another --memory' \
    "$ADDER" plan "${model[@]}" --memory 1MiB
# A length that is offered is accepted, and not much more.
small=(plan --domain dna --d-model 64 --layers 2 --batch 1 --memory 100MiB)
refused 1 '; a length of [0-9]+ at this batch fits; ' "$ADDER" "${small[@]}" --length 3000000
offered=$(sed -nE 's/.*; a length of ([0-9]+) at this batch fits; .*/\1/p' "$W/err")
succeeds "$ADDER" "${small[@]}" --length "${offered:-0}"
refused 1 "; a length of $offered at this batch fits; " "$ADDER" "${small[@]}" --length $((${offered:-0} * 11 / 10))
# Where tiles were asked for that need more, what fits is said without them.
refused 1 ' at this batch or a batch of [0-9]+ at this length fits without --tile and --keep; ' \
    "$ADDER" "${small[@]}" --length 100000 --tile 100000
succeeds "$ADDER" plan "${model[@]}" --tile 1024 --valid-fraction 0.1 --json
[ "$(json memory_bytes)" -gt "$tiled" ] || wrong "the scoring of what is held out takes memory too"
[ "$(json evaluation)" -gt 0 ] || wrong "and is an arena of its own"
fails_after_log 1 'memory' "$ADDER" train "${model[@]}" --input "$phage" --out "$W/x" --memory 100KiB
[ -e "$W/x" ] && wrong "a refused run left its folder"
refused 2 '--memory' "$ADDER" plan "${model[@]}" --memory lots
refused 1 'cuda' "$ADDER" plan --device cuda
# The plan is what train uses.
succeeds "$ADDER" train "${model[@]}" --input "$phage" --tile 1024 --steps 1 --out "$W/run"
logs '16 tiles of 1024, 1 kept'

succeeds "$ADDER" selftest --threads 3
[ "$(grep -c ' ok$' "$W/out")" -eq "$(($(wc -l <"$W/out") - 1))" ] || wrong "expected one line an op, all ok"
for op in conv1d embedding gemm norm scan ssd gated_norm cross_entropy adamw grad_norm sample; do says "^$op .*ok$"; done
for isa in $("$ADDER" info --json | sed -E 's/.*"isas":\[([^]]*)\].*/\1/; s/[",]/ /g'); do
    succeeds "$ADDER" selftest --isa "$isa" --threads 1
    logs "isa $isa, threads 1"
done
refused 1 "isa 'altivec'" "$ADDER" selftest --isa altivec
refused 1 'cuda' "$ADDER" selftest --device cuda

succeeds "$ADDER" bench grad_norm --repeats 1 --json
for key in case device isa threads fwd_ms bwd_ms ref_ms bytes flops; do says "\"$key\":"; done
awk '!/^\{.*\}$/ { bad = 1 } END { exit bad }' "$W/out" || wrong "expected one object a line"
succeeds "$ADDER" bench grad_norm --repeats 1
says 'GB/s'
succeeds "$ADDER" bench decode_cuda_graph --filter 'mamba1 d128 n4 B1' --repeats 1 --json --threads 1
says '^\{"case":"decode_cuda_graph","layer":"Mamba1","d":128,"n":4,"B":1,"params":468608,'
says '"tok_s":[0-9]'
grep -q '"L":' "$W/out" && wrong "decoding has no length"
tiny=(--mixer mamba2 --d-model 16 --layers 1 --batch 2 --length 64 --repeats 1 --json)
for what in train_step embed_forward; do
    succeeds "$ADDER" bench $what "${tiny[@]}"
    says "^\{\"case\":\"$what\",\"layer\":\"Mamba2\",\"d\":16,\"n\":1,\"B\":2,\"L\":64,.*\"device\":\"cpu\".*\"dtype\":\"f32\"\}"
    [ "$(wc -l <"$W/out")" -eq 1 ] || wrong "one model was asked for"
done
succeeds "$ADDER" bench loader --filter L1024 --repeats 1 --json
awk -v x="$(json tok_s)" 'BEGIN { exit !(x > 1e7) }' || wrong "windows and packing must not hold a GPU up"
refused 2 "not for 'scan'" "$ADDER" bench scan --d-model 16
refused 2 "from 1 to 65536 for decode_cuda_graph, got '65537'" "$ADDER" bench decode_cuda_graph --batch 65537
refused 2 "unknown op 'scna'; the nearest is 'scan'" "$ADDER" bench scna
refused 2 'op' "$ADDER" bench
refused 1 'no case' "$ADDER" bench scan --filter nothing
refused 1 'in_proj_step has no timed case on cpu' "$ADDER" bench in_proj_step
refused 1 'cuda' "$ADDER" bench scan --device cuda
refused 2 'dtype: expected f32' "$ADDER" bench scan --dtype bf16

for mixer in mamba1 mamba2; do
    succeeds "$ADDER" train --profile --domain dna --input "$phage" --mixer $mixer --d-model 18 --layers 1 --length 300 --batch 1
    says 'linear_backward_input'
    says 'calls x isolated time explain [0-9.]+ % of it'
done
refused 2 'takes no --out' "$ADDER" train --profile --domain dna --input "$phage" --out "$W/never"

finish
