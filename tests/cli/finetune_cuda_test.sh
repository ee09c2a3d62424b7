#!/usr/bin/env bash
# Fine-tuning and predicting on a GPU: what the CPU does, the same bits after a stop; without a GPU, that this is said.
ON_GPU=1
. "$(dirname "$0")/lib.sh"

if ! run "$ADDER" eval --device cuda --checkpoint "$W/none" --input "$W/none" || ! grep -q '^device cuda: ' "$W/err"; then
    refused 1 '^adder: --device cuda: .*hint: ' "$ADDER" finetune --checkpoint "$W/none" --input "$W/none" --out "$W/x" --device cuda
    refused 1 '^adder: --device cuda: .*hint: ' "$ADDER" predict --checkpoint "$W/none" --input "$W/none" --out "$W/x" --device cuda
    [ "$failures" -gt 0 ] || echo "skipped: no GPU: $(tail -n 1 "$W/err")"
    finish
fi

# Two classes by their composition, three lengths.
awk -v fa="$W/r.fa" -v tsv="$W/labels.tsv" 'BEGIN {
    srand(5); print "name\tlabel\tsplit" > tsv;
    for (i = 0; i < 24; ++i) {
        s = ""; for (n = i % 4 == 3 ? 300 : 20 + i; length(s) < n;) s = s substr(i % 2 ? "AATTACGT" : "GGCCGACT", 1 + int(8 * rand()), 1);
        print ">r" i "\n" s > fa;
        print "r" i "\t" (i % 2 ? "at" : "gc") "\t" (i < 16 ? "train" : i < 20 ? "valid" : "test") > tsv;
    }
}'
last() { printf '%s/step-%08d' "$1" "$2"; }
succeeds "$ADDER" train --domain dna --input "$W/r.fa" --d-model 16 --layers 1 --d-state 8 --length 64 --batch 2 --steps 2 \
    --out "$W/base" --device cpu
tune=(finetune --checkpoint "$W/base" --input "$W/r.fa" --labels "$W/labels.tsv" --lr 1e-2 --head-lr 3e-2 --batch 8 --steps 6
    --eval-every 3)
for how in "--pool mean --tile 100" "--freeze --pool max" "--pool last"; do
    name=$(echo "$how" | tr -d ' -')
    # shellcheck disable=SC2086
    succeeds "$ADDER" "${tune[@]}" $how --out "$W/$name" --dtype f32
    # shellcheck disable=SC2086
    succeeds "$ADDER" "${tune[@]}" $how --out "$W/$name-cpu" --device cpu
    of() { sed -n 's/.*"valid_loss": *\([^,}]*\).*/\1/p' "$1/metrics.jsonl" | tail -n 1; }
    close "$(of "$W/$name")" "$(of "$W/$name-cpu")" 1e-4
    # shellcheck disable=SC2086
    succeeds "$ADDER" "${tune[@]}" $how --out "$W/$name-stopped" --dtype f32 --stop-after 2
    succeeds "$ADDER" finetune --out "$W/$name-stopped" --resume
    for file in model trainer; do
        same "$(last "$W/$name" 6)/$file.safetensors" "$(last "$W/$name-stopped" 6)/$file.safetensors"
    done
    succeeds "$ADDER" predict --checkpoint "$W/$name" --input "$W/r.fa" --out "$W/$name.tsv" --dtype f32
    succeeds "$ADDER" predict --checkpoint "$W/$name" --input "$W/r.fa" --out "$W/$name-cpu.tsv" --device cpu
    paste "$W/$name.tsv" "$W/$name-cpu.tsv" | awk -F'\t' 'NR > 1 { d = $3 - $7; if ($1 != $5 || d > 1e-4 || d < -1e-4) exit 1 }' ||
        wrong "predictions of CPU and GPU differ"
done
# bf16, the default, learns too.
succeeds "$ADDER" "${tune[@]}" --out "$W/bf16"
close "$(of "$W/bf16")" "$(of "$W/poolmeantile100-cpu")" 5e-2
finish
