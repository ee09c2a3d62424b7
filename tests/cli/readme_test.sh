#!/usr/bin/env bash
# The blocks of the README, as they stand there, on a small genome and with fewer steps.
. "$(dirname "$0")/lib.sh"
readme=$ADDER_SOURCE_DIR/README.md
block() { awk -v language="$1" -v n="$2" -f "$ADDER_SOURCE_DIR/tests/readme_block.awk" "$readme"; }

cd "$W" || exit 1
mkdir -p genomes build/cpu bin
cp "$phage" genomes/
ln -s "$ADDER" build/cpu/adder
# 60 windows, two classes by their place, and the same as records.
letters=$(gzip -dc "$phage" | grep -v '>' | tr -d '\r\n')
name=$(gzip -dc "$phage" | sed -n '1s/^>\([^ ]*\).*/\1/p')
printf 'name\tlabel\n' >labels.tsv
for i in $(seq 0 59); do
    label=$([ $((i % 2)) -eq 0 ] && echo even || echo odd)
    printf '%s\t%s\t%s\tw%s\n' "$name" $((i * 800)) $((i * 800 + 192)) "$i" >>windows.bed
    printf 'w%s\t%s\n' "$i" "$label" >>labels.tsv
    printf '>w%s\n%s\n' "$i" "${letters:$((i * 800)):192}" >>records.fa
done
cp labels.tsv records.tsv

smaller() { sed -E 's/--steps 1200/--steps 6/; s/--steps 600/--steps 8/; s/--tokens 10000/--tokens 300/; s/(\$A finetune)/\1 --steps 3/'; }

block sh 1 | smaller >first.sh
block sh 2 | smaller >second.sh
[ "$(grep -c '\$A' first.sh)" -ge 6 ] || wrong "the first block has fewer commands than it had"
[ "$(grep -c '\$A' second.sh)" -ge 6 ] || wrong "the second block has fewer commands than it had"
cat first.sh second.sh >both.sh
succeeds bash -eu both.sh
for file in run/generated.fa windows.h5 run/report.html classes/confusion.svg classes.tsv more/metrics.jsonl genomes.h5; do
    [ -s "$file" ] || wrong "$file is missing or empty"
done
grep -q 'context model of order 12' run/report.html || wrong "the report shows no evaluation"
grep -qE '[1-6]-mer counts' run/report.html || wrong "the report shows no probe"
grep -q 'sample_0 seed=1' run/report.html || wrong "the report shows no generated DNA"
[ "$(wc -l <classes.tsv)" -eq 61 ] || wrong "classes.tsv has not a line a record"

# Speech: the three commands say what the page says that they do.
mkdir digits
for file in "$ADDER_SOURCE_DIR"/datasets/data/fsdd/*_0.wav; do
    cp "$file" digits/
    name=$(basename "$file" 0.wav)
    cp "$file" "digits/${name}7.wav"
done
block sh 3 | sed 's/--steps 500/--steps 4/' >speech.sh
[ "$(grep -c '\$A' speech.sh)" -eq 3 ] || wrong "the block on speech has not three commands"
succeeds bash -eu speech.sh
logs '^input in all: 20 files kept, 0 left out; 20 records, [0-9]+ samples \([0-9.]+ s at 8000 Hz\); '
logs '^step 4: held out [0-9.]+ nats, [0-9.]+ bits per sample over [0-9]+ samples$'
logs '^4 records of 0.500 s at 8000 Hz in [0-9.]+ s: [0-9]+ samples/s, [0-9.]+ of real time$'
says '^[0-9.]+ bits per sample$'
says '^[0-9.]+ bits per sample: order_2$'
[ "$(ls clips)" = "$(printf '%s\n' 0000.wav 0001.wav 0002.wav 0003.wav listen.html)" ] || wrong "expected four clips and a page"

# The batch script: as long as the run is not finished it queues itself again, and then no more.
block bash 1 >job.sh
succeeds bash -n job.sh
[ "$(wc -l <job.sh)" -le 12 ] || wrong "the batch script has more than 12 lines"
cat >bin/srun <<'TEXT'
#!/bin/sh
# Stands in for SLURM: runs the command, and stops it as a time limit would.
exec "$@" $LIMIT
TEXT
printf '#!/bin/sh\necho "$@" >>requeued\n' >bin/scontrol
chmod +x bin/*
ln -s "$ADDER" bin/adder
sed -i -E 's/--d-model 256 --layers 8 --length 131072 --steps 20000/--d-model 32 --layers 1 --d-state 16 --length 256 --steps 6/; s/--out run/--out job/; s/--checkpoint run/--checkpoint job/' job.sh
export SLURM_JOB_ID=17
succeeds env LIMIT="--stop-after 3" PATH="$W/bin:$PATH" bash job.sh
[ "$(cat requeued 2>/dev/null)" = "requeue 17" ] || wrong "a run that is not finished was not queued again"
succeeds env LIMIT= PATH="$W/bin:$PATH" bash job.sh
[ "$(wc -l <requeued)" -eq 1 ] || wrong "a finished run was queued again"
"$ADDER" info --checkpoint job --json | grep -q '"step":6' || wrong "the job did not go on from where it stopped"
finish
