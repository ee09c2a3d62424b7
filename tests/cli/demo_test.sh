#!/usr/bin/env bash
# The demo of adder.sh holds together: every command that it runs is accepted, twice in a row, with and without what it
# downloads. Few steps on a made-up chromosome; what the whole demo promises it checks itself.
. "$(dirname "$0")/lib.sh"

mkdir -p "$W/build/cpu"
ln -s "$ADDER" "$W/build/cpu/adder"
ln -s "$ADDER_SOURCE_DIR/datasets" "$W/datasets"
# shorten FROM TO: in the copy of the script, where it must be there.
shorten() {
    grep -qF -e "$1" "$W/adder.sh" || wrong "adder.sh no longer has: $1"
    awk -v from="$1" -v to="$2" '{ while (i = index($0, from)) $0 = substr($0, 1, i - 1) to substr($0, i + length(from)); print }' \
        "$W/adder.sh" >"$W/adder.part" && mv "$W/adder.part" "$W/adder.sh"
}
cp "$ADDER_SOURCE_DIR/adder.sh" "$W/adder.sh"
shorten '--steps 1200' '--steps 6'
shorten '--steps 350' '--steps 2'
shorten 'genome_bases=4639675' 'genome_bases=150000'
shorten '    build_binary cpu' '    true'
shorten 'have apt-get && have dpkg || return 1' 'return 1'
shorten 'exit !(bits < best)' 'exit 0'

# Without anything to download: lambda, and digits.
succeeds bash "$W/adder.sh" demo
for file in report.html generated.fa lambda/eval.json digits/generated/listen.html; do
    [ -s "$W/demo/$file" ] || wrong "no $file"
done

LC_ALL=C awk 'BEGIN { print ">K-12-MG1655"; srand(5); for (i = 0; i < 150000; ++i) { r = int(rand() * 4); printf "%s%s",
    substr("ACGT", r + 1, 1), i % 60 == 59 ? "\n" : "" } }' | gzip >"$W/.cache/MG1655-K12.fasta.gz"
mkdir -p "$W/.cache/voice"
{ printf 'path\tlabel\n'; i=0
    for clip in "$ADDER_SOURCE_DIR"/datasets/data/fsdd/*.wav; do printf '%s\ttone%d\n' "$clip" $((i++ % 2)); done; } >"$W/.cache/voice/manifest.tsv"
for time in first second; do
    succeeds bash "$W/adder.sh" demo
    grep -q 'held out, the last 20 %' "$W/out" || wrong "$time: no bits per base"
    grep -qE '^  trained      [01]\.' "$W/out" || wrong "$time: no accuracy"
    for file in report.html report.json generated.fa ecoli/eval.json ecoli/probe.json ecoli/confusion.svg speech/generated/listen.html; do
        [ -s "$W/demo/$file" ] || wrong "$time: no $file"
    done
done
finish
