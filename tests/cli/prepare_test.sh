#!/usr/bin/env bash
# A prepared store trains, evaluates and embeds like the sources it was made of, alone, beside them, and with its split.
. "$(dirname "$0")/lib.sh"

# Two files: soft-masked stretches, runs of N and IUPAC codes, short records, names that the store has to keep.
{
    printf '>one first\n'
    gzip -dc "$phage" | sed 1d | head -n 150 | sed '20,70s/.*/\L&/; 40,45s/[a-z]/n/g; s/CAG/CRG/'
    printf '>two\nACGTN\n>three\nA\n'
} >"$W/a.fa"
{ printf '>four\n'; gzip -dc "$phage" | sed 1d | tail -n 100; } >"$W/b.fa"

settings=(--domain dna --d-model 16 --layers 1 --d-state 8 --length 64 --batch 2 --steps 3 --eval-every 1 --seed 3
    --mask-weight 0.5)
# same_run NAME: the run $W/NAME has the losses and the data of $W/source.
same_run() {
    for run in source "$1"; do
        sed -E 's/"tokens_per_s":[^,}]*//' "$W/$run/metrics.jsonl" >"$W/$run.metrics"
        sed -n '/"data": {/,/}/p' "$W/$run/run.json" | grep -E 'digest|_tokens' >"$W/$run.data"
    done
    grep -q valid_loss "$W/source.metrics" && grep -q '"digest": "[0-9a-f]\{64\}"' "$W/source.data" ||
        wrong "metrics or digests are missing"
    same "$W/source.metrics" "$W/$1.metrics"
    same "$W/source.data" "$W/$1.data"
}

split=(--valid-fraction 0.2 --gap 7)
succeeds "$ADDER" train "${settings[@]}" --input "$W/a.fa" --input "$W/b.fa" "${split[@]}" --out "$W/source"
succeeds "$ADDER" prepare --domain dna --input "$W/a.fa" --input "$W/b.fa" --out "$W/ab.h5" --json
[ "$(json records)" = 4 ] || wrong "expected four records"
digest=$(json digest)
grep -q "\"digest\": \"$digest\"" "$W/source/run.json" || wrong "another digest than the run's"
succeeds "$ADDER" train "${settings[@]}" --input "$W/ab.h5" "${split[@]}" --out "$W/whole"
logs 'ab.h5: 4 records'
same_run whole

# The same input makes the same bytes, whenever; a store of a store has the same digest.
sleep 1
succeeds "$ADDER" prepare --domain dna --input "$W/a.fa" --input "$W/b.fa" --out "$W/again.h5"
same "$W/ab.h5" "$W/again.h5"
succeeds "$ADDER" prepare --domain dna --input "$W/ab.h5" --out "$W/again.h5" --overwrite --json
[ "$(json digest)" = "$digest" ] || wrong "a store of a store has another digest"

# A store may bring its split; then none is asked for, and none may be.
succeeds "$ADDER" prepare --domain dna --input "$W/a.fa" --input "$W/b.fa" "${split[@]}" --out "$W/split.h5"
says '4 records, [0-9]+ symbols in [0-9.]+ KiB, split'  # too small a store to tell bits a symbol
succeeds "$ADDER" train "${settings[@]}" --input "$W/split.h5" --out "$W/from_split"
same_run from_split
refused 1 'split.h5: .*split' "$ADDER" train "${settings[@]}" --input "$W/split.h5" "${split[@]}" --out "$W/new"

# Beside a source, and as held-out data.
succeeds "$ADDER" prepare --domain dna --input "$W/b.fa" --out "$W/b.h5"
succeeds "$ADDER" train "${settings[@]}" --input "$W/a.fa" --input "$W/b.h5" "${split[@]}" --out "$W/beside"
same_run beside
rm -r "$W/source"
succeeds "$ADDER" train "${settings[@]}" --input "$W/a.fa" --valid "$W/b.fa" --out "$W/source"
succeeds "$ADDER" train "${settings[@]}" --input "$W/a.fa" --valid "$W/b.h5" --out "$W/held_out"
same_run held_out
succeeds "$ADDER" prepare --domain dna --input "$W/a.fa" --valid "$W/b.fa" --out "$W/both.h5"
succeeds "$ADDER" train "${settings[@]}" --input "$W/both.h5" --out "$W/from_both"
same_run from_both

# Names that occur in both files are told apart, wherever they are read.
mkdir "$W/x" "$W/y"
printf '>same\nACGTACGTAACCGGTT\n' | tee "$W/x/1.fa" >"$W/y/1.fa"
rm -r "$W/source"
succeeds "$ADDER" train "${settings[@]}" --input "$W/x" --input "$W/y" --valid "$W/b.fa" --out "$W/source"
(cd "$W" && "$ADDER" prepare --domain dna --input x --input y --out xy.h5) >"$W/out" 2>"$W/err" || wrong "expected exit 0"
succeeds "$ADDER" train "${settings[@]}" --input "$W/xy.h5" --valid "$W/b.fa" --out "$W/named"
same_run named

# Evaluation, by record; a run that goes on; another digest.
for input in a.fa ab.h5 both.h5 b.fa b.h5; do
    part=()
    [ "$input" != both.h5 ] || part=(--part train)
    succeeds "$ADDER" eval --checkpoint "$W/whole" --input "$W/$input" "${part[@]}" --per-record "$W/$input.tsv" --json
    cp "$W/out" "$W/$input.eval"
done
same "$W/a.fa.tsv" "$W/both.h5.tsv"
same "$W/b.fa.eval" "$W/b.h5.eval"
same "$W/b.fa.tsv" "$W/b.h5.tsv"
succeeds "$ADDER" embed --checkpoint "$W/whole" --input "$W/both.h5" --out "$W/both.h5.embedding.h5"
succeeds "$ADDER" embed --checkpoint "$W/whole" --input "$W/a.fa" --input "$W/b.fa" --out "$W/ab.embedding.h5"
same "$W/ab.embedding.h5" "$W/both.h5.embedding.h5"
succeeds "$ADDER" eval --checkpoint "$W/whole" --input "$W/both.h5" --json
same "$W/out" "$W/b.fa.eval"
# A run of the source, or of a store without a split, takes the parts of one with the same split, which may be another.
succeeds "$ADDER" eval --checkpoint "$W/whole" --input "$W/ab.h5" --json
cp "$W/out" "$W/ab.eval"
succeeds "$ADDER" eval --checkpoint "$W/whole" --input "$W/split.h5" --json
logs 'the data of the run, in the parts of the run$'
same "$W/out" "$W/ab.eval"
succeeds "$ADDER" prepare --domain dna --input "$W/a.fa" --input "$W/b.fa" --valid-fraction 0.3 --out "$W/other.h5"
succeeds "$ADDER" eval --checkpoint "$W/whole" --input "$W/other.h5"
logs '^warning: this is the data of the run, which was not trained on the same part of it'
succeeds "$ADDER" train --out "$W/whole" --resume --steps 5
cp "$W/a.fa" "$W/c.fa"
printf '>five\nACGT\n' >>"$W/c.fa"
succeeds "$ADDER" prepare --domain dna --input "$W/c.fa" --out "$W/ab.h5" --overwrite
fails_after_log 1 'the data changed: its digest' "$ADDER" train --out "$W/whole" --resume --steps 6

# What cannot be: each one line, nothing left behind.
refused 1 'b.h5: --out is there already' "$ADDER" prepare --domain dna --input "$W/a.fa" --out "$W/b.h5"
refused 2 'domain' "$ADDER" prepare --input "$W/a.fa" --out "$W/new.h5"
refused 1 'two.fa: No such file' "$ADDER" prepare --domain dna --input "$W/two.fa" --out "$W/new.h5"
refused 1 'no/folder does not exist' "$ADDER" prepare --domain dna --input "$W/a.fa" --out "$W/no/folder/new.h5"
[ -e "$W/new.h5" ] && wrong "a refused preparation left $W/new.h5"
head -c 3000 "$W/b.h5" >"$W/cut.h5"
head -c 3000 "$ADDER" >"$W/foreign.h5"
{ head -c 2500 "$W/b.h5"; head -c 700 /dev/zero | tr '\0' 'x'; tail -c +3201 "$W/b.h5"; } >"$W/damaged.h5"
for name in cut damaged foreign; do
    refused 1 "$W/$name.h5" "$ADDER" train "${settings[@]}" --input "$W/$name.h5" --out "$W/new"
    [ -e "$W/new" ] && wrong "a refused run left $W/new"
done
refused 1 'b.h5: was prepared with --min-length 1, not 50' \
    "$ADDER" train "${settings[@]}" --input "$W/b.h5" --min-length 50 --out "$W/new"
untouched "$W"

# A signal while inputs are still read: they come from a pipe that does not end.
mkfifo "$W/pipe"
mkdir "$W/stopped"
"$ADDER" prepare --domain dna --input - --out "$W/stopped/x.h5" <"$W/pipe" >"$W/out" 2>"$W/err" &
job=$!
exec 3>"$W/pipe"
printf '>a\nACGT' >&3
kill -s TERM "$job"
wait "$job"
rc=$?
exec 3>&-
[ "$rc" -eq 143 ] || [ "$rc" -eq 1 ] || wrong "expected the end by a signal"
[ -z "$(ls -A "$W/stopped")" ] || wrong "a stopped command left something"

# A signal while the store is written: one line, nothing left behind.
{ echo '>long'; for _ in $(seq 800); do gzip -dc "$phage" | sed 1d; done; } >"$W/long.fa"
for signal in INT HUP; do
    # A shell's background jobs ignore SIGINT unless job control is on.
    set -m
    "$ADDER" prepare --domain dna --input "$W/long.fa" --out "$W/stopped.h5" >"$W/out" 2>"$W/err" &
    job=$!
    set +m
    until [ -n "$(find "$W" -maxdepth 1 -name '.adder-tmp-*' -size +0)" ] || ! kill -0 "$job" 2>/dev/null; do :; done
    kill -s "$signal" "$job"
    wait "$job"
    rc=$?
    [ "$rc" -eq 1 ] || wrong "expected exit 1 after SIG$signal"
    logs '^adder: prepare: stopped by a signal before the end; nothing was written$'
    [ ! -e "$W/stopped.h5" ] || wrong "a stopped preparation left a store"
    untouched "$W"
done
finish
