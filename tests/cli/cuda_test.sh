#!/usr/bin/env bash
# The commands on a GPU; without one, that this is said at once.
ON_GPU=1
. "$(dirname "$0")/lib.sh"

losses() { sed 's/, "tokens_per_s".*//' "$1/metrics.jsonl"; }
last() { printf '%s/step-%08d' "$1" "$2"; }
same_weights() {
    same "$(last "$1" "$3")/model.safetensors" "$(last "$2" "$3")/model.safetensors"
    same "$(last "$1" "$3")/trainer.safetensors" "$(last "$2" "$3")/trainer.safetensors"
}

if ! run "$ADDER" eval --device cuda --checkpoint "$W/none" --input "$W/none" || ! grep -q '^device cuda: ' "$W/err"; then
    refused 1 '^adder: --device cuda: .*hint: ' "$ADDER" train --domain dna --input "$W/none" --out "$W/x" --device cuda
    for command in "eval --checkpoint $W/none --input $W/none" "generate --checkpoint $W/none --tokens 9 --out $W/x" plan \
        selftest "bench train_step"; do
        # shellcheck disable=SC2086
        refused 1 '^adder: --device cuda: .*hint: ' "$ADDER" $command --device cuda
    done
    [ -e "$W/x" ] && wrong "a refused command left its output"
    # The device by default is then the processor.
    succeeds "$ADDER" plan --print-config
    [ "$(sed -nE 's/.*"(device|dtype)": "([a-z0-9]+)".*/\2/p' "$W/out" | tr '\n' ' ')" = "f32 cpu " ] ||
        wrong "expected the CPU and f32 where there is no GPU"
    refused 2 'dtype: expected f32' "$ADDER" plan --dtype bf16
    [ "$failures" -gt 0 ] || echo "skipped: no GPU: $(tail -n 1 "$W/err")"
    finish
fi

options=(--domain dna --input "$phage" --d-model 16 --layers 1 --d-state 8 --length 128 --batch 2 --seed 3)
for mixer in mamba1 mamba2 unet; do
    model=(--mixer $mixer)
    [ $mixer = unet ] && model=(--backbone unet --mixer mamba1)
    # bf16 on the GPU unless something else is asked for; the CPU in f32 is close, the GPU in f32 closer.
    train=(train "${options[@]}" "${model[@]}" --steps 6 --valid-fraction 0.05 --eval-every 3)
    succeeds "$ADDER" "${train[@]}" --out "$W/$mixer"
    logs '^device cuda: '
    logs 'CUDA and its libraries'
    succeeds "$ADDER" "${train[@]}" --out "$W/$mixer-f32" --dtype f32
    succeeds "$ADDER" "${train[@]}" --out "$W/$mixer-cpu" --device cpu
    of_cpu=$(sed -n 's/.*"valid_loss": *\([^,}]*\).*/\1/p' "$W/$mixer-cpu/metrics.jsonl" | tail -n 1)
    of_f32=$(sed -n 's/.*"valid_loss": *\([^,}]*\).*/\1/p' "$W/$mixer-f32/metrics.jsonl" | tail -n 1)
    of_bf16=$(sed -n 's/.*"valid_loss": *\([^,}]*\).*/\1/p' "$W/$mixer/metrics.jsonl" | tail -n 1)
    close "$of_f32" "$of_cpu" 1e-5
    close "$of_bf16" "$of_cpu" 5e-3
    [ "$of_f32" = "$of_bf16" ] && wrong "bf16 and f32 gave the same number"

    # Stopped and resumed: the same bits.
    succeeds "$ADDER" "${train[@]}" --out "$W/$mixer-stopped" --stop-after 2
    succeeds "$ADDER" train --out "$W/$mixer-stopped" --resume
    grep -q 'exact only to rounding' "$W/err" && wrong "nothing changed between stop and resume"
    same_weights "$W/$mixer" "$W/$mixer-stopped" 6
    [ "$(losses "$W/$mixer")" = "$(losses "$W/$mixer-stopped")" ] || wrong "the metrics differ after a stop"
    for keep in 0 1 9; do succeeds "$ADDER" "${train[@]}" --tile 32 --keep "$keep" --out "$W/$mixer-keep$keep"; done
    same_weights "$W/$mixer-keep0" "$W/$mixer-keep1" 6
    same_weights "$W/$mixer-keep0" "$W/$mixer-keep9" 6

    # To the processor and back, with a word.
    succeeds "$ADDER" "${train[@]}" --out "$W/$mixer-moves" --stop-after 2
    succeeds "$ADDER" train --out "$W/$mixer-moves" --resume --stop-after 4 --device cpu
    logs 'exact only to rounding: device: was "cuda", is "cpu".*dtype: was "bf16", is "f32"'
    succeeds "$ADDER" train --out "$W/$mixer-moves" --resume
    logs 'exact only to rounding: device: was "cpu", is "cuda"'
    logs 'finished 6 steps'
    refused 1 '--dtype' "$ADDER" train --out "$W/$mixer-f32" --resume --dtype bf16
    succeeds "$ADDER" info --checkpoint "$W/$mixer" --json
    for pair in device:cuda dtype:bf16 finished:true; do
        [ "$(json "${pair%%:*}")" = "${pair#*:}" ] || wrong "expected ${pair%%:*} to be ${pair#*:}"
    done

    # Scores and records do not depend on where they are made.
    score=(eval --checkpoint "$W/$mixer" --input "$phage" --valid-fraction 0.05 --json)
    succeeds "$ADDER" "${score[@]}" --device cpu
    nats=$(json nats_per_token)
    succeeds "$ADDER" "${score[@]}" --dtype f32
    close "$(json nats_per_token)" "$nats" 1e-5
    succeeds "$ADDER" "${score[@]}"
    close "$(json nats_per_token)" "$of_bf16" 1e-9
    close "$(json nats_per_token)" "$nats" 5e-3
    write=(generate --checkpoint "$W/$mixer" --tokens 60 --seed 7 --prompt ACGTACGTA --overwrite)
    succeeds "$ADDER" "${write[@]}" --num 3 --out "$W/one.fa" --batch 1 --dtype f32
    succeeds "$ADDER" "${write[@]}" --num 3 --out "$W/three.fa" --dtype f32
    same "$W/one.fa" "$W/three.fa"
    succeeds "$ADDER" "${write[@]}" --num 3 --out "$W/cpu.fa" --device cpu
    same "$W/one.fa" "$W/cpu.fa"
done
# Embeddings and their probe.
printf 'g\t0\t200\ta\ng\t400\t700\tb\n' | sed "s/^g/$(zcat "$phage" | head -n 1 | cut -c 2- | cut -d ' ' -f 1)/" >"$W/regions.bed"
succeeds "$ADDER" embed --checkpoint "$W/mamba2" --input "$phage" --regions "$W/regions.bed" --rc concat --out "$W/gpu.h5"
logs '^device cuda: '
for n in $(seq 24); do
    printf '>r%d\n%s\n' "$n" "$([ $((n % 2)) = 0 ] && printf 'AATTA%.0s' $(seq 9) || printf 'GGCGC%.0s' $(seq 9))" >>"$W/two.fa"
    printf 'r%d\t%s\n' "$n" "$([ $((n % 2)) = 0 ] && echo at || echo gc)" >>"$W/two.tsv"
done
sed -i '1i name\tlabel' "$W/two.tsv"
for device in cuda cpu; do
    succeeds "$ADDER" embed --checkpoint "$W/mamba1" --input "$W/two.fa" --dtype f32 --device $device --out "$W/two-$device.h5"
    succeeds "$ADDER" probe --embeddings "$W/two-$device.h5" --labels "$W/two.tsv" --device $device --json
    [ "$(json accuracy)" = 1.0 ] || [ "$(json accuracy)" = 1 ] || wrong "two compositions are told apart by any embedding"
done

golden=$ADDER_SOURCE_DIR/tests/golden
for name in mamba1 mamba1_zoh mamba2 mamba2_zoh unet; do
    succeeds "$ADDER" eval --checkpoint "$golden/$name" --input "$golden/sequence.fa" --json --dtype f32
    close "$(json nats_per_token)" "$(sed -n 's/.*"nats_per_token": \([^,]*\).*/\1/p' "$golden/$name/expected.json")" 1e-5
done

# Packed members, the last target of each before the first token of the next.
for n in $(seq 40); do printf '>c%d\n%s\n' "$n" "$(zcat "$phage" | sed -n "$((n + 1))p" | cut -c "1-$((n + 5))")"; done >"$W/short.fa"
for device in cpu cuda; do
    succeeds "$ADDER" train --domain dna --input "$W/short.fa" --d-model 16 --layers 1 --length 100 --batch 2 --steps 3 \
        --dtype f32 --device $device --out "$W/short-$device"
done
close "$(losses "$W/short-cuda" | sed -nE '$s/.*"loss": ([^,]*).*/\1/p')" \
    "$(losses "$W/short-cpu" | sed -nE '$s/.*"loss": ([^,]*).*/\1/p')" 1e-5

# A signal in the middle: the last finished step is kept, and equals that of --stop-after.
set -m
"$ADDER" train "${options[@]}" --steps 200000 --out "$W/signal" >"$W/out" 2>"$W/err" &
job=$!
set +m
wait_until has_rows "$W/signal" 9
kill -s INT "$job"
wait "$job" || wrong "SIGINT must end in exit 0"
step=$(sed -nE 's/^stopped after step ([0-9]+) of 200000.*/\1/p' "$W/err")
[ -n "$step" ] || wrong "expected a word about where the run stopped"
succeeds "$ADDER" train "${options[@]}" --steps 200000 --out "$W/to" --stop-after "${step:-1}"
same_weights "$W/signal" "$W/to" "${step:-1}"

# Too little memory: planned, and not there.
refused 1 'memory are too little: .* need [0-9.]+ [MG]iB, the most of it, ' "$ADDER" plan "${options[@]}" --memory 1MiB
room=' [0-9.]+ [KMG]iB of [0-9.]+ GiB are free on [^;]+'
need='training needs [0-9.]+ GiB, the most of it, [0-9.]+ GiB, for [a-z ]+'
fails_after_log 1 "out of GPU memory: $need;$room; .*fits.* hint: " \
    "$ADDER" train --domain dna --input "$phage" --d-model 16 --layers 1 --length 16777216 --batch 4096 --tile 16777216 \
    --memory 1000000GiB --out "$W/much"
[ -e "$W/much" ] && wrong "a refused run left its folder"
# Rows of four megabytes of state each; a number that fits is said, and fits.
succeeds "$ADDER" train --domain dna --input "$phage" --mixer mamba2 --d-model 256 --layers 16 --length 128 --steps 0 \
    --out "$W/wide"
rows=(generate --checkpoint "$W/wide" --tokens 1 --out "$W/rows.fa")
fails_after_log 1 "out of GPU memory: [^;]+ needs [0-9.]+ GiB;$room; --batch [0-9]+ fits; hint: a smaller --batch or --tile" \
    "$ADDER" "${rows[@]}" --num 65536 --batch 65536
[ -e "$W/rows.fa" ] && wrong "a refused run left its file"
offered=$(sed -nE 's/.*; --batch ([0-9]+) fits; .*/\1/p' "$W/err")
succeeds "$ADDER" "${rows[@]}" --num "${offered:-0}" --batch "${offered:-0}"

# Another program holds nearly all the memory, where the driver shows that: it is said, and what was trained stays.
if command -v nvidia-smi >/dev/null; then
    long=(--domain dna --mixer mamba1 --d-model 512 --layers 4 --batch 1 --tile 131072 --keep 1000000)
    succeeds "$ADDER" plan "${long[@]}" --length 131072 --json
    long+=(--length "$(json largest_length)" --input "$phage" --steps 1000000)
    succeeds "$ADDER" train "${long[@]}" --stop-after 1 --out "$W/held"
    set -m
    "$ADDER" train "${long[@]}" --out "$W/holder" >"$W/holder.out" 2>"$W/holder.err" &
    job=$!
    set +m
    wait_until has_rows "$W/holder" 1
    digest=$(cat "$(last "$W/held" 1)"/* | sha256sum)
    fails_after_log 1 "memory are too little: .*;$room, other programs hold the rest; hint: " \
        "$ADDER" train --out "$W/held" --resume --keep 1000000 --stop-after 2
    [ "$(cat "$(last "$W/held" 1)"/* | sha256sum)" = "$digest" ] || wrong "the checkpoint has changed"
    kill -s INT "$job"
    wait "$job"
    succeeds "$ADDER" train --out "$W/held" --resume --stop-after 2
fi

succeeds "$ADDER" plan "${options[@]}" --tile 64 --json
[ "$(json device) $(json tile) $(json keep) $(json tiles)" = "cuda 64 1 2" ] || wrong "expected two tiles of 64 on the GPU"
[ "$(json cuda)" -gt 0 ] || wrong "the plan must name what CUDA takes for itself"
for key in tokens_per_s hours largest_batch largest_length; do
    awk -v x="$(json $key)" 'BEGIN { exit !(x > 0) }' || wrong "expected a positive $key"
done

tiny=(--mixer mamba1 --d-model 16 --layers 1 --batch 2 --length 64 --repeats 1 --json)
for what in train_step embed_forward decode_cuda_graph; do
    succeeds "$ADDER" bench $what "${tiny[@]}"
    says "^\{\"case\":\"$what\",\"layer\":\"Mamba1\",\"d\":16,\"n\":1,\"B\":2,"
    says '"tok_s":[0-9]'
    says '"device":"cuda".*"dtype":"bf16"'
done
succeeds "$ADDER" bench train_step "${tiny[@]}"
says '"idle_pct":[0-9].*"parity_max_rel":[0-9.e-]+,"parity_steps":20,"parity":true'

finish
