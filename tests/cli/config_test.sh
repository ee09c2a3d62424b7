#!/usr/bin/env bash
# What --print-config prints is a command: given back by --config alone it does the same.
. "$(dirname "$0")/lib.sh"

gzip -dc "$phage" | head -n 60 >"$W/a.fa"
{ printf 'path\tlabel\n'; ls "$ADDER_SOURCE_DIR"/datasets/data/fsdd/*.wav | awk '{ print $0 "\td" NR % 2 }'; } >"$W/digits.tsv"
awk 'BEGIN { print "sequence\tlabel"; srand(2); for (i = 0; i < 40; ++i) { s = ""; while (length(s) < 50) s = s substr("ACGT", 1 + int(4 * rand()), 1); print s "\tc" i % 2 } }' \
    >"$W/classes.tsv"
small=(--d-model 16 --layers 1 --d-state 8 --length 64 --batch 2 --steps 3 --seed 4)

# given_back OUT COMMAND...: what it writes to OUT, and says, is written and said again by its printed configuration.
given_back() {
    local result=$1
    shift
    rm -rf "$W/first" ${result:+"$result"}
    succeeds "$ADDER" "$@"
    grep -v '^speed' "$W/out" >"$W/said" # measured
    [ -z "$result" ] || mv "$result" "$W/first"
    succeeds "$ADDER" "$@" --print-config
    cp "$W/out" "$W/config.json"
    succeeds "$ADDER" "$1" --config "$W/config.json"
    grep -v '^speed' "$W/out" | cmp -s - "$W/said" || wrong "$1 --config says something else"
    [ -z "$result" ] || [ -e "$result" ] || wrong "$1 --config wrote no $result"
}

for domain in dna audio; do
    input=$W/a.fa table=$W/classes.tsv
    [ $domain = dna ] || input=$W/digits.tsv table=$W/digits.tsv
    given_back "$W/$domain" train --domain $domain --input "$input" "${small[@]}" --out "$W/$domain"
    same "$W/first/step-00000003/model.safetensors" "$W/$domain/step-00000003/model.safetensors"
    given_back "" plan --domain $domain "${small[@]}" --memory 100MB
    given_back "" eval --checkpoint "$W/$domain" --input "$input" --json
    given_back "$W/x.h5" embed --checkpoint "$W/$domain" --input "$input" --out "$W/x.h5"
    same "$W/first" "$W/x.h5"
    given_back "$W/s.h5" prepare --domain $domain --input "$input" --out "$W/s.h5"
    same "$W/first" "$W/s.h5"
    given_back "$W/g.$domain" generate --checkpoint "$W/$domain" --tokens 100 --out "$W/g.$domain"
    diff -r "$W/first" "$W/g.$domain" >/dev/null || wrong "another $domain was generated"
    given_back "$W/c$domain" finetune --checkpoint "$W/$domain" --input "$table" --steps 2 --out "$W/c$domain"
    given_back "$W/p.tsv" predict --checkpoint "$W/c$domain" --input "$table" --out "$W/p.tsv"
    same "$W/first" "$W/p.tsv"
done

# Audio's own options, a U-Net, and the other mixer.
given_back "$W/unet" train --domain audio --input "$W/digits.tsv" --class-conditional --codec linear8 --backbone unet --pool 2,2 \
    --mixer mamba1 "${small[@]}" --out "$W/unet"
given_back "$W/kmer" train --domain dna --input "$W/a.fa" --tokenizer kmer --kmer 3 "${small[@]}" --out "$W/kmer"

# An option that is decided for another domain is still refused.
succeeds "$ADDER" train --domain dna --input "$W/a.fa" "${small[@]}" --out "$W/y" --print-config
sed 's/"kmer": *[0-9a-z]*/"kmer": 3/; s/"domain": *"dna"/"domain": "audio"/' "$W/out" >"$W/other.json"
refused 2 'kmer: of --domain dna' "$ADDER" train --config "$W/other.json"

finish
