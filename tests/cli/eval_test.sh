#!/usr/bin/env bash
# Scores: equal to those of training and of an independent program, and the same however they are computed.
. "$(dirname "$0")/lib.sh"

for mixer in mamba1 mamba2; do
    run=$W/$mixer
    succeeds "$ADDER" train --domain dna --input "$phage" --mixer "$mixer" --d-model 16 --layers 2 --d-state 8 \
        --length 128 --batch 2 --steps 6 --valid-fraction 0.1 --gap 100 --out "$run"
    succeeds "$ADDER" eval --checkpoint "$run" --input "$phage" --valid-fraction 0.1 --gap 100 --json
    [ "$(wc -l <"$W/out")" -eq 1 ] || wrong "expected one JSON object on one line"
    nats=$(json nats_per_token) bits=$(json bits_per_token)
    [ "$(json tokens)" = 4849 ] || wrong "4850 held-out bases have 4849 targets"
    close "$nats" "$(sed -n 's/.*"valid_loss": *\([^,}]*\).*/\1/p' "$run/metrics.jsonl" | tail -n 1)" 1e-9
    close "$(awk -v n="$nats" 'BEGIN { printf "%.12f", n / log(2) }')" "$bits" 1e-9
    cp "$W/out" "$W/first"
    for threads in 1 3; do
        succeeds "$ADDER" eval --checkpoint "$run" --input "$phage" --valid-fraction 0.1 --gap 100 --json \
            --threads "$threads"
        same "$W/out" "$W/first"
    done
    for tile in 1 7 1000; do
        succeeds "$ADDER" eval --checkpoint "$run" --input "$phage" --valid-fraction 0.1 --json --tile "$tile"
        close "$(json nats_per_token)" "$nats" 1e-6
    done
    succeeds "$ADDER" eval --checkpoint "$run" --best --input "$phage" --valid-fraction 0.1 --json
done

# Records: each from the zero state, wherever it stands.
golden=$ADDER_SOURCE_DIR/tests/golden
for name in mamba1 mamba1_zoh mamba2 mamba2_zoh; do
    succeeds "$ADDER" eval --checkpoint "$golden/$name" --input "$golden/sequence.fa" --json \
        --per-record "$W/records.tsv" --overwrite
    close "$(json nats_per_token)" \
        "$(sed -n 's/.*"nats_per_token": \([^,]*\).*/\1/p' "$golden/$name/expected.json")" 1e-5
    [ "$(head -n 1 "$W/records.tsv")" = "$(printf 'name\ttokens\tnats')" ] || wrong "the header of the table"
    [ "$(wc -l <"$W/records.tsv")" -eq 4 ] || wrong "expected a line for each of three records"
    sums=$(awk -F'\t' 'NR > 1 { n += $2; s += $3 } END { printf "%d %.12f", n, s / n }' "$W/records.tsv")
    [ "${sums% *}" = "$(json tokens)" ] || wrong "tokens of the records and in all"
    close "${sums#* }" "$(json nats_per_token)" 1e-9
done
awk '/^>/ { n++ } n == 2' "$golden/sequence.fa" >"$W/second.fa"
succeeds "$ADDER" eval --checkpoint "$golden/mamba1" --input "$golden/sequence.fa" --per-record "$W/all.tsv"
says 'bits per base'
succeeds "$ADDER" eval --checkpoint "$golden/mamba1" --input "$W/second.fa" --per-record "$W/alone.tsv"
close "$(awk 'NR == 3 { print $3 }' "$W/all.tsv")" "$(awk 'NR == 2 { print $3 }' "$W/alone.tsv")" 1e-4
# A record is one row, however many of its parts are scored, and whatever its name holds.
{ echo '>long'; zcat "$phage" | sed -n 2,30p; } >"$W/long.fa"
printf 'long\t0\t300\tvalid\nlong\t500\t700\ttest\nlong\t900\t1000\tvalid\n' >"$W/parts.bed"
succeeds "$ADDER" eval --checkpoint "$golden/mamba1" --input "$W/long.fa" --split-bed "$W/parts.bed" --json --per-record "$W/parts.tsv"
[ "$(wc -l <"$W/parts.tsv")" -eq 2 ] || wrong "expected one row of one record"
[ "$(json tokens)" = 398 ] && [ "$(awk 'NR == 2 { print $2 }' "$W/parts.tsv")" = 398 ] || wrong "two parts have 299 and 99 targets"
close "$(awk 'NR == 2 { print $3 / $2 }' "$W/parts.tsv")" "$(json nats_per_token)" 1e-5
printf 'name,sequence\n"a\tb\nc",ACGTACGT\n"""d",ACGT\n' >"$W/names.csv"
succeeds "$ADDER" eval --checkpoint "$golden/mamba1" --input "$W/names.csv" --per-record "$W/names.tsv"
[ "$(cut -f 1 "$W/names.tsv" | tr '\n' '|')" = 'name|a\tb\nc|"""d"|' ] && [ "$(awk -F'\t' 'NF != 3' "$W/names.tsv")" = '' ] ||
    wrong "names in $(cat "$W/names.tsv")"
# What is there stays, and - is no file.
cp "$W/all.tsv" "$W/before"
table=("$ADDER" eval --checkpoint "$golden/mamba1" --input "$W/second.fa")
refused 1 'all.tsv: --per-record is there already; hint: --overwrite' "${table[@]}" --per-record "$W/all.tsv"
refused 1 'second.fa: --per-record would replace what --input names' "${table[@]}" --per-record "$W/second.fa" --overwrite
refused 2 'per-record: - is standard output' "${table[@]}" --per-record -
same "$W/all.tsv" "$W/before"
cat "$golden/sequence.fa" | "$ADDER" eval --checkpoint "$golden/mamba1" --input - --json >"$W/out" 2>"$W/err"
rc=$?
close "$(json nats_per_token)" \
    "$(sed -n 's/.*"nats_per_token": \([^,]*\).*/\1/p' "$golden/mamba1/expected.json")" 1e-5

# The data of the run, whatever its file is called, in the parts of the run unless others are asked for.
evaluate=("$ADDER" eval --checkpoint "$W/mamba2" --json)
zcat "$phage" >"$W/copy.fa"
succeeds "${evaluate[@]}" --input "$phage" --valid-fraction 0.1 --gap 100
cp "$W/out" "$W/asked"
for input in "$phage" "$W/copy.fa"; do
    succeeds "${evaluate[@]}" --input "$input"
    same "$W/out" "$W/asked"
    logs 'in the parts of the run: --valid-fraction 0.1 --gap 100$'
done
succeeds "${evaluate[@]}" --input "$phage" --part train
[ "$(json tokens)" = 43551 ] || wrong "43552 training bases have 43551 targets"
succeeds "${evaluate[@]}" --input "$phage" --part all
[ "$(json tokens)" = 48501 ] || wrong "48502 bases have 48501 targets"
succeeds "${evaluate[@]}" --input "$phage" --valid-fraction 0.5
logs '^warning: this is the data of the run, which was not trained on the same part'
# From standard input too, which can be read but once.
"${evaluate[@]}" --input - <"$W/copy.fa" >"$W/out" 2>"$W/err"
same "$W/out" "$W/asked"
logs 'in the parts of the run: --valid-fraction 0.1 --gap 100$'
grep -q '^warning: ' "$W/err" && wrong "what is scored was held out"
"${evaluate[@]}" --input - --part all <"$W/copy.fa" >"$W/out" 2>"$W/err"
[ "$(json tokens)" = 48501 ] || wrong "48502 bases have 48501 targets"
"${evaluate[@]}" --input - --valid-fraction 0.5 <"$W/copy.fa" >"$W/out" 2>"$W/err"
logs '^warning: this is the data of the run, which was not trained on the same part'
"${evaluate[@]}" --input - <"$golden/sequence.fa" >"$W/out" 2>"$W/err"
grep -q 'of the run' "$W/err" && wrong "other data is not that of the run"
succeeds "${evaluate[@]}" --input "$golden/sequence.fa"
grep -q 'of the run' "$W/err" && wrong "other data is not that of the run"
# What is empty is called that.
fails_after_log 1 'nothing to score: the test part is empty; hint: --part train, --part valid' "${evaluate[@]}" --input "$phage" --part test
printf '@a\nACGT\n+\nIIII\n' >"$W/short.fq"
fails_after_log 1 'nothing to score: no record of the input is kept' "${evaluate[@]}" --input "$W/short.fq" --min-length 50
fails_after_log 1 'nothing to train on: no record of the input is kept' \
    "$ADDER" train --domain dna --input "$W/short.fq" --min-length 50 --out "$W/none"
printf '>n\nNNNNNNNN\n' >"$W/n.fa"
fails_after_log 1 'nothing to score: no base that counts has another one before it' "${evaluate[@]}" --input "$W/n.fa"

# Context models on the same split.
succeeds "$ADDER" eval --checkpoint "$W/mamba2" --input "$phage" --valid-fraction 0.1 --baselines 0,2 --json
says '"baselines":\{"order_0":2\.0[0-9]*,"order_2":1\.9[0-9]*\},"best_baseline":"order_2"'
fails_after_log 1 '--baselines: the input is not split' "$ADDER" eval --checkpoint "$golden/mamba1" --input "$phage" --baselines 2
fails_after_log 1 '--part: the input is not split' "$ADDER" eval --checkpoint "$golden/mamba1" --input "$phage" --part test
refused 2 '--baselines' "$ADDER" eval --checkpoint "$W/mamba2" --input "$phage" --valid-fraction 0.1 --baselines two
refused 1 'cuda' "$ADDER" eval --checkpoint "$W/none" --input "$W/none.fa" --device cuda
refused 2 "unknown option '--jsno'; the nearest is --json" \
    "$ADDER" eval --checkpoint "$W/mamba2" --input "$phage" --jsno
refused 2 '--input' "$ADDER" eval --checkpoint "$W/mamba2"

finish
