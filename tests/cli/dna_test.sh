#!/usr/bin/env bash
# The DNA path: tokenizers, splits and what a checkpoint remembers of them.
. "$(dirname "$0")/lib.sh"

model=(--d-model 16 --layers 1 --d-state 8 --length 128 --batch 2 --seed 3)
train=("$ADDER" train --domain dna --input "$phage" "${model[@]}" --steps 4)

# Nothing that decides the tokens has to be said twice: eval and generate take it from the checkpoint.
succeeds "${train[@]}" --out "$W/kmer" --tokenizer kmer --kmer 3 --valid-fraction 0.1
logs 'step 4: held out [0-9.]+ nats, [0-9.]+ bits per 3-mer over 1615 3-mers'
succeeds "$ADDER" eval --checkpoint "$W/kmer" --input "$phage" --valid-fraction 0.1 --json --baselines 2
[ "$(json tokens)" = 1615 ] || wrong "4850 bases are 1616 3-mers, the first is no target"
close "$(json nats_per_token)" "$(sed -n 's/.*"valid_loss": *\([^,}]*\).*/\1/p' "$W/kmer/metrics.jsonl" | tail -n 1)" 1e-9
close "$(json order_2)" 5.9 0.2
succeeds "$ADDER" generate --checkpoint "$W/kmer" --tokens 10 --prompt ACGTTT --out -
grep -v '>' "$W/out" | grep -qE '^ACGTTT[ACGT]{24}$' || wrong "expected 10 tokens of 3 bases that begin with the prompt"
refused 1 '4 bases are not a whole number of 3-mers; hint: leave out the first 1' \
    "$ADDER" generate --checkpoint "$W/kmer" --tokens 10 --prompt ACGT --out -
refused 2 "--kmer: expected a whole number from 1 to 7, got '8'" "${train[@]}" --out "$W/x" --tokenizer kmer --kmer 8
refused 2 '--kmer: of --tokenizer kmer, not of char' "${train[@]}" --out "$W/x" --kmer 6
refused 2 '--tokenizer' "${train[@]}" --out "$W/x" --tokenizer words
refused 2 "unknown option '--kmer'" "$ADDER" eval --checkpoint "$W/kmer" --input "$phage" --kmer 3

# A split by intervals is kept with the run, and another one is not taken for it.
name=NC_001416.1
printf 'chrom\tstart\tend\tsplit\n%s\t0\t30000\ttrain\n%s\t30000\t40000\tvalid\n%s\t41000\t48502\ttest\n' \
    $name $name $name >"$W/split.bed"
succeeds "${train[@]}" --out "$W/run" --split-bed "$W/split.bed" --stop-after 2
logs 'train 30000 bases in 1 segments, held out 10000 bases in 1 segments, test 7502 bases in 1 segments, in no part 1000'
grep -q '"split_digest": "[0-9a-f]\{64\}"' "$W/run/run.json" || wrong "the split is not recorded"
grep -q '"test_tokens": 7502' "$W/run/run.json" || wrong "the size of the test part is not recorded"
cp "$W/split.bed" "$W/kept.bed"
sed -i 's/40000/39000/' "$W/split.bed"
fails_after_log 1 'the data changed: its split_digest was [0-9a-f]{64}, is' "$ADDER" train --out "$W/run" --resume
cp "$W/kept.bed" "$W/split.bed"
succeeds "$ADDER" train --out "$W/run" --resume
for pair in train:29999 valid:9999 test:7501; do
    succeeds "$ADDER" eval --checkpoint "$W/run" --input "$phage" --split-bed "$W/split.bed" --part "${pair%:*}" --json
    [ "$(json tokens)" = "${pair#*:}" ] || wrong "expected ${pair#*:} targets in ${pair%:*}"
done
printf '%s\t0\t30000\ttrain\n%s\t29999\t40000\tvalid\n' $name $name >"$W/bad.bed"
fails_after_log 1 'bad\.bed, line 2: overlaps line 1' "${train[@]}" --out "$W/x" --split-bed "$W/bad.bed"
fails_after_log 1 'held-out contigs: there is no record chrX; the records are NC_001416.1' \
    "${train[@]}" --out "$W/x" --valid-contigs chrX
refused 2 'exclude each other' "${train[@]}" --out "$W/x" --split-bed "$W/split.bed" --valid-fraction 0.1
[ -e "$W/x" ] && wrong "a refused run left $W/x"

# Turning members changes what is learned, and only when it is asked for; soft-masked bases count as asked.
succeeds "${train[@]}" --out "$W/turned"
succeeds "${train[@]}" --out "$W/straight" --rc-augment 0
losses() { sed 's/, "tokens_per_s".*//' "$1/metrics.jsonl"; }
[ "$(losses "$W/turned")" != "$(losses "$W/straight")" ] || wrong "--rc-augment changes nothing"
(zcat "$phage" | head -n 300; zcat "$phage" | tail -n +301 | tr ACGT acgt) >"$W/soft.fa"
succeeds "$ADDER" train --domain dna --input "$W/soft.fa" "${model[@]}" --steps 4 --out "$W/soft" --mask-weight 0.5
logs 'lower case [1-9][0-9]* \(counted 0.5 times\)'
succeeds "$ADDER" eval --checkpoint "$W/soft" --input "$W/soft.fa" --json
close "$(json tokens)" "$(awk '!/>/ { n += length($0); l += gsub(/[acgt]/, "") } END { print n - l / 2 - 1 }' "$W/soft.fa")" 1e-6

# The context models of --baselines learn from and are scored on what the model is, with the same weights: here not on
# repeats of lower case. Letters read as N instead cost little more than the contexts of the first bases after them.
zcat "$phage" | awk 'NR > 1 && NR % 3 == 0 { gsub(/../, "ca") } 1' >"$W/repeats.fa"
tr ac nn <"$W/repeats.fa" >"$W/hard.fa"
counted=$(awk '!/>/ && n < 24251 { line = substr($0, 1, 24251 - n); n += length(line); u += gsub(/[ACGT]/, "", line) }
    END { print u - 1 }' "$W/repeats.fa")
succeeds "$ADDER" train --domain dna --input "$W/repeats.fa" "${model[@]}" --steps 1 --out "$W/upper" --mask-weight 0 \
    --valid-fraction 0.5
scored=(eval --checkpoint "$W/upper" --input "$W/repeats.fa" --part train --baselines 2)
succeeds "$ADDER" "${scored[@]}"
says "^[0-9.]+ bits per base .* over $counted bases, weighted: lower case counts 0$"
succeeds "$ADDER" "${scored[@]}" --json
upper=$(json order_2)
[ "$(json mask_weight)" = 0.0 ] || wrong "the weight must be beside the numbers"
succeeds "$ADDER" eval --checkpoint "$W/upper" --input "$W/hard.fa" --valid-fraction 0.5 --part train --baselines 2 \
    --json
close "$(json order_2)" "$upper" 0.01
# Over all bases, still learned from the upper-case ones: of repeats the context models know nothing, either.
succeeds "$ADDER" "${scored[@]}" --mask-weight 1 --json
[ "$(json tokens)" = 24250 ] || wrong "expected all bases but the first"
awk -v all="$(json order_2)" -v upper="$upper" 'BEGIN { exit !(all > upper + 0.01) }' ||
    wrong "expected repeats to cost more"
refused 2 "--mask-weight: expected a number from 0 to 1, got '2'" "$ADDER" "${scored[@]}" --mask-weight 2

# Regions are read through an index, which is written where there is none.
zcat "$phage" | sed 's/^>.*/>a/' >"$W/two.fa"
printf '>b\nACGTACGT\n' >>"$W/two.fa"
printf 'b\t2\t6\n' >"$W/b.bed"
succeeds "$ADDER" embed --checkpoint "$W/run" --input "$W/two.fa" --regions "$W/b.bed" --out "$W/b.h5"
logs 'two\.fa: 1 records, 8 bases, 1 records that are not asked for'
[ -e "$W/two.fa.fai" ] || wrong "expected an index"
gzip -k "$W/two.fa"
succeeds "$ADDER" embed --checkpoint "$W/run" --input "$W/two.fa.gz" --regions "$W/b.bed" --out "$W/gz.h5"
logs '1 records, 8 bases, 1 records that are not asked for'
same "$W/b.h5" "$W/gz.h5"

finish
