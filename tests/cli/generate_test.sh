#!/usr/bin/env bash
# Generation: record k depends on the seed and on k alone; the prompt is kept; nothing but the allowed letters.
. "$(dirname "$0")/lib.sh"

sequences() { awk '/^>/ { if (s) print s; s = ""; next } { s = s $0 } END { print s }' "$1"; }

for mixer in mamba1 mamba2; do
    run=$W/$mixer
    succeeds "$ADDER" train --domain dna --input "$phage" --mixer "$mixer" --d-model 16 --layers 2 --d-state 8 \
        --length 128 --batch 2 --steps 20 --lr 1e-2 --out "$run"
    any=("$ADDER" generate --checkpoint "$run" --tokens 150 --overwrite)
    generate=("${any[@]}" --seed 7)

    succeeds "${generate[@]}" --num 5 --out "$W/a.fa"
    [ -s "$W/out" ] && wrong "results are in the file"
    [ "$(grep -c '^>' "$W/a.fa")" -eq 5 ] || wrong "expected 5 records"
    [ "$(sequences "$W/a.fa" | sort -u | wc -l)" -eq 5 ] || wrong "records must differ"
    sequences "$W/a.fa" | grep -vqE '^[ACGT]{150}$' && wrong "expected 150 letters of A C G T a record"
    grep -q '^>sample_0 .*seed=7.*temperature=1' "$W/a.fa" || wrong "expected seed and settings in the header"
    untouched "$W"
    succeeds "${generate[@]}" --num 5 --out -
    same "$W/out" "$W/a.fa"
    for batch in 1 2 3 64; do
        for threads in 1 3; do
            succeeds "${generate[@]}" --num 5 --out "$W/b.fa" --batch "$batch" --threads "$threads"
            same "$W/a.fa" "$W/b.fa"
        done
    done
    succeeds "${generate[@]}" --num 9 --out "$W/more.fa"
    [ "$(sequences "$W/more.fa" | head -n 5)" = "$(sequences "$W/a.fa")" ] || wrong "a larger --num changed a record"
    succeeds "${any[@]}" --seed 8 --num 5 --out "$W/seed.fa"
    [ "$(sequences "$W/seed.fa")" = "$(sequences "$W/a.fa")" ] && wrong "another seed must give other records"
    succeeds "$ADDER" generate --checkpoint "$run" --seed 7 --tokens 60 --num 5 --out "$W/short.fa" --overwrite
    [ "$(sequences "$W/a.fa" | cut -c 1-60)" = "$(sequences "$W/short.fa")" ] ||
        wrong "a shorter record must begin alike"

    # The prompt, as text and as a file, of several tiles.
    prompt=$(zcat "$phage" | sed -n 2,3p | tr -d '\n' | cut -c 1-101)
    succeeds "${generate[@]}" --num 3 --prompt "$prompt" --out "$W/prompt.fa"
    sequences "$W/prompt.fa" | grep -vqE "^$prompt[ACGT]{49}$" && wrong "every record must begin with the prompt"
    printf '>p\n%s\n' "$prompt" >"$W/p.fa"
    succeeds "${generate[@]}" --num 3 --prompt "$W/p.fa" --out "$W/file.fa"
    [ "$(sequences "$W/file.fa")" = "$(sequences "$W/prompt.fa")" ] || wrong "a prompt from a file is the same prompt"
    succeeds "${generate[@]}" --num 3 --prompt "$prompt" --out "$W/lower.fa" --batch 1
    same "$W/lower.fa" "$W/prompt.fa"
    succeeds "$ADDER" generate --checkpoint "$run" --seed 7 --tokens 101 --prompt "$prompt" --out "$W/exact.fa" --overwrite
    [ "$(sequences "$W/exact.fa")" = "$prompt" ] || wrong "a prompt that fills the record is the record"
    refused 1 'prompt' "$ADDER" generate --checkpoint "$run" --tokens 100 --prompt "$prompt" --out "$W/x.fa"
    refused 1 "prompt.*'!'" "${generate[@]}" --prompt 'ACG!' --out "$W/x.fa"
    [ -e "$W/x.fa" ] && wrong "a refused generation left its file"

    # Without chance: the likeliest token always.
    succeeds "${generate[@]}" --num 2 --prompt "$prompt" --temperature 0 --out "$W/greedy.fa"
    [ "$(sequences "$W/greedy.fa" | sort -u | wc -l)" -eq 1 ] || wrong "temperature 0 leaves nothing to chance"
    succeeds "${any[@]}" --seed 8 --num 2 --prompt "$prompt" --top-k 1 --out "$W/top.fa"
    [ "$(sequences "$W/top.fa")" = "$(sequences "$W/greedy.fa")" ] || wrong "--top-k 1 is temperature 0"
    succeeds "${any[@]}" --seed 8 --num 2 --prompt "$prompt" --top-p 1e-9 --out "$W/top.fa"
    [ "$(sequences "$W/top.fa")" = "$(sequences "$W/greedy.fa")" ] || wrong "a tiny --top-p is temperature 0"
    succeeds "${generate[@]}" --num 2 --top-k 3 --top-p 0.9 --temperature 0.8 --out "$W/top.fa"
    grep -q 'top_k=3.*top_p=0.9' "$W/top.fa" || wrong "expected the settings in the header"
done

succeeds "$ADDER" generate --checkpoint "$W/mamba1" --tokens 1 --out "$W/one.fa"
sequences "$W/one.fa" | grep -qE '^[ACGT]$' || wrong "expected one letter"
succeeds "$ADDER" generate --checkpoint "$W/mamba1" --tokens 4000 --temperature 50 --allow-n --out "$W/n.fa"
sequences "$W/n.fa" | grep -qE '^[ACGTN]*N[ACGTN]*$' || wrong "expected some N with --allow-n"
refused 2 '--tokens' "$ADDER" generate --checkpoint "$W/mamba1" --out "$W/x.fa"
refused 2 '--tokens' "$ADDER" generate --checkpoint "$W/mamba1" --tokens 0 --out "$W/x.fa"
refused 2 'tokens: expected .* to 4398046511104,' \
    "$ADDER" generate --checkpoint "$W/mamba1" --tokens 9223372036854775807 --out "$W/x.fa"
refused 2 '--seconds: of --domain audio, not of dna' "$ADDER" generate --checkpoint "$W/mamba1" --seconds 1 --out "$W/x.fa"
refused 2 '--top-p' "$ADDER" generate --checkpoint "$W/mamba1" --tokens 9 --top-p 2 --out "$W/x.fa"
refused 2 '--temperature' "$ADDER" generate --checkpoint "$W/mamba1" --tokens 9 --temperature -1 --out "$W/x.fa"
refused 2 "unknown option '--temprature'; the nearest is --temperature" \
    "$ADDER" generate --checkpoint "$W/mamba1" --tokens 9 --temprature 1 --out "$W/x.fa"
# What is there stays, and an input always does.
cp "$W/one.fa" "$W/before"
one=("$ADDER" generate --checkpoint "$W/mamba1" --tokens 60)
refused 1 'one.fa: --out is there already; hint: --overwrite' "${one[@]}" --out "$W/one.fa"
refused 1 'one.fa: --out would replace what --prompt names' "${one[@]}" --prompt "$W/one.fa" --out "$W/one.fa" --overwrite
same "$W/one.fa" "$W/before"
refused 1 'cuda' "$ADDER" generate --checkpoint "$W/none" --tokens 9 --out "$W/x.fa" --device cuda

# A folder is no file, and a header is one line.
refused 1 'new/: is the name of a folder; hint: give the name of a file' "${one[@]}" --out "$W/new/"
line=$W/$(printf 'a\nb')
cp -r "$W/mamba1" "$line"
succeeds "$ADDER" generate --checkpoint "$line" --tokens 60 --out "$W/line.fa"
[ "$(wc -l <"$W/line.fa")" -eq 2 ] || wrong "the name of a checkpoint broke the header"

# A signal in the middle: nothing is written.
"$ADDER" generate --checkpoint "$W/mamba2" --tokens 5000000 --out "$W/x.fa" >"$W/out" 2>"$W/err" &
job=$!
wait_until catches_signals
kill -s TERM "$job"
wait "$job"
rc=$?
[ "$rc" -eq 1 ] && [ "$(wc -l <"$W/err")" -eq 1 ] || wrong "expected exit 1 with one line after a signal"
[ -e "$W/x.fa" ] && wrong "a stopped generation left its file"
untouched "$W"

finish
