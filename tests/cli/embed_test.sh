#!/usr/bin/env bash
# Embeddings: the same file however they are computed, whole or not at all, and one clear line for what is wrong.
. "$(dirname "$0")/lib.sh"

golden=$ADDER_SOURCE_DIR/tests/golden
run=$golden/mamba2
fasta=$W/sequence.fa  # an index may be written beside it
cp "$golden/sequence.fa" "$fasta"

# embed OUT ARGUMENTS...
embed() {
    local out=$1
    shift
    succeeds "$ADDER" embed --checkpoint "$run" --input "$fasta" --out "$out" "$@"
}

embed "$W/a.h5"
says '^3 embeddings of [0-9]+ numbers in .*a\.h5$'
logs 'bases/s  ETA'
for threads in 1 3; do
    embed "$W/b.h5" --overwrite --threads "$threads" --tile 1024
    same "$W/a.h5" "$W/b.h5"
done
embed "$W/pieces.h5" --pool none --layer all --rc concat --tile 7
says 'embeddings of'
for pool in last max; do embed "$W/$pool.h5" --pool "$pool" --layer 1 --rc mean; done
embed "$W/zero.h5" --layer 0
sleep 1.1 # the file holds no time
"$ADDER" embed --checkpoint "$run" --input - --out "$W/stdin.h5" <"$fasta" >"$W/out" 2>"$W/err"
rc=$?
same "$W/a.h5" "$W/stdin.h5"

# Regions, in the order of the BED.
name=$(sed -n '1s/^>\([^ ]*\).*/\1/p' "$fasta")
printf '# two\n%s\t10\t40\tsecond\t0\t-\n%s\t0\t20\r\n%s\t10\t40\n' "$name" "$name" "$name" >"$W/r.bed"
embed "$W/regions.h5" --regions "$W/r.bed" --rc concat
says '^3 embeddings'
grep -q warning "$W/err" && wrong "names that differ"
printf '%s\t1\t9\tx\n%s\t10\t40\ty\n%s\t20\t40\tx\n' "$name" "$name" "$name" >"$W/equal.bed"
embed "$W/equal.h5" --regions "$W/equal.bed"
logs "^warning: .*equal.bed: 1 region.*'x' stands on lines 1 and 3"
gzip -k "$W/r.bed"
# Beside an index of another program, which counts gaps and names one record of a name: what the file itself says.
printf '>c\nACGT-ACGTACGT\n>d\nACGTACGT\n' >"$W/gap.fa"
printf 'c\t13\t3\t13\t14\nd\t8\t20\t8\t9\n' >"$W/gap.fa.fai"
printf 'c\t0\t12\n' >"$W/c.bed"
printf '>c\nACGTACGTACGT\n' >"$W/no_gap.fa"
for f in gap no_gap; do
    succeeds "$ADDER" embed --checkpoint "$run" --input "$W/$f.fa" --regions "$W/c.bed" --out "$W/$f.h5"
done
same "$W/gap.h5" "$W/no_gap.h5"
printf '>c\nACGTACGTACGT\n>c\nACGTACGT\n' >"$W/twice.fa"
printf 'c\t12\t3\t12\t13\n' >"$W/twice.fa.fai"
refused 1 'twice\.fa: two records are called c' \
    "$ADDER" embed --checkpoint "$run" --input "$W/twice.fa" --regions "$W/c.bed" --out "$W/x.h5"
embed "$W/regions_gz.h5" --regions "$W/r.bed.gz" --rc concat
same "$W/regions.h5" "$W/regions_gz.h5"

refused 1 'a\.h5: --out is there already.*--overwrite' \
    "$ADDER" embed --checkpoint "$run" --input "$fasta" --out "$W/a.h5"
mkdir "$W/folder"
cp "$fasta" "$W/folder/one.fa"
cp "$W/a.h5" "$W/folder/old.h5"
refused 1 'old\.h5: --out would replace a file in the folder of --input' \
    "$ADDER" embed --checkpoint "$run" --input "$W/folder" --out "$W/folder/old.h5" --overwrite
refused 2 'out: - is standard output' "$ADDER" embed --checkpoint "$run" --input "$fasta" --out -
refused 2 "--layer: expected a number or all, got 'x'" \
    "$ADDER" embed --checkpoint "$run" --input "$fasta" --out "$W/x.h5" --layer x
refused 1 '--layer: the model has layers 0 to 2, got 9' \
    "$ADDER" embed --checkpoint "$run" --input "$fasta" --out "$W/x.h5" --layer 9
refused 2 '--pool' "$ADDER" embed --checkpoint "$run" --input "$fasta" --out "$W/x.h5" --pool min
refused 2 '--rc' "$ADDER" embed --checkpoint "$run" --input "$fasta" --out "$W/x.h5" --rc both
refused 2 '--out' "$ADDER" embed --checkpoint "$run" --input "$fasta"
refused 1 'none\.bed' \
    "$ADDER" embed --checkpoint "$run" --input "$fasta" --out "$W/x.h5" --regions "$W/none.bed"
printf '%s\t0\t20\nother\t0\t5\n' "$name" >"$W/unknown.bed"
fails_after_log 1 "unknown\.bed, line 2: the input has no sequence 'other'; the nearest name is" \
    "$ADDER" embed --checkpoint "$run" --input "$fasta" --out "$W/x.h5" --regions "$W/unknown.bed"
# Where nothing of the input was asked for, too.
printf 'chr%s\t0\t20\n' "$name" >"$W/prefixed.bed"
fails_after_log 1 "line 1: the input has no sequence 'chr$name'; did you mean '$name'" \
    "$ADDER" embed --checkpoint "$run" --input "$fasta" --out "$W/x.h5" --regions "$W/prefixed.bed"
printf '%s\t0\t20\n%s\t0\t999999\n' "$name" "$name" >"$W/past.bed"
fails_after_log 1 'past\.bed, line 2: .* goes past the end of the sequence' \
    "$ADDER" embed --checkpoint "$run" --input "$fasta" --out "$W/x.h5" --regions "$W/past.bed"
fails_after_log 1 'no/such does not exist' \
    "$ADDER" embed --checkpoint "$run" --input "$fasta" --out "$W/no/such/x.h5"
refused 1 'cuda' "$ADDER" embed --checkpoint "$W/none" --input "$W/none.fa" --out "$W/x.h5" --device cuda

# A stopped and a killed run leave nothing under the name; a stopped one leaves nothing at all.
awk 'BEGIN { print ">long"; for (i = 0; i < 40000; ++i) print "ACGTTGCAAGCTAGCTAGGATCGATTTAGCATCGATTACGCATGACTAGCATGACTACGAT" }' >"$W/long.fa"
for signal in TERM KILL; do
    "$ADDER" embed --checkpoint "$run" --input "$W/long.fa" --out "$W/stopped.h5" --pool none --tile 64 \
        >"$W/out" 2>"$W/err" &
    job=$!
    wait_until grep -q 'bases/s' "$W/err"
    kill -"$signal" $job
    wait $job 2>/dev/null
    rc=$?
    [ ! -e "$W/stopped.h5" ] || wrong "a run that got SIG$signal left a file"
    if [ $signal = TERM ]; then
        [ $rc -eq 1 ] || wrong "expected exit 1 after SIGTERM"
        logs '^adder: embed: stopped by a signal'
        untouched "$W"
    fi
done
# What the killed one left goes when the next one writes there.
[ -n "$(find "$W" -name '.adder-tmp-*')" ] || wrong "expected what a killed run leaves"
succeeds "$ADDER" embed --checkpoint "$run" --input "$fasta" --out "$W/next.h5"
untouched "$W"
"$ADDER" embed --help >"$W/out" 2>"$W/err"
rc=$?
says 'adder embed --checkpoint run'

finish
