#!/usr/bin/env bash
# Training: what a run leaves behind, where it may be put, stopping and going on.
. "$(dirname "$0")/lib.sh"

options=(--domain dna --input "$phage" --d-model 16 --layers 1 --d-state 8 --length 128 --batch 2 --seed 3
    --valid-fraction 0.05 --eval-every 5)
short=(train "${options[@]}" --steps 12)
long=(train "${options[@]}" --steps 200)

losses() { sed 's/, "tokens_per_s".*//' "$1/metrics.jsonl"; }
last() { printf '%s/step-%08d' "$1" "$2"; }
# equal_runs RUN RUN STEP: the same weights, moments, counters and metrics.
equal_runs() {
    same "$(last "$1" "$3")/model.safetensors" "$(last "$2" "$3")/model.safetensors"
    same "$(last "$1" "$3")/trainer.safetensors" "$(last "$2" "$3")/trainer.safetensors"
    [ "$(losses "$1")" = "$(losses "$2")" ] || wrong "the metrics of $1 and $2 differ"
}

# A run from the beginning to the end.
succeeds "$ADDER" "${short[@]}" --out "$W/a"
[ -s "$W/out" ] && wrong "training has no results for standard output"
logs 'A C G T 48502'
logs '^step 12: held out [0-9.]+ nats, [0-9.]+ bits per base'
logs "^finished 12 steps: $W/a"
for file in model.safetensors trainer.safetensors config.json run.json DONE; do
    [ -e "$(last "$W/a" 12)/$file" ] || wrong "no $file in the checkpoint"
done
[ -n "$(find "$W/a" -maxdepth 1 -name 'best-*')" ] || wrong "no best checkpoint"
[ -n "$(find "$W/a" -maxdepth 1 -name 'events.out.tfevents.*')" ] || wrong "no event file"
[ "$(grep -c '"loss"' "$W/a/metrics.jsonl")" -eq 12 ] || wrong "expected 12 step rows"
[ "$(grep -c '"valid_loss"' "$W/a/metrics.jsonl")" -eq 3 ] || wrong "expected evaluations at 5, 10 and 12"
untouched "$W/a"

# Other threads, tiles kept and instruction sets: threads and keep change no bit.
succeeds "$ADDER" "${short[@]}" --out "$W/threads" --threads 3
equal_runs "$W/a" "$W/threads" 12
for keep in 0 1 9; do succeeds "$ADDER" "${short[@]}" --tile 32 --keep "$keep" --out "$W/keep$keep"; done
equal_runs "$W/keep0" "$W/keep1" 12
equal_runs "$W/keep0" "$W/keep9" 12

# From the weights of another run: the model is that run's, and an option of it that says otherwise an error.
data=(--domain dna --input "$phage" --length 128 --batch 2)
succeeds "$ADDER" train "${data[@]}" --mixer mamba1 --d-model 24 --layers 1 --d-state 4 --discretization zoh --untied-head \
    --tokenizer kmer --kmer 2 --steps 3 --out "$W/base"
succeeds "$ADDER" train "${data[@]}" --init "$W/base" --d-model 24 --dt-rank 2 --steps 2 --out "$W/next"
logs "initial weights from $W/base/step-00000003"
same "$(last "$W/base" 3)/config.json" "$(last "$W/next" 2)/config.json"
succeeds "$ADDER" train --out "$W/next" --resume
succeeds "$ADDER" plan --init "$W/base"
says 'mamba1 d_model 24 layers 1 d_state 4'
from=(train "${data[@]}" --init "$W/base" --out "$W/refused")
refused 1 '--d-model: is 24 in .*base/step-00000003, got 32; hint: leave it out' "$ADDER" "${from[@]}" --d-model 32 --layers 2
refused 1 '--mixer: is "mamba1" in' "$ADDER" "${from[@]}" --mixer mamba2
refused 1 '--kmer: the tokens of .*base/step-00000003 are 2-mers, got 3; hint: leave it out, --init takes' \
    "$ADDER" "${from[@]}" --kmer 3
refused 1 '--tokenizer: the tokens of .*base/step-00000003 are 2-mers, got "char"; hint: leave it out, --init takes' \
    "$ADDER" "${from[@]}" --tokenizer char
refused 1 'a model of dna, not of audio' "$ADDER" train --domain audio --input "$phage" --init "$W/base" --out "$W/refused"
[ -e "$W/refused" ] && wrong "a refused run left its folder"

# A used folder.
before=$(ls -lR --full-time "$W/a")
refused 1 "$W/a: .*--resume.*--overwrite" "$ADDER" "${short[@]}" --out "$W/a"
mkdir "$W/other" && touch "$W/other/notes"
refused 1 'holds something already' "$ADDER" "${short[@]}" --out "$W/other"
touch "$W/file"
refused 1 "$W/file: --out is a file" "$ADDER" "${short[@]}" --out "$W/file"
refused 2 'exclude each other' "$ADDER" "${short[@]}" --out "$W/a" --resume --overwrite
refused 1 "$W/other: --overwrite replaces only the folder of a run" "$ADDER" "${short[@]}" --out "$W/other" --overwrite
[ -e "$W/other/notes" ] || wrong "what is not a run must stay"
rm -r "$W/other"
succeeds "$ADDER" "${short[@]}" --out "$W/other" --lr 1e-2 --stop-after 3
touch "$W/other/notes" "$W/other/eval.json" "$W/other/best-notes.txt"
mkdir "$W/other/step-plots" "$W/other/step-2"
succeeds "$ADDER" "${short[@]}" --out "$W/other" --overwrite
equal_runs "$W/a" "$W/other" 12
for own in notes best-notes.txt step-plots step-2; do
    [ -e "$W/other/$own" ] || wrong "what is not of the run must stay: $own"
done
[ -e "$W/other/eval.json" ] && wrong "what was said of the replaced run must go"

# Nothing that is read is removed for it, and no file of a run is written over.
before_other=$(ls -lR --full-time "$W/other")
cp "$phage" "$W/other/own.fa.gz"
refused 1 'own.fa.gz: --overwrite of --out would remove what --input names' \
    "$ADDER" train --domain dna --input "$W/other/own.fa.gz" --d-model 16 --layers 1 --steps 1 --out "$W/other" --overwrite
rm "$W/other/own.fa.gz"
refused 1 'would remove what --init names' \
    "$ADDER" train "${data[@]}" --init "$W/other" --out "$W/other" --overwrite
refused 1 'run.json: --out would replace a part of a run' "$ADDER" report "$W/a" --out "$W/other/run.json" --overwrite
refused 1 'would replace a part of a run' "$ADDER" generate --checkpoint "$W/a" --tokens 5 \
    --out "$(echo "$W"/other/step-*12/model.safetensors)" --overwrite
[ "$before_other" = "$(ls -lR --full-time "$W/other")" ] || wrong "a refused command changed the run"

# A finished run: nothing changes.
succeeds "$ADDER" train --out "$W/a" --resume
logs 'has finished its 12 steps; nothing to do'
[ "$(ls -lR --full-time "$W/a")" = "$before" ] || wrong "resuming a finished run changed something"
# Killed between the two renames by which a file system without the exchange replaces a checkpoint.
cp -r "$W/a" "$W/aside"
mv "$W/aside/step-00000012" "$W/aside/.adder-tmp-old-step-00000012"
mkdir "$W/aside/.adder-tmp-1-1"
succeeds "$ADDER" train --out "$W/aside" --resume
logs 'has finished its 12 steps; nothing to do'
diff -r "$W/a" "$W/aside" >/dev/null || wrong "the checkpoint that stood aside did not get its name back"

# Stopped after 7, then on to the end with nothing but --out.
succeeds "$ADDER" "${short[@]}" --out "$W/b" --stop-after 7
logs 'stopped after step 7 of 12'
[ -e "$(last "$W/b" 7)/DONE" ] || wrong "no checkpoint of step 7"
cp "$W/b/metrics.jsonl" "$W/rows"
succeeds "$ADDER" train --out "$W/b" --resume
cmp -s -n "$(stat -c %s "$W/rows")" "$W/rows" "$W/b/metrics.jsonl" || wrong "earlier rows were rewritten"
equal_runs "$W/a" "$W/b" 12

# Killed at random moments.
succeeds "$ADDER" "${long[@]}" --out "$W/whole"
RANDOM=1
kills=0
rows=0
for i in $(seq 12); do
    "$ADDER" "${long[@]}" --out "$W/c" --save-every 1 --resume >/dev/null 2>&1 &
    job=$!
    wait_until has_rows "$W/c" $((rows += RANDOM % 15 + 1))
    kill -9 $job 2>/dev/null
    wait $job 2>/dev/null
    [ $? -eq 137 ] && kills=$((kills + 1))
done
[ "$kills" -ge 2 ] || wrong "only $kills kills met a running program"
succeeds "$ADDER" "${long[@]}" --out "$W/c" --save-every 1 --resume
equal_runs "$W/whole" "$W/c" 200
untouched "$W/c"

# SIGTERM, SIGINT and SIGHUP in the middle: exit 0, and the weights of --stop-after at that step. Where the signal met the
# evaluation of that step, going on makes up for it: then all the rest is the same too.
for signal in TERM INT HUP; do
    run=$W/signal$signal
    # A shell's background jobs ignore SIGINT unless job control is on.
    set -m
    "$ADDER" train "${options[@]}" --steps 200000 --out "$run" >"$W/out" 2>"$W/err" &
    job=$!
    set +m
    wait_until has_rows "$run" 20
    kill -s "$signal" "$job"
    wait "$job"
    rc=$?
    [ "$rc" -eq 0 ] || wrong "SIG$signal must end in exit 0"
    step=$(sed -nE 's/^stopped after step ([0-9]+) of 200000.*/\1/p' "$W/err")
    [ -n "$step" ] || wrong "expected a word about where the run stopped"
    [ -n "$step" ] || continue
    to=$W/to$signal
    succeeds "$ADDER" train "${options[@]}" --steps 200000 --out "$to" --stop-after "$step"
    same "$(last "$run" "$step")/model.safetensors" "$(last "$to" "$step")/model.safetensors"
    untouched "$run"
    for folder in "$run" "$to"; do succeeds "$ADDER" train --out "$folder" --resume --stop-after $((step + 3)); done
    equal_runs "$run" "$to" $((step + 3))
done

# Going on with other options.
for other in '--lr 5e-4:--lr.*0\.001.*0\.0005|--lr.*0\.0005.*0\.001' '--d-model 32:--d-model.*16.*32|--d-model.*32.*16' \
    '--seed 4:--seed.*3.*4|--seed.*4.*3' '--steps 6:--steps.*12.*6|--steps.*6.*12' '--mixer mamba1:--mixer.*mamba1'; do
    read -ra extra <<<"${other%%:*}"
    refused 1 "${other#*:}" "$ADDER" train --out "$W/b" --resume "${extra[@]}"
done
succeeds "$ADDER" train --out "$W/b" --resume --threads 1 --save-every 2 --memory 1GiB --keep 2
logs 'nothing to do'

# More steps than planned at first: the schedule is that of the new number.
succeeds "$ADDER" "${short[@]}" --out "$W/grow" --stop-after 8
succeeds "$ADDER" train --out "$W/grow" --resume --steps 20
[ -e "$(last "$W/grow" 20)/DONE" ] || wrong "--steps must grow"
[ "$(grep -c '"loss"' "$W/grow/metrics.jsonl")" -eq 20 ] || wrong "expected 20 step rows"
succeeds "$ADDER" info --checkpoint "$W/grow" --json
[ "$(json steps)" = 20 ] || wrong "info must name the new number of steps"

# Changed data.
zcat "$phage" | sed 's/>.*/>phage/' >"$W/data.fa"
moved=(train --domain dna --input "$W/data.fa" --d-model 16 --layers 1 --d-state 8 --length 128 --batch 2 --steps 4)
succeeds "$ADDER" "${moved[@]}" --out "$W/moved" --stop-after 2
sed -i '0,/^G/s//C/' "$W/data.fa"
fails_after_log 1 "$W/moved: the data changed: its digest was [0-9a-f]{64}, is [0-9a-f]{64}" \
    "$ADDER" train --out "$W/moved" --resume
rm "$W/data.fa"
refused 1 "$W/data.fa: No such file" "$ADDER" train --out "$W/moved" --resume

# Killed after an evaluation and before a checkpoint of a step: the best is the last one, and as good as that.
succeeds "$ADDER" "${short[@]}" --out "$W/killed" --stop-after 10
best=$(ls -d "$W/killed"/best-*)
rm -r "$W/killed"/step-*
succeeds "$ADDER" info --checkpoint "$W/killed" --json
[ "$(json checkpoint)" = "$best" ] || wrong "expected $best"
[ "$(json finished)" = false ] || wrong "the run has not finished"
succeeds "$ADDER" eval --checkpoint "$W/killed" --input "$phage"
succeeds "$ADDER" train --out "$W/killed" --resume
logs "going on after step $((10#${best##*-})) of $best"
equal_runs "$W/a" "$W/killed" 12
# The same after the last evaluation: what is missing is the checkpoint of the last step.
cp -r "$W/killed" "$W/last"
rm -r "$W/last"/step-*
[ -d "$W/last/best-00000012" ] || wrong "expected the last evaluation to be the best"
succeeds "$ADDER" info --checkpoint "$W/last" --json
[ "$(json finished)" = false ] || wrong "the checkpoint of the last step is missing"
succeeds "$ADDER" train --out "$W/last" --resume
equal_runs "$W/a" "$W/last" 12
succeeds "$ADDER" info --checkpoint "$W/last" --json
[ "$(json finished)" = true ] || wrong "the run has finished"
rm -r "$W/last"/step-* "$W/last"/best-*
refused 1 "$W/last: the run has no complete checkpoint yet; hint: .*--resume" "$ADDER" info --checkpoint "$W/last"

# Nothing to go on from.
succeeds "$ADDER" "${short[@]}" --out "$W/new" --resume
logs 'no complete checkpoint, starting at step 0'
equal_runs "$W/a" "$W/new" 12
refused 2 '--(domain|input)' "$ADDER" train --out "$W/nowhere" --resume
[ -e "$W/nowhere" ] && wrong "a refused run left $W/nowhere"

# Starting from the weights of another run.
succeeds "$ADDER" "${short[@]}" --out "$W/init" --init "$W/a"
logs "initial weights from $W/a/step-00000012"

# The first pass over a step that this build cannot do.
refused 1 'cuda' "$ADDER" train --domain dna --input "$W/missing.fa" --out "$W/gpu" --device cuda
refused 2 "unknown option '--leanring-rate'" "$ADDER" "${short[@]}" --out "$W/x" --leanring-rate 1
refused 2 'the nearest is --layers' "$ADDER" "${short[@]}" --out "$W/x" --layer 2
refused 2 '--steps: .*whole number' "$ADDER" train "${options[@]}" --out "$W/x" --steps none
for leftover in "$W/gpu" "$W/x"; do [ -e "$leftover" ] && wrong "a refused run left $leftover"; done

finish
