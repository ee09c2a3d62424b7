#!/usr/bin/env bash
# A probe: the numbers of an independent program, whole groups, choices inside the training part, and errors of tables.
. "$(dirname "$0")/lib.sh"
contig=$(gzip -dc "$phage" | sed -n "1s/^>\([^ ]*\).*/\1/p")
golden=$ADDER_SOURCE_DIR/tests/golden/classification
h5=$golden/probe.h5 tsv=$golden/probe.tsv
probe() { "$ADDER" probe --embeddings "$h5" "$@"; }

# The golden split, against scikit-learn.
succeeds probe --labels "$tsv" --json
[ "$(wc -l <"$W/out")" -eq 1 ] || wrong "expected one JSON object on one line"
expected() { sed -n "s/.*\"$1\": \([^,}]*\).*/\1/p" "$golden/probe.json"; }
for key in accuracy mcc auroc macro_f1 test classes majority; do close "$(json $key)" "$(expected $key)" 1e-9; done
says '"confusion":\[\[11,2,0\],\[1,16,10\],\[5,10,15\]\]'
says '"labels":\["<c>","ape","b cell"\]'
cp "$W/out" "$W/first"
for threads in 1 3; do
    succeeds probe --labels "$tsv" --json --threads "$threads"
    same "$W/out" "$W/first"
done
# Where all examples of test and valid stand changes nothing but their order.
{ head -n 1 "$tsv"; tail -n +2 "$tsv" | tr '\t' ',' | sed '1!G;h;$!d' | tr ',' '\t'; } >"$W/reversed.tsv"
succeeds probe --labels "$W/reversed.tsv" --json
close "$(json auroc)" "$(expected auroc)" 1e-6

# For people; a picture; a second set of embeddings.
succeeds probe --labels "$tsv" --compare "again=$h5" --confusion "$W/confusion.svg"
says '240 examples of 3 classes, 8 features: 130 to train, 40 to choose the penalty, 70 to test'
says '^majority +0\.4286'
says '^embedding +0\.6000 +0\.6202 +0\.3849 +0\.8091$'
says '^again +0\.6000 +0\.6202 +0\.3849 +0\.8091$'
grep -q 'truth &lt;c&gt;, predicted ape: 2 of 13' "$W/confusion.svg" || wrong "a cell of the picture"

refused 1 'confusion.svg: --confusion is there already' probe --labels "$tsv" --confusion "$W/confusion.svg"
succeeds probe --labels "$tsv" --confusion "$W/confusion.svg" --overwrite
# In the folder of a run it belongs to what was measured, which report shows; the run itself is not written over.
mkdir "$W/run"
echo '{}' | tee "$W/run/run.json" >"$W/run/metrics.jsonl"
for i in 1 2; do succeeds probe --labels "$tsv" --confusion "$W/run/confusion.svg" --overwrite; done
refused 1 'metrics.jsonl: --confusion would replace a part of a run' probe --labels "$tsv" --confusion "$W/run/metrics.jsonl" --overwrite

# Folds: every example once; groups whole; the seed decides.
cut -f 1,2 "$tsv" >"$W/plain.tsv"
succeeds probe --labels "$W/plain.tsv" --json
[ "$(json test)" = 240 ] || wrong "each of 240 examples is tested once"
cp "$W/out" "$W/first"
succeeds probe --labels "$W/plain.tsv" --json
same "$W/out" "$W/first"
succeeds probe --labels "$W/plain.tsv" --json --seed 1
cmp -s "$W/out" "$W/first" && wrong "another seed divides otherwise"
cut -f 1,2,4 "$tsv" >"$W/families.tsv"
succeeds probe --labels "$W/families.tsv" --group family
says '154 groups kept whole'
refused 1 'no column .species.' probe --labels "$W/families.tsv" --group species
sed 's/family/group/' "$W/families.tsv" >"$W/group.tsv"
succeeds probe --labels "$W/group.tsv"
says '154 groups kept whole'
# A name that two files have is asked for as file:name, and then found, in a BED and in a table alike.
mkdir "$W/two"
for f in one two; do gzip -dc "$phage" >"$W/two/$f.fa"; done
run=$ADDER_SOURCE_DIR/tests/golden/mamba2
printf 'name\tlabel\n' | tee "$W/bare.tsv" >"$W/qualified.tsv"
printf '%s\tx\n' "$contig" >>"$W/bare.tsv"
for f in one two; do
    for i in 0 1 2 3 4 5 6 7; do
        printf '%s.fa:%s\t%d00\t%d99\t%s%d\n' $f "$contig" $i $i $f $i >>"$W/two.bed"
        printf '%s%d\t%d\n' $f $i $((i % 2)) >>"$W/qualified.tsv"
    done
done
succeeds "$ADDER" embed --checkpoint "$run" --input "$W/two" --regions "$W/two.bed" --out "$W/two.h5"
succeeds "$ADDER" probe --embeddings "$W/two.h5" --labels "$W/qualified.tsv" --folds 2 --sequences "$W/two" \
    --regions "$W/two.bed" --max-k 1
sed -i '/two.fa/d' "$W/two.bed"
sed -i '/two/d' "$W/qualified.tsv"
succeeds "$ADDER" embed --checkpoint "$run" --input "$W/two/one.fa" --regions "$W/two.bed" --out "$W/two.h5" --overwrite
succeeds "$ADDER" probe --embeddings "$W/two.h5" --labels "$W/qualified.tsv" --folds 2 --sequences "$W/two/one.fa" \
    --regions "$W/two.bed" --max-k 1
fails_after_log 1 "bare\.tsv: line 2: '$contig' is the name of several records of the input: 2 .*write file:name" \
    "$ADDER" finetune --checkpoint "$run" --input "$W/two" --labels "$W/bare.tsv" --out "$W/classes"
# A given split that divides a group.
awk -F'\t' 'BEGIN { OFS = FS } NR > 1 && $1 == "s239" { $4 = "g0" } { print }' "$tsv" >"$W/divided.tsv"
refused 1 "divided.tsv: .*'g0'.*train.*test" probe --labels "$W/divided.tsv" --group family

# K-mers: classes that differ in composition alone; both strands; regions of longer records.
awk -F'\t' 'NR > 1 { s = ""; for (i = 0; i < 60; i++) s = s ($2 == "ape" ? "AT" : $2 == "<c>" ? "AC" : "CG")
    print ">" $1 " x\n" s; all = all s; from = to + 0; to = from + 120; print "all\t" from "\t" to "\t" $1 > "'"$W"'/r.bed" }
    END { print ">all\n" all > "'"$W"'/all.fa" }' "$tsv" >"$W/s.fa"
succeeds probe --labels "$tsv" --sequences "$W/s.fa" --json
says '"kmer":\{"k":[12],"accuracy":1\.0,"mcc":1\.0,"auroc":1\.0'
sed -n 's/.*\("kmer":{[^}]*}\).*/\1/p' "$W/out" >"$W/kmer"
succeeds probe --labels "$tsv" --sequences "$W/all.fa" --regions "$W/r.bed" --json
sed -n 's/.*\("kmer":{[^}]*}\).*/\1/p' "$W/out" | cmp -s - "$W/kmer" || wrong "regions and records give the same k-mers"
head -n 100 "$W/s.fa" >"$W/few.fa"
refused 1 "190 of 240 labelled names have no sequence there, 's50' for one" \
    probe --labels "$tsv" --sequences "$W/few.fa"

# Tables and files that do not fit.
head -n 230 "$tsv" >"$W/short.tsv"
refused 1 'not in .*short.tsv: 11 \(.*, \.\.\.\) of 240' probe --labels "$W/short.tsv"
{ cat "$tsv"; printf 'x1\tape\ttest\tg\nx2\tape\ttest\tg\n'; } >"$W/long.tsv"
refused 1 'not in .*probe.h5: 2 \(x1, x2\) of 242' probe --labels "$W/long.tsv"
awk -F'\t' 'BEGIN { OFS = FS } NR > 1 { $2 = "one" } { print }' "$tsv" >"$W/one.tsv"
refused 1 "all labels are 'one'" probe --labels "$W/one.tsv"
sed 's/\ttest\t/\tvalid\t/' "$tsv" >"$W/untested.tsv"
refused 1 "column 'split' has no test rows" probe --labels "$W/untested.tsv"
sed '100s/\t.*//' "$tsv" >"$W/cut.tsv"
refused 1 'cut.tsv: line 100: 1 field where the header has 4' probe --labels "$W/cut.tsv"
refused 1 'none.tsv' probe --labels "$W/none.tsv"
refused 1 "none.h5" "$ADDER" probe --embeddings "$W/none.h5" --labels "$tsv"
refused 1 "s.fa" "$ADDER" probe --embeddings "$W/s.fa" --labels "$tsv"
awk -F'\t' 'BEGIN { OFS = FS } NR == 2 { $2 = "rare" } { print $1, $2 }' "$tsv" >"$W/rare.tsv"
succeeds probe --labels "$W/rare.tsv"
logs 'warning: 1 class \(rare\) without training examples in some part'
logs 'warning: 1 class \(rare\) without test examples in some part'
refused 2 '--embeddings' "$ADDER" probe --labels "$tsv"
refused 2 "NAME=FILE.h5" probe --labels "$tsv" --compare "$h5"
refused 2 "'kmer' is taken" probe --labels "$tsv" --compare "kmer=$h5"
refused 2 '--regions: needs --sequences' probe --labels "$tsv" --regions "$W/r.bed"
refused 2 "unknown option '--label'; the nearest is --labels" probe --label "$tsv"
refused 1 'cuda' probe --labels "$W/none.tsv" --device cuda
fails_after_log 1 "$W/no/c.svg" probe --labels "$tsv" --confusion "$W/no/c.svg"
untouched "$W"

# What a random model's embeddings are made of: a run of no steps.
tiny="--domain dna --input $phage --d-model 16 --layers 1 --d-state 8 --length 64 --batch 2 --seed 3"
succeeds "$ADDER" train $tiny --steps 0 --out "$W/initial"
succeeds "$ADDER" info --checkpoint "$W/initial" --json
[ "$(json step) $(json steps) $(json finished)" = "0 0 true" ] || wrong "a finished run of 0 steps"
succeeds "$ADDER" train $tiny --steps 1 --out "$W/one"
succeeds "$ADDER" train $tiny --steps 1 --init "$W/initial" --out "$W/from_initial"
loss() { sed -n 's/.*"loss":\([^,]*\),.*/\1/p' "$1/metrics.jsonl"; }
[ -n "$(loss "$W/one")" ] && [ "$(loss "$W/one")" = "$(loss "$W/from_initial")" ] || wrong "the initial weights of a run"
succeeds "$ADDER" train --resume --out "$W/initial"
logs 'nothing to do'
succeeds "$ADDER" train --resume --steps 1 --out "$W/initial"
cmp -s "$W/initial/step-00000001/model.safetensors" "$W/one/step-00000001/model.safetensors" ||
    wrong "a run of no steps that goes on equals one that began so"
succeeds "$ADDER" train $tiny --steps 0 --valid-fraction 0.1 --out "$W/initial_held_out"
grep -q '"step": *0, *"valid_loss"' "$W/initial_held_out/metrics.jsonl" || wrong "the initial model's held-out loss"

# The whole way: windows of a genome, two models, their k-mers.
for i in $(seq 0 39); do printf '%s\t%d\t%d\tw%d\n' "$contig" $((i * 1200)) $((i * 1200 + 500)) "$i"; done >"$W/windows.bed"
for i in $(seq 0 39); do printf 'w%d\t%s\n' "$i" $([ "$i" -lt 20 ] && echo left || echo right); done >"$W/rows"
{ printf 'name\tlabel\n'; cat "$W/rows"; } >"$W/windows.tsv"
for run in one initial_held_out; do
    succeeds "$ADDER" embed --checkpoint "$W/$run" --input "$phage" --regions "$W/windows.bed" --out "$W/$run.h5"
done
succeeds "$ADDER" probe --embeddings "$W/one.h5" --compare "random_init=$W/initial_held_out.h5" --labels "$W/windows.tsv" \
    --sequences "$phage" --regions "$W/windows.bed" --json
says '"random_init":\{"accuracy":[01]\.[0-9]+,"mcc":'
says '"kmer":\{"k":[1-6],"accuracy":'
[ "$(json test)" = 40 ] || wrong "40 windows are tested"
succeeds "$ADDER" embed --checkpoint "$W/one" --input "$phage" --pool none --out "$W/positions.h5"
refused 1 'for every position' "$ADDER" probe --embeddings "$W/positions.h5" --labels "$W/windows.tsv"

finish
