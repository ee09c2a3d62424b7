#!/usr/bin/env bash
# What is held out stays out: of training, whatever names a file, and of what a run is judged by.
. "$(dirname "$0")/lib.sh"

model=(--d-model 16 --layers 1 --d-state 8 --length 128 --batch 2 --steps 2)
train=("$ADDER" train --domain dna "${model[@]}")
mkdir "$W/two" "$W/other"
zcat "$phage" | sed 's/^>.*/>a/' | head -n 200 >"$W/two/a.fa"
{ echo '>b'; zcat "$phage" | tail -n 100; } >"$W/two/b.fa"
cp "$W/two/a.fa" "$W/other/a.fa"

# A held-out file in a folder of inputs is not read as one, by whatever name.
ln -s "$W/two/b.fa" "$W/link.fa"
for held in "$W/two/b.fa" "$W/link.fa" "$W/other/../two/b.fa"; do
    succeeds "${train[@]}" --input "$W/two" --valid "$held" --out "$W/folder" --overwrite
    logs 'b\.fa: held out by --valid, not read as an input'
    grep -q '^warning: ' "$W/err" && wrong "nothing is shared"
    succeeds "${train[@]}" --input "$W/two/a.fa" --valid "$held" --out "$W/file" --overwrite
    same "$W/folder/step-00000002/model.safetensors" "$W/file/step-00000002/model.safetensors"
done
refused 1 'b\.fa: is given as --input and as --valid; hint: ' \
    "${train[@]}" --input "$W/two/a.fa" --input "$W/two/b.fa" --valid "$W/link.fa" --out "$W/x"
refused 1 'every file of --input is held out' "${train[@]}" --input "$W/other" --valid "$W/other" --out "$W/x"
# Scored as a whole, the folder has what was trained on; the file that was held out has not.
succeeds "$ADDER" eval --checkpoint "$W/folder" --input "$W/two"
logs '^warning: the run read .*a\.fa too: what is scored may have been trained on'
succeeds "$ADDER" eval --checkpoint "$W/folder" --input "$W/two/b.fa"
grep -q '^warning: ' "$W/err" && wrong "what was held out was not trained on"
# The same letters in another file can only be told.
sed 's/^>a/>copy/' "$W/two/a.fa" >"$W/copy.fa"
succeeds "${train[@]}" --input "$W/two" --valid "$W/copy.fa" --out "$W/shared"
logs '^warning: 1 held-out sequence is also trained on, a for one: '
[ -e "$W/x" ] && wrong "a refused run left $W/x"

# Rows of a manifest that overlap are in one part, also where a classifier's parts are drawn.
printf 'path\tname\tlabel\tsplit\tstart\tend\n%s\ta\tu\ttrain\t0\t4000\n%s\tb\tv\tvalid\t2000\t4800\n' \
    "$W/two/a.fa" "$W/two/a.fa" >"$W/overlap.tsv"
refused 1 'overlap.tsv: bases 2000 to 4000 of one sequence are both trained on \(record a\) and held out \(record b\)' \
    "${train[@]}" --input "$W/overlap.tsv" --out "$W/x"
{
    printf 'path\tname\tlabel\tstart\tend\n'
    for i in {0..19}; do printf '%s\tr%d\t%d\t%d\t%d\n' "$W/two/a.fa" "$i" $((i % 2)) $((i * 100)) $((i * 100 + 150)); done
} >"$W/windows.tsv"
fails_after_log 1 'windows.tsv: bases [0-9]+ to [0-9]+ of one sequence are both trained on .* and held out .*; hint: ' \
    "$ADDER" finetune --checkpoint "$W/file" --input "$W/windows.tsv" --steps 1 --out "$W/x"
awk -F'\t' -v OFS='\t' 'NR == 1 { print $0, "group" } NR > 1 { print $0, "one" }' "$W/windows.tsv" >"$W/grouped.tsv"
succeeds "$ADDER" finetune --checkpoint "$W/file" --input "$W/grouped.tsv" --steps 1 --out "$W/grouped"

# Sounds too: the file in the folder, and a copy of it.
digits=$ADDER_SOURCE_DIR/datasets/data/fsdd held=$ADDER_SOURCE_DIR/datasets/data/fsdd/0_theo_0.wav
hear=("$ADDER" train --domain audio "${model[@]}")
succeeds "${hear[@]}" --input "$digits" --valid "$held" --out "$W/heard"
logs 'input 1 files held out by --valid, not read as inputs'
grep -q '^warning: .*held-out' "$W/err" && wrong "nothing is shared"
refused 1 'is given as --input and as --valid' "${hear[@]}" --input "$held" --valid "$held" --out "$W/x"
cp "$held" "$W/copy.wav"
succeeds "${hear[@]}" --input "$digits" --valid "$W/copy.wav" --out "$W/told"
logs '^warning: 1 held-out sequence is also trained on, 0_theo_0.wav for one: '
finish
