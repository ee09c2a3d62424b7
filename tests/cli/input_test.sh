#!/usr/bin/env bash
# Bad input and places that cannot be written: one line that names the place, exit 1, nothing left behind.
. "$(dirname "$0")/lib.sh"

model=(--domain dna --d-model 16 --layers 1 --d-state 8 --length 64 --batch 2 --steps 2)
train=("$ADDER" train "${model[@]}")
succeeds "${train[@]}" --input "$phage" --out "$W/run"

# What a FASTA file may not be.
bad=$W/bad
mkdir -p "$bad" "$bad/folder"
: >"$bad/empty.fa"
head -c 3000 "$ADDER" | tail -c 2000 >"$bad/garbage.fa"
head -c 5000 "$phage" >"$bad/cut.fa.gz"
printf 'ACGTACGT\n' >"$bad/no_header.fa"
printf '>a\nACGT\n>b\n>c\nACGT\n' >"$bad/no_sequence.fa"
printf '>a\nAC9T\n' >"$bad/digit.fa"
declare -A says_what=([empty.fa]='is empty' [garbage.fa]="line [0-9]+: expected a header" [cut.fa.gz]='damaged or cut short'
    [no_header.fa]="line 1: expected a header" [no_sequence.fa]='\(b\).*header without sequence'
    [digit.fa]="'9'" [folder]='no FASTA file' [missing.fa]='No such file')
for name in "${!says_what[@]}"; do
    pattern="$bad/$name.*${says_what[$name]}"
    refused 1 "$pattern" "${train[@]}" --input "$bad/$name" --out "$W/new"
    [ -e "$W/new" ] && wrong "a refused run left $W/new"
    refused 1 "$pattern" "$ADDER" eval --checkpoint "$W/run" --input "$bad/$name" --per-record "$W/new.tsv"
    [ -e "$W/new.tsv" ] && wrong "a refused evaluation left $W/new.tsv"
done
refused 1 'standard input|stdin|-' "${train[@]}" --input - --out "$W/new"
for name in empty.fa garbage.fa no_header.fa; do
    refused 1 "$bad/$name" "$ADDER" generate --checkpoint "$W/run" --tokens 99 --prompt "$bad/$name" --out "$W/new.fa"
    [ -e "$W/new.fa" ] && wrong "a refused generation left $W/new.fa"
done

# What stands beside the sequences of a folder is said; sequences that cannot be read there are an error.
mkdir -p "$W/folder/more"
printf '>a\nACGTACGT\n' >"$W/folder/a.fa"
printf 'text\n' >"$W/folder/notes.txt"
succeeds "$ADDER" eval --checkpoint "$W/run" --input "$W/folder"
logs "^left out in $W/folder: 1 file \(notes.txt\), 1 subfolder \(more\)$"
printf '\3757zXZ\0' >"$W/folder/b.fa.xz"
refused 1 "b\.fa\.xz: is compressed with xz, not FASTA; hint: decompress it: unxz" \
    "$ADDER" eval --checkpoint "$W/run" --input "$W/folder"

# Nothing to learn from.
printf '>a\nNNNNNNNN\n' >"$bad/only_n.fa"
fails_after_log 1 'nothing to score|only_n' "$ADDER" eval --checkpoint "$W/run" --input "$bad/only_n.fa"
printf '>a\nA\n' >"$bad/single.fa"
fails_after_log 1 'eval|single|base|nothing' "$ADDER" eval --checkpoint "$W/run" --input "$bad/single.fa"
fails_after_log 1 'train|single|base|nothing' "${train[@]}" --input "$bad/single.fa" --out "$W/new"
[ -e "$W/new" ] && wrong "a refused run left $W/new"

# Places that cannot be written.
fails_after_log 1 '/dev/null/adder' "${train[@]}" --input "$phage" --out /dev/null/adder
touch "$W/file"
fails_after_log 1 "$W/file/run: .*Not a directory" "${train[@]}" --input "$phage" --out "$W/file/run"
fails_after_log 1 "$W/none/x.tsv: the folder $W/none does not exist" \
    "$ADDER" eval --checkpoint "$W/run" --input "$phage" --per-record "$W/none/x.tsv"
refused 1 "$W/none/x.fa: the folder $W/none does not exist" \
    "$ADDER" generate --checkpoint "$W/run" --tokens 9 --out "$W/none/x.fa"
refused 1 "$W/run: is a folder" "$ADDER" generate --checkpoint "$W/run" --tokens 9 --out "$W/run"
refused 1 '/dev/null/x.fa: ' "$ADDER" generate --checkpoint "$W/run" --tokens 9 --out /dev/null/x.fa
if [ "$(id -u)" -ne 0 ]; then
    mkdir -m 555 "$W/closed"
    refused 1 "$W/closed" "$ADDER" generate --checkpoint "$W/run" --tokens 9 --out "$W/closed/x.fa"
fi

# A disk without room: a real one where it may be mounted, a limit on the size of files everywhere. Standard error goes
# through a pipe, which has no such limit.
limited() { (ulimit -f "$1"; shift; exec "$@" 2> >(cat >"$W/err.limited"; touch "$W/err.done")); }
for blocks in 1 8; do
    rm -rf "$W/small" "$W/err.done"
    run limited "$blocks" "${train[@]}" --input "$phage" --out "$W/small"
    for i in $(seq 100); do [ -e "$W/err.done" ] && break; sleep 0.05; done
    cp "$W/err.limited" "$W/err"
    [ "$rc" -eq 1 ] || wrong "a full disk must end in exit 1"
    [ "$(grep -c '^adder: ' "$W/err")" -eq 1 ] || wrong "expected one error line"
    logs "^adder: .*$W/small.*File too large"
    untouched "$W/small"
    [ -z "$(find "$W/small" -name DONE)" ] || wrong "a checkpoint that was not written looks finished"
done
succeeds "${train[@]}" --input "$phage" --out "$W/small" --resume
if mkdir "$W/tiny" && mount -t tmpfs -o size=24k none "$W/tiny" 2>/dev/null; then
    fails_after_log 1 "$W/tiny/run.*No space left" "${train[@]}" --input "$phage" --out "$W/tiny/run"
    untouched "$W/tiny"
    refused 1 "$W/tiny/x.fa: No space left" \
        "$ADDER" generate --checkpoint "$W/run" --tokens 90000 --temperature 0 --out "$W/tiny/x.fa"
    fails_after_log 1 "$W/tiny/x.h5: No space left on device; hint: free some space" \
        "$ADDER" embed --checkpoint "$W/run" --input "$phage" --pool none --out "$W/tiny/x.h5"
    [ -e "$W/tiny/x.fa" ] && wrong "a file that was not written is there"
    untouched "$W/tiny"
    umount "$W/tiny"
fi
"$ADDER" generate --checkpoint "$W/run" --tokens 9 --out - >/dev/full 2>"$W/err"
rc=$?
[ "$rc" -eq 1 ] && grep -q 'No space left' "$W/err" || wrong "a full standard output must end in exit 1"

finish
