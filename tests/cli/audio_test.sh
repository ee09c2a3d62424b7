#!/usr/bin/env bash
# Speech through the commands: train, resume, eval, prepare, embed, finetune, predict, and inputs that are wrong.
. "$(dirname "$0")/lib.sh"

digits=$ADDER_SOURCE_DIR/datasets/data/fsdd
names=(--pattern '{label}_{group}_{take}')
# Speakers as classes, of whom the digits 8 and 9 are held out.
classes=(--pattern '{group}_{label}_{take}' --valid-where group=8,9)
model=(--domain audio --d-model 16 --layers 1 --d-state 8 --length 256 --batch 2 --steps 4 --eval-every 2 --seed 3)
run_data() { sed -n '/"data": {/,/}/p' "$1/run.json" | grep -E 'digest|_tokens'; }
losses() { sed -E 's/"tokens_per_s":[^,}]*//' "$1/metrics.jsonl"; }

# Speakers stay whole; what was read is printed; the rate of the files is recorded.
succeeds "$ADDER" train "${model[@]}" --input "$digits" "${classes[@]}" --class-conditional --out "$W/run"
logs '10 audio files, 1 others left out'
logs '10 files: WAV .*16 bit PCM, 8000 Hz, 1 channel'
logs '10 files kept, 0 left out; 10 records, 3[0-9]+ samples \([0-9.]+ s at 8000 Hz\); channels mix, level none, scale 1, codec mulaw'
grep -q '"rate": 8000' "$W/run/run.json" || wrong "expected the rate in run.json"
grep -q '"codec": "mulaw"' "$W/run/run.json" || wrong "expected the codec in run.json"
tr -d ' \n' <"$W/run/run.json" | grep -q '"classes":\["jackson","theo"\]' || wrong "expected the classes in run.json"

# A printed configuration is one, though it has the options of DNA too.
succeeds "$ADDER" train "${model[@]}" --input "$digits" --out "$W/printed" --print-config
cp "$W/out" "$W/printed.json"
succeeds "$ADDER" train --config "$W/printed.json"

# Stopped and resumed: the same bits.
succeeds "$ADDER" train "${model[@]}" --input "$digits" "${classes[@]}" --class-conditional \
    --out "$W/stopped" --stop-after 2
succeeds "$ADDER" train --out "$W/stopped" --resume
same "$W/run/step-00000004/model.safetensors" "$W/stopped/step-00000004/model.safetensors"
[ "$(losses "$W/run")" = "$(losses "$W/stopped")" ] || wrong "a resumed run must give the same losses"

# Scores: every record has as many targets as samples, for its class stands before it.
succeeds "$ADDER" eval --checkpoint "$W/run" --input "$digits" "${classes[@]}" --json --baselines 0,2 \
    --per-record "$W/scores.tsv"
close "$(json bits_per_sample)" "$(json bits_per_token)" 0
says '"order_0":[0-9.]+,"order_2":[0-9.]+'
[ "$(awk 'NR > 1 { n += $2 } END { print n }' "$W/scores.tsv")" = "$(json tokens)" ] || wrong "records and total differ"
bytes=$(stat -c %s "$digits"/[89]_*.wav | awk '{ n += ($1 - 44) / 2 } END { print n }')
[ "$(json tokens)" -eq "$bytes" ] || wrong "expected $bytes scored samples"
# A recording from standard input, in the parts of the run that learned from it.
"$ADDER" train "${model[@]}" --input - --valid-fraction 0.2 --out "$W/piped" <"$digits/0_theo_0.wav" >"$W/out" 2>"$W/err" ||
    wrong "expected exit 0 of a run from a pipe"
"$ADDER" eval --checkpoint "$W/piped" --input - --json <"$digits/0_theo_0.wav" >"$W/out" 2>"$W/err"
logs 'in the parts of the run: --valid-fraction 0.2$'
close "$(json nats_per_token)" "$(sed -n 's/.*"valid_loss": *\([^,}]*\).*/\1/p' "$W/piped/metrics.jsonl" | tail -n 1)" 1e-9
# A file that is resampled on the way in, from standard input, is scored too.
"$ADDER" eval --checkpoint "$W/run" --input - <"$digits/0_theo_0.wav" >"$W/out" 2>"$W/err" || wrong "expected exit 0 of a pipe"
says 'bits per sample'
logs 'warning: no class stands before records without a label: 1'
cat "$digits/0_theo_0.wav" | "$ADDER" eval --checkpoint "$W/run" --input - --spool 100 >"$W/out" 2>"$W/err" &&
    wrong "expected a limit on standard input"
logs 'standard input: more than 100 bytes; hint: --spool'

# 16 bits: two tokens a sample.
succeeds "$ADDER" train "${model[@]}" --input "$digits/0_theo_0.wav" --codec pcm16 --rate 4000 --valid-fraction 0.2 --out "$W/pcm16"
logs '1 file resampled'
succeeds "$ADDER" eval --checkpoint "$W/pcm16" --input "$digits/1_jackson_0.wav" --json
awk -v s="$(json bits_per_sample)" -v t="$(json bits_per_token)" 'BEGIN { exit !(s > 1.99999 * t && s < 2.00001 * t) }' ||
    wrong "expected two tokens a sample"

# A store trains like its source, without options.
succeeds "$ADDER" prepare --domain audio --input "$digits" "${names[@]}" --valid-where group=jackson --level peak --out "$W/digits.h5" --json
[ "$(json records)" -eq 10 ] || wrong "expected ten records"
succeeds "$ADDER" train "${model[@]}" --input "$digits" "${names[@]}" --valid-where group=jackson --level peak --out "$W/source"
succeeds "$ADDER" train "${model[@]}" --input "$W/digits.h5" --out "$W/stored"
[ "$(run_data "$W/source")" = "$(run_data "$W/stored")" ] || wrong "digests differ"
[ "$(losses "$W/source")" = "$(losses "$W/stored")" ] || wrong "losses differ"
grep -q '"level": "peak"' "$W/stored/run.json" || wrong "expected the store's level in run.json"
# The run of the source scores its parts in the store, which brings them.
succeeds "$ADDER" eval --checkpoint "$W/source" --input "$digits" "${names[@]}" --valid-where group=jackson --json
cp "$W/out" "$W/source.eval"
succeeds "$ADDER" eval --checkpoint "$W/source" --input "$W/digits.h5" --json
logs 'the data of the run, in the parts of the run$'
grep -q '^warning: ' "$W/err" && wrong "what is scored was held out"
same "$W/out" "$W/source.eval"
# What the store holds out its source has too.
succeeds "$ADDER" train "${model[@]}" --input "$W/digits.h5" --input "$digits" --level peak --out "$W/both"
logs '^warning: 5 held-out sequences are also trained on, '
refused 1 'digits.h5: was prepared with --level "peak", not "none"' "$ADDER" train "${model[@]}" --input "$W/digits.h5" --level none --out "$W/new"
refused 1 'digits.h5: was prepared with --level' "$ADDER" eval --checkpoint "$W/run" --input "$W/digits.h5"

# Embeddings and classes.
succeeds "$ADDER" embed --checkpoint "$W/stored" --input "$digits" --out "$W/digits_embedded.h5"
says '^10 embeddings of 16 numbers'
{ printf 'path\tlabel\tsplit\n'
    for f in "$digits"/*.wav; do
        n=$(basename "$f")
        case $n in [01]_*) part=test ;; [23]_*) part=valid ;; *) part=train ;; esac
        printf '%s\t%s\t%s\n' "$f" "$(echo "$n" | cut -d_ -f2)" $part
    done; } >"$W/speakers.tsv"
succeeds "$ADDER" finetune --checkpoint "$W/stored" --input "$W/speakers.tsv" --out "$W/classifier" --steps 2 --seed 1
succeeds "$ADDER" embed --checkpoint "$W/run" --input "$digits" --out "$W/of_classes.h5"
grep -q 'no class stands' "$W/err" && wrong "an embedding needs no class"
succeeds "$ADDER" predict --checkpoint "$W/classifier" --input "$digits" --out "$W/predicted.tsv"
[ "$(head -n 1 "$W/predicted.tsv")" = "$(printf 'name\tlabel\tjackson\ttheo')" ] || wrong "expected a column a class"
[ "$(wc -l <"$W/predicted.tsv")" -eq 11 ] || wrong "expected a row a clip"

# From the weights of another run: its classes, its tokens and, but for a word, its rate.
from=("$ADDER" train "${model[@]}" --input "$digits" --init "$W/run" --out "$W/init" --overwrite)
succeeds "${from[@]}" "${classes[@]}"
grep -q '^warning: --init' "$W/err" && wrong "the same data"
succeeds "${from[@]}" "${classes[@]}" --rate 4000
logs '^warning: --init .*run/step-00000004: its sounds have 8000 Hz, these 4000 Hz'
fails_after_log 1 '--init .*: its classes are jackson, theo, the labels of the data are 0, 1, 2, ' "${from[@]}" "${names[@]}"
refused 1 'class-conditional, given or of the model of --init: records without a label: 10 ' "${from[@]}"
refused 1 '--codec: the tokens of .*run/step-00000004 are of mulaw, got linear8; hint: leave it out' \
    "${from[@]}" "${classes[@]}" --codec linear8

# A manifest says it all: parts of files, labels, parts of the split.
{ printf 'path,label,group,split,start,end\n'
    printf '%s,zero,theo,train,0,0.2\n' "$digits/0_theo_0.wav" "$digits/2_theo_0.wav"
    printf '%s,one,jackson,valid,0.1,\n' "$digits/1_jackson_0.wav"; } >"$W/list.csv"
succeeds "$ADDER" train "${model[@]}" --input "$W/list.csv" --out "$W/listed"
logs 'train 3200 samples in 2 records, held out [0-9]+ samples in 1 record,'
succeeds "$ADDER" eval --checkpoint "$W/listed" --input "$W/list.csv" --part train --json
[ "$(json tokens)" -eq 3198 ] || wrong "expected the targets of two parts"

# Published models, as options that others replace. The paper gives 6.1, 24.3 and 3.5 million parameters.
for preset in sc09:6.1 sc09-large:24.3 youtubemix:3.5; do
    succeeds "$ADDER" train --preset "${preset%:*}" --length 16384 --print-config
    says '"level": "clip-minmax"'
    says '"backbone": "unet"'
    says '"length": 16384'
    says '"rate": 16000'
done
succeeds "$ADDER" plan --preset sc09 --length 16 --batch 1 --json
awk -v n="$(json parameters)" 'BEGIN { exit !(n > 6.1e6 * 0.99 && n < 6.1e6 * 1.01) }' || wrong "expected 6.1 million parameters"
succeeds "$ADDER" train --preset sc09 --input "$digits" --rate 8000 --d-model 16 --layers 1 --dt-rank 1 --length 64 --batch 1 --steps 1 \
    --out "$W/preset"
grep -q '"preset": "sc09"' "$W/preset/run.json" || wrong "expected the preset in run.json"
refused 2 'preset sc09: of --domain audio, not of dna' "$ADDER" train --preset sc09 --domain dna --input "$phage" --out "$W/new"
succeeds "$ADDER" train --preset sc09 --backbone flat --print-config
says '"pool": null'
succeeds "$ADDER" train --preset sc09 --mixer mamba2 --print-config
says '"dt-rank": null'
cp "$W/out" "$W/preset.json"
succeeds "$ADDER" train --config "$W/preset.json" --print-config
same "$W/out" "$W/preset.json"
refused 2 'pool: of --backbone unet, not of flat' "$ADDER" train --preset sc09 --backbone flat --pool 4,4 --print-config
refused 2 'preset: expected one of sc09' "$ADDER" train --preset wavenet --input "$digits" --out "$W/new"

# Bad input.
mkdir "$W/bad" "$W/empty"
cp "$digits/0_theo_0.wav" "$W/bad/good.wav"
head -c 3000 "$digits/1_jackson_0.wav" >"$W/bad/cut.wav"
: >"$W/bad/zero.wav"
printf '\0\0\0\040ftypisom' >"$W/bad/video.wav"
succeeds "$ADDER" prepare --domain audio --input "$W/bad" --out "$W/bad.h5"
logs '1 file kept, 3 left out'
logs 'warning: left out: .*cut.wav: the header promises [0-9]+ bytes of samples, 2956 are there'
logs 'warning: left out: .*zero.wav: is empty'
logs 'warning: left out: .*video.wav: is an MP4 file'
refused 1 'cut.wav: the header promises' "$ADDER" prepare --domain audio --input "$W/bad" --strict --out "$W/new.h5"
refused 1 'cut.wav: the header promises' "$ADDER" prepare --domain audio --input "$W/bad/cut.wav" --out "$W/new.h5"
if [ "$(id -u)" -ne 0 ]; then
    mkdir "$W/bad/sub" && chmod 000 "$W/bad/sub"
    succeeds "$ADDER" prepare --domain audio --input "$W/bad" --out "$W/sub.h5"
    logs 'warning: left out: .*bad/sub: Permission denied'
    refused 1 'bad/sub: Permission denied' "$ADDER" prepare --domain audio --input "$W/bad" --strict --out "$W/new.h5"
    chmod 700 "$W/bad/sub"
fi
refused 1 'empty: no audio in this folder' "$ADDER" prepare --domain audio --input "$W/empty" --out "$W/new.h5"
refused 1 'records without a label: 10 ' "$ADDER" train "${model[@]}" --input "$digits" --class-conditional --out "$W/new"
refused 1 'held-out records with labels that are not trained on: 1 \(7_.*: 7\)' \
    "$ADDER" train "${model[@]}" --input "$digits" "${names[@]}" --class-conditional --valid-where label=7 --out "$W/new"
succeeds "$ADDER" prepare --domain dna --input "$phage" --out "$W/dna.h5"
for reader in "train ${model[*]} --out $W/new" "eval --checkpoint $W/run" "embed --checkpoint $W/run --out $W/new"; do
    refused 1 'dna.h5: holds records of domain dna, expected audio; hint: ' "$ADDER" $reader --input "$W/dna.h5"
done
refused 1 '1 of 1 files do not fit: good.wav' "$ADDER" prepare --domain audio --input "$W/bad/good.wav" "${names[@]}" --out "$W/new.h5"
refused 1 'valid-where take=9: no record fits' "$ADDER" prepare --domain audio --input "$digits" "${names[@]}" --valid-where take=9 --out "$W/new.h5"
refused 2 "valid-where: there is no field 'take'" "$ADDER" prepare --domain audio --input "$digits" --valid-where take=0 --out "$W/new.h5"
refused 2 'pattern: .*a brace without its pair' "$ADDER" prepare --domain audio --input "$digits" --pattern '{label' --out "$W/new.h5"
refused 2 'codec: expected one of mulaw, linear8, pcm16' "$ADDER" train "${model[@]}" --input "$digits" --codec mp3 --out "$W/new"
refused 2 'gap: expected a whole number from 0 to 4398046511104,' \
    "$ADDER" train "${model[@]}" --input "$digits" --valid-fraction 0.1 --gap 9223372036854775807 --out "$W/new"
refused 2 'rate: expected a whole number from 1000 to 768000' "$ADDER" train "${model[@]}" --input "$digits" --rate 0 --out "$W/new"
refused 2 'kmer: of --domain dna, not of audio' "$ADDER" train "${model[@]}" --input "$digits" --kmer 3 --out "$W/new"
refused 2 'codec: of --domain audio, not of dna' "$ADDER" plan --codec mulaw
refused 2 'codec: of --domain audio, not of dna' "$ADDER" train --domain dna --input "$phage" --codec mulaw --out "$W/new"
[ ! -e "$W/new" ] && [ ! -e "$W/new.h5" ] || wrong "a refused command left something"
untouched "$W"
# Names that are no UTF-8, as of old archives: of files, and of folders that are classes.
latin=$(printf 'caf\351')
mkdir -p "$W/old/$latin" "$W/old/tea"
cp "$ADDER_SOURCE_DIR/datasets/data/fsdd/0_theo_0.wav" "$W/old/$latin/$latin.wav"
cp "$ADDER_SOURCE_DIR/datasets/data/fsdd/1_jackson_0.wav" "$W/old/tea"
old=(train --domain audio --class-conditional --input "$W/old" --d-model 16 --layers 1 --d-state 8 --length 64 --batch 2 --steps 4)
succeeds "$ADDER" "${old[@]}" --out "$W/latin" --stop-after 2
succeeds "$ADDER" train --out "$W/latin" --resume
succeeds "$ADDER" eval --checkpoint "$W/latin" --input "$W/old" --json
grep -q 'does not know' "$W/err" && wrong "a class was not known again"
succeeds "$ADDER" embed --checkpoint "$W/latin" --input "$W/old" --out "$W/latin.h5"
succeeds "$ADDER" prepare --domain audio --input "$W/old" --out "$W/latin-store.h5"
succeeds "$ADDER" info --checkpoint "$W/latin" --json
succeeds "$ADDER" report "$W/latin" --out "$W/latin.html"

finish
