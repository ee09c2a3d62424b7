#!/usr/bin/env bash
# A U-Net through every command: what pools ask of lengths and tiles, resumption, scores and samples.
. "$(dirname "$0")/lib.sh"

sequences() { awk '/^>/ { if (s) print s; s = ""; next } { s = s $0 } END { print s }' "$1"; }
losses() { sed 's/, "tokens_per_s".*//' "$1/metrics.jsonl"; }

unet=(--domain dna --backbone unet --pool 4,2 --expand-width 2,1 --d-model 16 --layers 1 --d-state 8)
train=(train "${unet[@]}" --input "$phage" --length 128 --batch 2 --steps 12 --lr 1e-2 --valid-fraction 0.1)

for mixers in mamba1,mamba1,mamba1 mamba1,mamba2,mamba2; do
    run=$W/${mixers//,/-}
    succeeds "$ADDER" "${train[@]}" --stage-mixers "$mixers" --out "$run"
    logs '^stages .*mamba1 of width 16 \(2 blocks\), pool 4, mamba[12] of width 32 \(2 blocks\), pool 2, mamba[12] of width 32 \(1 blocks\)'
    # Stopped and resumed: the same bits.
    succeeds "$ADDER" "${train[@]}" --stage-mixers "$mixers" --out "$run-stopped" --stop-after 5
    succeeds "$ADDER" train --out "$run-stopped" --resume
    same "$run/step-00000012/model.safetensors" "$run-stopped/step-00000012/model.safetensors"
    same "$run/step-00000012/trainer.safetensors" "$run-stopped/step-00000012/trainer.safetensors"
    [ "$(losses "$run")" = "$(losses "$run-stopped")" ] || wrong "a resumed run must give the same losses"
    grep -q '"backbone": *"unet"' "$run/step-00000012/config.json" || wrong "expected the backbone in config.json"

    # Scores do not depend on the tile, not even on one that has to be rounded up.
    succeeds "$ADDER" eval --checkpoint "$run" --input "$phage" --json
    whole=$(json nats_per_token)
    for tile in 8 100 4096; do
        succeeds "$ADDER" eval --checkpoint "$run" --input "$phage" --json --tile $tile
        close "$(json nats_per_token)" "$whole" 1e-5
    done

    # Records do not depend on the batch, wherever in a group their prompts end.
    for prompt in A ACGTACG ACGTACGT ACGTACGTACGTACGTACGTA; do
        generate=("$ADDER" generate --checkpoint "$run" --tokens 60 --seed 7 --num 5 --prompt $prompt --overwrite)
        succeeds "${generate[@]}" --out "$W/a.fa"
        sequences "$W/a.fa" | grep -vqE "^$prompt[ACGT]+$" && wrong "every record must begin with the prompt"
        for batch in 1 3; do
            succeeds "${generate[@]}" --out "$W/b.fa" --batch $batch
            same "$W/a.fa" "$W/b.fa"
        done
    done
done

# Short records, each a member that begins with a group, score as they do alone.
zcat "$phage" | sed -n '2,40p' | awk '{ print ">r" NR; print substr($0, 1, 5 + NR) }' >"$W/short.fa"
succeeds "$ADDER" eval --checkpoint "$run" --input "$W/short.fa" --json --per-record "$W/together.tsv"
awk '/^>/ { f = "'"$W"'/one-" substr($0, 2) ".fa" } { print > f }' "$W/short.fa"
for k in 1 2 3 39; do
    succeeds "$ADDER" eval --checkpoint "$run" --input "$W/one-r$k.fa" --json --per-record "$W/alone.tsv" --overwrite
    close "$(awk -v r="r$k" '$1 == r { print $3 }' "$W/together.tsv")" "$(awk 'NR == 2 { print $3 }' "$W/alone.tsv")" 1e-4
done

# Embeddings: what the last norm gives, of many records or of one in any tiles.
for tile in 8 100 4096; do
    succeeds "$ADDER" embed --checkpoint "$run" --input "$W/short.fa" --pool none --tile $tile --out "$W/short-$tile.h5"
    succeeds "$ADDER" embed --checkpoint "$run" --input "$phage" --tile $tile --out "$W/phage-$tile.h5"
done
refused 1 'shows only its last layer' "$ADDER" embed --checkpoint "$run" --input "$phage" --layer all --out "$W/all.h5"

# Short records as members of a classifier's batches.
awk '/^>/ { n++; print substr($0, 2) "\t" (n % 2 ? "odd" : "even") }' "$W/short.fa" >"$W/rows"
{ printf 'name\tlabel\n'; cat "$W/rows"; } >"$W/labels.tsv"
succeeds "$ADDER" finetune --checkpoint "$run" --input "$W/short.fa" --labels "$W/labels.tsv" --steps 3 --batch 12 \
    --valid-fraction 0.2 --out "$W/classifier"
succeeds "$ADDER" predict --checkpoint "$W/classifier" --input "$W/short.fa" --out "$W/p.tsv"
[ "$(wc -l <"$W/p.tsv")" -eq 40 ] || wrong "expected a row a record"

succeeds "$ADDER" plan "${unet[@]}" --length 4096 --tile 64 --json
[ "$(json tile)" -eq 64 ] || wrong "expected the tile that was asked for"
[ "$(json largest_length)" -gt 4096 ] || wrong "expected a length that fits"
succeeds "$ADDER" info --checkpoint "$run" --json
says '"stage_pools":\[4,2\]'
succeeds "$ADDER" train "${unet[@]}" --input "$phage" --length 128 --batch 2 --profile
says '^shift_forward'

refused 2 'length: .*multiples of 8, got 100; hint: 104' "$ADDER" plan "${unet[@]}" --length 100
refused 2 'tile: .*multiples of 8, got 100; hint: 96' "$ADDER" plan "${unet[@]}" --tile 100
refused 2 "pool: expected positive numbers .*got '4,x'" "$ADDER" plan --backbone unet --pool 4,x
refused 2 'pool: of --backbone unet, not of flat' "$ADDER" plan --pool 4,4
refused 2 'backbone: expected one of flat, unet' "$ADDER" plan --backbone net
refused 2 'stage-mixers: 2 mixers for 3 stages' "$ADDER" plan --backbone unet --stage-mixers mamba1,mamba2
refused 2 'stage-mixers: .*mamba9' "$ADDER" train "${unet[@]}" --input "$phage" --stage-mixers mamba1,mamba9,mamba2 --out "$W/new"
refused 2 'expand-width: 3 numbers for 2 pools' "$ADDER" plan --backbone unet --expand-width 2,2,2
# Before the data is read.
refused 2 'length: .*multiples of 8, got 100; hint: 104' "$ADDER" train "${unet[@]}" --input "$W/nowhere.fa" --length 100 --out "$W/new"
finish
