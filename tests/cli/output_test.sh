#!/usr/bin/env bash
# No command writes over what it reads, however it came to it: in a tree of folders, by a pattern, a table, or a link.
. "$(dirname "$0")/lib.sh"

mkdir -p "$W/tree/inner/deep" "$W/linked" "$W/sound/inner" "$W/clips"
fasta=$W/tree/inner/deep/a.fa
gzip -dc "$phage" | head -n 30 >"$fasta"
{ echo '>b'; gzip -dc "$phage" | sed -n 31,60p; } >"$W/tree/b.fa"
ln -s ../tree/inner/deep/a.fa "$W/linked/l.fa"
ln -s tree "$W/way"
printf 'path\tlabel\n%s\tx\n' "$fasta" >"$W/table.tsv"
cp "$ADDER_SOURCE_DIR"/datasets/data/fsdd/[0-3]_*.wav "$W/sound/inner"
wav=$(echo "$W"/sound/inner/*.wav | cut -d' ' -f1)
find "$W/tree" "$W/sound" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum >"$W/before"

small=(--d-model 16 --layers 1 --d-state 8 --length 64 --batch 2 --steps 2)
succeeds "$ADDER" train --domain dna --input "$fasta" "${small[@]}" --out "$W/run"
succeeds "$ADDER" train --domain audio --input "$W/sound" "${small[@]}" --out "$W/voice"

# never WORDS...: the command with --overwrite ends in one error about what was read.
never() {
    fails_after_log 1 'would (replace|remove) (what was read|a file in the folder of|what --)' "$ADDER" "$@" --overwrite
}
for input in "$W/tree/inner/deep" "$W/linked" "$W/way/inner/deep" "$W/table.tsv"; do
    never embed --checkpoint "$W/run" --input "$input" --out "$fasta"
    never prepare --domain dna --input "$input" --out "$fasta"
    never eval --checkpoint "$W/run" --input "$input" --per-record "$fasta"
done
never prepare --domain dna --input "$W/tree/b.fa" --valid "$W/linked" --out "$fasta"
never embed --checkpoint "$W/run" --input "$W/tree" --out "$W/way/b.fa"
never embed --checkpoint "$W/run" --input "$W/way" --out "$W/tree/b.fa"
printf 'path\n%s\n' "$wav" >"$W/sound.tsv"
for input in "$W/sound" "$W/sound/*/*.wav" "$W/sound.tsv"; do
    never embed --checkpoint "$W/voice" --input "$input" --out "$wav"
    never prepare --domain audio --input "$input" --out "$wav"
    never eval --checkpoint "$W/voice" --input "$input" --per-record "$wav"
done

# A recording that is left out because it is damaged is still the user's.
head -c 30 "$wav" >"$W/sound/inner/broken.wav"
never prepare --domain audio --input "$W/sound" --out "$W/sound/inner/broken.wav"
[ "$(wc -c <"$W/sound/inner/broken.wav")" -eq 30 ] || wrong "a damaged recording was replaced"
rm "$W/sound/inner/broken.wav"

# Token stores, of which the sources are named too.
succeeds "$ADDER" prepare --domain dna --input "$W/tree/b.fa" --out "$W/tree/inner/b.h5"
cp "$W/tree/inner/b.h5" "$W/store"
never embed --checkpoint "$W/run" --input "$W/way/inner" --out "$W/tree/inner/b.h5"
same "$W/tree/inner/b.h5" "$W/store"
rm "$W/tree/inner/b.h5"

# The sequences of a probe, and of a classifier's predictions.
awk 'BEGIN { print "name\tlabel"; for (i = 0; i < 20; ++i) print "r" i "\tc" i % 2 }' >"$W/labels.tsv"
mkdir -p "$W/many"
awk 'BEGIN { srand(1); for (i = 0; i < 20; ++i) { print ">r" i; s = ""; while (length(s) < 60) s = s substr(i % 2 ? "ACG" : "CGT", 1 + int(3 * rand()), 1); print s } }' \
    >"$W/many/r.fa"
cp "$W/many/r.fa" "$W/many.fa"
succeeds "$ADDER" embed --checkpoint "$W/run" --input "$W/many" --out "$W/many.h5"
never probe --embeddings "$W/many.h5" --labels "$W/labels.tsv" --sequences "$W/many" --confusion "$W/many/r.fa"
succeeds "$ADDER" finetune --checkpoint "$W/run" --input "$W/many" --labels "$W/labels.tsv" --steps 2 --out "$W/classes"
never predict --checkpoint "$W/classes" --input "$W/many" --out "$W/many/r.fa"
same "$W/many/r.fa" "$W/many.fa"

# A run is not replaced with what it is to read in it.
cp -r "$W/run" "$W/old"
cp "$fasta" "$W/old/step-00000002/a.fa"
printf 'path\tlabel\n%s\tx\n' "$W/old/step-00000002/a.fa" >"$W/inside.tsv"
never train --domain dna --input "$W/inside.tsv" "${small[@]}" --out "$W/old"
never finetune --checkpoint "$W/run" --input "$W/inside.tsv" --out "$W/old"
[ -e "$W/old/step-00000002/a.fa" ] || wrong "a run was removed with what it was to read"

# A page of what a run's files say, and clips beside clips.
succeeds "$ADDER" eval --checkpoint "$W/run" --input "$fasta" --json
cp "$W/out" "$W/eval"
cp "$W/eval" "$W/run/eval.json"
never report "$W/run" --out "$W/run/eval.json"
same "$W/run/eval.json" "$W/eval"
succeeds "$ADDER" generate --checkpoint "$W/voice" --tokens 400 --num 2 --out "$W/clips/a"
cp "$W/clips/a/0000.wav" "$W/clip"
never generate --checkpoint "$W/voice" --tokens 400 --num 2 --beside "$W/clips" --out "$W/clips/a"
never report "$W/clips/a" --out "$W/clips/a/0000.wav"
same "$W/clips/a/0000.wav" "$W/clip"

find "$W/tree" "$W/sound" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum >"$W/after"
same "$W/before" "$W/after"
# What is only near an input may be replaced.
for i in 1 2; do
    succeeds "$ADDER" embed --checkpoint "$W/run" --input "$W/tree/inner/deep" --out "$W/tree/near.h5" --overwrite
done
untouched "$W"

finish
