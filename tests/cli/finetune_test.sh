#!/usr/bin/env bash
# Fine-tuning and predicting: what is learned, what a run leaves, stopping and going on, what is refused.
. "$(dirname "$0")/lib.sh"

# Three classes by a motif of eight bases, in records of 30 to 80.
awk -v fa="$W/r.fa" -v tsv="$W/rows" -v manifest="$W/mrows" 'BEGIN {
    srand(3); split("TATAAAGG GCCGCCGC ACGTTTCA", motif, " ");
    for (i = 0; i < 180; ++i) {
        c = i % 3 + 1; n = 30 + int(51 * rand()); s = "";
        while (length(s) < n) s = s (rand() < 0.2 ? motif[c] : substr("ACGT", 1 + int(4 * rand()), 1));
        print ">r" i " length\n" s > fa;
        part = i % 10 < 7 ? "train" : i % 10 < 8 ? "valid" : "test";
        print "r" i "\tclass" c "\t" part "\tg" int(i / 4) > tsv;
        print s "\tclass" c "\tr" i "\t" part > manifest;
    }
}'
{ printf 'name\tlabel\tsplit\n'; cut -f 1-3 "$W/rows"; } >"$W/labels.tsv"
{ printf 'name\tlabel\tgroup\n'; cut -f 1,2,4 "$W/rows"; } >"$W/grouped.tsv"
{ printf 'sequence\tlabel\tname\tsplit\n'; cat "$W/mrows"; } >"$W/manifest.tsv"

succeeds "$ADDER" train --domain dna --input "$W/r.fa" --d-model 16 --layers 1 --d-state 8 --length 128 --batch 2 \
    --steps 3 --out "$W/base"
tune=(finetune --checkpoint "$W/base" --input "$W/r.fa" --labels "$W/labels.tsv" --lr 1e-2 --head-lr 3e-2 --batch 24)

last() { printf '%s/step-%08d' "$1" "$2"; }
losses() { sed 's/, "tokens_per_s".*//' "$1/metrics.jsonl"; }
# equal_runs RUN RUN STEP
equal_runs() {
    same "$(last "$1" "$3")/model.safetensors" "$(last "$2" "$3")/model.safetensors"
    same "$(last "$1" "$3")/trainer.safetensors" "$(last "$2" "$3")/trainer.safetensors"
    [ "$(losses "$1")" = "$(losses "$2")" ] || wrong "the metrics of $1 and $2 differ"
}

# A whole run: the first loss is that of even odds, the classes are learned.
succeeds "$ADDER" "${tune[@]}" --epochs 12 --out "$W/a" --json
logs '^3 classes; records: train 126, valid 18, test 36'
logs '^memory .*, evaluation [0-9.]+ [KM]iB'
logs 'step 63: valid loss [0-9.]+ nats, accuracy [0-9.]+, macro-F1 [0-9.]+, MCC'
close "$(head -n 1 "$W/a/metrics.jsonl" | grep -oE '"loss": [0-9.]+' | cut -d' ' -f2)" 1.098612 1e-5
awk -v x="$(json accuracy)" 'BEGIN { exit !(x > 0.8) }' || wrong "accuracy $(json accuracy), expected more than 0.8"
[ "$(json n)" = 36 ] && [ "$(json on)" = test ] || wrong "expected 36 test records"
for key in macro_f1 mcc auroc confusion step; do grep -q "\"$key\":" "$W/out" || wrong "no $key in the results"; done
same "$W/out" "$W/a/classification.json"
grep -q '<svg' "$W/a/confusion.svg" || wrong "no picture of the confusion matrix"
grep -q '"classes": \[' "$(last "$W/a" 63)/config.json" || wrong "no classes in config.json"
grep -qE '"valid_loss": [0-9.]+, "valid_accuracy": [0-9.]+, "valid_macro_f1": [0-9.]+, "valid_mcc"' "$W/a/metrics.jsonl" ||
    wrong "no rows of valid metrics"
succeeds "$ADDER" info --checkpoint "$W/a" --json
grep -qE '"best":\{"step":[0-9]+,"by":"macro_f1"\}' "$W/out" || wrong "no best checkpoint in info"
[ "$(json finished)" = true ] || wrong "the run should be finished"

# The manifest says the same as table and FASTA.
succeeds "$ADDER" finetune --checkpoint "$W/base" --input "$W/manifest.tsv" --lr 1e-2 --head-lr 3e-2 --batch 24 --epochs 12 \
    --out "$W/m"
says '^accuracy [0-9.]+, macro-F1 .* over 36 test records, at step'
equal_runs "$W/a" "$W/m" 63

# Predictions, whatever is predicted with them and however much at a time.
succeeds "$ADDER" predict --checkpoint "$W/a" --best --input "$W/r.fa" --out "$W/p.tsv"
[ "$(head -n 1 "$W/p.tsv")" = "$(printf 'name\tlabel\tclass1\tclass2\tclass3')" ] || wrong "header $(head -n 1 "$W/p.tsv")"
[ "$(wc -l <"$W/p.tsv")" -eq 181 ] || wrong "expected 180 rows"
awk -F'\t' 'NR > 1 { s = $3 + $4 + $5; digits += length($3) > 12; m = $3 > $4 ? ($3 > $5 ? 3 : 5) : ($4 > $5 ? 4 : 5);
    if (s < 1 - 1e-12 || s > 1 + 1e-12 || $2 != "class" (m - 2)) exit 1 } END { if (digits < 100) exit 1 }' "$W/p.tsv" || wrong "probabilities and labels"
paste <(tail -n +2 "$W/p.tsv" | cut -f 2) <(cut -f 2,3 "$W/rows") |
    awk '$3 == "test" { n++; right += $1 == $2 } END { printf "%.9f", right / n }' >"$W/accuracy"
close "$(cat "$W/accuracy")" "$(grep -oE '"accuracy":[0-9.]+' "$W/a/classification.json" | cut -d: -f2)" 1e-6
cp "$W/r.fa" "$W/own.fa"
refused 1 'own.fa: --out would replace what --input names' "$ADDER" predict --checkpoint "$W/a" --input "$W/own.fa" --out "$W/own.fa"
refused 1 'p.tsv: --out is there already; hint: --overwrite' "$ADDER" predict --checkpoint "$W/a" --input "$W/r.fa" --out "$W/p.tsv"
same "$W/r.fa" "$W/own.fa"
succeeds "$ADDER" predict --checkpoint "$W/a" --best --input "$W/r.fa" --out "$W/one.tsv" --batch 1 --threads 3
same "$W/p.tsv" "$W/one.tsv"
printf 'name,sequence\n"a\tb\nc",ACGTACGT\n"""d",ACGTACGT\n' >"$W/names.csv"
succeeds "$ADDER" predict --checkpoint "$W/a" --best --input "$W/names.csv" --out -
[ "$(cut -f 1 "$W/out" | tr '\n' '|')" = 'name|a\tb\nc|"""d"|' ] && [ "$(awk -F'\t' 'NF != 5' "$W/out")" = '' ] ||
    wrong "names in a table"
{ printf '>long\n'; for i in $(seq 900); do printf 'ACGTTGCAAC'; done; printf '\n'; sed -n 7,8p "$W/r.fa"; } >"$W/few.fa"
succeeds "$ADDER" predict --checkpoint "$W/a" --best --input "$W/few.fa" --out -
says '^long	class[123]	'
[ "$(tail -n 1 "$W/out")" = "$(sed -n 5p "$W/p.tsv")" ] || wrong "a record's prediction depends on the others"

# Stopped and going on; other threads and kept tiles; killed.
succeeds "$ADDER" "${tune[@]}" --epochs 12 --out "$W/b" --stop-after 17
logs 'stopped after step 17 of 63; go on with: adder finetune'
[ -s "$W/out" ] && wrong "a stopped run has no results"
succeeds "$ADDER" finetune --out "$W/b" --resume --threads 3
equal_runs "$W/a" "$W/b" 63
same "$W/a/classification.json" "$W/b/classification.json"
"$ADDER" "${tune[@]}" --epochs 12 --out "$W/killed" --save-every 1 >/dev/null 2>&1 &
job=$!
wait_until has_rows "$W/killed" 20
kill -9 $job 2>/dev/null
wait $job 2>/dev/null
succeeds "$ADDER" "${tune[@]}" --epochs 12 --out "$W/killed" --resume
equal_runs "$W/a" "$W/killed" 63
for keep in 0 9; do succeeds "$ADDER" "${tune[@]}" --steps 4 --tile 64 --keep "$keep" --out "$W/keep$keep"; done
equal_runs "$W/keep0" "$W/keep9" 4
succeeds "$ADDER" finetune --out "$W/a" --resume
logs 'has finished its 63 steps; nothing to do'
# Stopped or killed between the last step and the results: going on gives them.
cp "$W/a/classification.json" "$W/results"
rm "$W/a/classification.json" "$W/a/confusion.svg"
succeeds "$ADDER" finetune --out "$W/a" --resume --json
same "$W/out" "$W/results"
same "$W/a/classification.json" "$W/results"
grep -q '<svg' "$W/a/confusion.svg" || wrong "no picture after the results were made up for"
{ cat "$W/r.fa"; for i in 1 2; do echo ">long$i"; for k in $(seq 150); do grep -v ">" "$W/r.fa"; done; done; } >"$W/slow.fa"
{ cat "$W/labels.tsv"; printf 'long1\tclass1\ttest\nlong2\tclass2\ttest\n'; } >"$W/slow.tsv"
slow=("$ADDER" finetune --checkpoint "$W/base" --input "$W/slow.fa" --labels "$W/slow.tsv" --steps 1 --tile 64)
succeeds "${slow[@]}" --out "$W/calm"
: >"$W/err"
"${slow[@]}" --out "$W/slow" >"$W/out" 2>"$W/err" &
job=$!
wait_until grep -q 'finished 1 steps' "$W/err"
kill -s TERM $job
wait $job
rc=$?
[ $rc -eq 0 ] || wrong "a signal at the end of a run"
logs 'stopped before the results were written; go on with: adder finetune --out .*slow --resume'
succeeds "$ADDER" finetune --out "$W/slow" --resume
same "$W/calm/classification.json" "$W/slow/classification.json"
refused 1 'batch is 7 now, 24 in the run' "$ADDER" finetune --out "$W/a" --resume --batch 7
refused 1 'holds something already' "$ADDER" "${tune[@]}" --out "$W/a"

# The head alone: the rest of the model stays as it was. Every pool, weighted classes, a fraction of groups to choose by.
for pool in mean last max; do
    succeeds "$ADDER" finetune --checkpoint "$W/base" --input "$W/r.fa" --labels "$W/grouped.tsv" --freeze --pool "$pool" \
        --steps 5 --class-weights balanced --rc-augment 0.5 --select mcc --out "$W/frozen-$pool"
    logs '^3 classes; records: train 1[5-7][0-9], valid [12][0-9], test 0'
    says 'over [0-9]+ valid records'
done
# tensor FILE NAME: its bytes as text.
tensor() {
    python3 - "$1" "$2" <<'P'
import json, struct, sys
data = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", data[:8])[0]
begin, end = json.loads(data[8:8 + n])[sys.argv[2]]["data_offsets"]
print(data[8 + n + begin:8 + n + end].hex())
P
}
if command -v python3 >/dev/null; then
    for name in backbone.embedding.weight backbone.layers.0.mixer.in_proj.weight; do
        [ "$(tensor "$(last "$W/base" 3)/model.safetensors" $name)" = \
            "$(tensor "$(last "$W/frozen-mean" 5)/model.safetensors" $name)" ] || wrong "$name of a frozen model changed"
        [ "$(tensor "$(last "$W/base" 3)/model.safetensors" $name)" != \
            "$(tensor "$(last "$W/a" 63)/model.safetensors" $name)" ] || wrong "$name did not learn"
    done
fi
# A classifier can be given other classes.
succeeds "$ADDER" finetune --checkpoint "$W/a" --input "$W/r.fa" --labels "$W/grouped.tsv" --steps 1 --out "$W/again"

printf '>a\nACGT\n>none\n>b\nAC\n' >"$W/empty.fa"

# A part that lacks classes is told.
{ printf 'name\tlabel\tsplit\n'; awk -F'\t' '{ print $1 "\t" $2 "\t" ($1 == "r3" ? "test" : "train") }' "$W/rows"; } >"$W/one-tested.tsv"
succeeds "$ADDER" finetune --checkpoint "$W/base" --input "$W/r.fa" --labels "$W/one-tested.tsv" --steps 1 --out "$W/lacking"
logs '^warning: the 1 test record is of 1 of 3 classes alone: '

# What is refused.
refused 1 'a model of sequences without classes; hint: `adder finetune' \
    "$ADDER" predict --checkpoint "$W/base" --input "$W/r.fa" --out "$W/no.tsv"
refused 1 'a classifier of 3 classes.*adder predict' "$ADDER" generate --checkpoint "$W/a" --tokens 5 --out "$W/no.fa"
refused 1 'a classifier of 3 classes.*adder predict' "$ADDER" eval --checkpoint "$W/a" --input "$W/r.fa"
[ -e "$W/no.tsv" ] || [ -e "$W/no.fa" ] && wrong "a refused command wrote something"
# tune_with TABLE PATTERN
tune_with() {
    fails_after_log 1 "$2" "$ADDER" finetune --checkpoint "$W/base" --input "$W/r.fa" --labels "$1" --out "$W/no"
    [ -e "$W/no" ] && wrong "a refused run made its folder"
}
head -n 100 "$W/labels.tsv" >"$W/t1"
tune_with "$W/t1" 'do not match; not in .*: 81 \(r99, r100, r101, ...\) of 180'
{ cat "$W/labels.tsv"; printf 'other\tclass1\ttrain\n'; } >"$W/t2"
tune_with "$W/t2" 'not in the input: 1 \(other\) of 181'
sed 's/class[123]/same/' "$W/labels.tsv" >"$W/t3"
tune_with "$W/t3" "every record is of class 'same'"
awk -F'\t' -v OFS='\t' '$3 == "test" { $2 = "rare" } { print }' "$W/labels.tsv" >"$W/t4"
tune_with "$W/t4" "class 'rare' has no record to train on \(0 valid, 36 test\)"
refused 1 'record 2 \(none\), line 3: a header without sequence' \
    "$ADDER" predict --checkpoint "$W/a" --input "$W/empty.fa" --out "$W/no.tsv"
# Records without one whole token.
succeeds "$ADDER" train --domain dna --tokenizer kmer --kmer 3 --input "$W/r.fa" --d-model 16 --layers 1 --d-state 8 \
    --length 32 --batch 2 --steps 1 --out "$W/kmer"
printf '>a\nACGT\n>b\nAC\n>c\nACGTACG\n>d\nGGGTTT\n' >"$W/short.fa"
printf 'name,label\na,x\nb,y\nc,x\nd,y\n' >"$W/short.csv"
fails_after_log 1 '1 of 4 records are too short for one 3-mer: b; hint: leave them out, --min-length 3 does' \
    "$ADDER" finetune --checkpoint "$W/kmer" --input "$W/short.fa" --labels "$W/short.csv" --out "$W/no"
printf 'name,label\na,x\nc,x\nd,y\n' >"$W/short.csv"
succeeds "$ADDER" finetune --checkpoint "$W/kmer" --input "$W/short.fa" --labels "$W/short.csv" --min-length 3 \
    --valid-fraction 0 --steps 2 --out "$W/fine-kmer"
succeeds "$ADDER" predict --checkpoint "$W/fine-kmer" --input "$W/short.fa" --min-length 3 --out -
[ "$(wc -l <"$W/out")" -eq 4 ] || wrong "expected three predictions"
fails_after_log 1 '1 of 4 records are too short for one 3-mer: b; hint: leave them out, --min-length 3 does' \
    "$ADDER" embed --checkpoint "$W/kmer" --input "$W/short.fa" --out "$W/short.h5"
succeeds "$ADDER" embed --checkpoint "$W/kmer" --input "$W/short.fa" --min-length 3 --out "$W/short.h5"
fails_after_log 1 'record r0 has no label; hint: --labels' \
    "$ADDER" finetune --checkpoint "$W/base" --input "$W/r.fa" --out "$W/no"
refused 2 '--steps and --epochs exclude each other' "$ADDER" "${tune[@]}" --out "$W/no" --steps 3 --epochs 2
refused 2 '--strict: of --domain audio, not of dna' "$ADDER" "${tune[@]}" --out "$W/no" --strict
refused 2 '--spool: of --domain audio, not of dna' "$ADDER" predict --checkpoint "$W/a" --input "$W/r.fa" --spool 1MB --out "$W/no.tsv"
refused 2 'pool' "$ADDER" "${tune[@]}" --out "$W/no" --pool median
refused 2 '--labels' "$ADDER" finetune --checkpoint "$W/base" --input "$W/r.fa" --group g --out "$W/no"
succeeds "$ADDER" finetune --help
says 'adder finetune --checkpoint run'
untouched "$W"
finish
