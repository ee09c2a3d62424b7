#!/usr/bin/env bash
# What holds for every command: help, version, exit codes, where output goes.
. "$(dirname "$0")/lib.sh"

refused 2 'command is missing' "$ADDER"
refused 2 "unknown command 'trian'; the nearest is '[a-z]+'" "$ADDER" trian
refused 2 "unknown command '--verison'" "$ADDER" --verison

succeeds "$ADDER" help
says '^usage: adder COMMAND'
cp "$W/out" "$W/overview"
succeeds "$ADDER" --help
cmp -s "$W/out" "$W/overview" || wrong "adder --help differs from adder help"

succeeds "$ADDER" --version
for line in '^adder [0-9.]+ \(commit ' '^compiler: ' '^instruction sets: [a-z0-9]+' '^htslib: [0-9.]+' \
    '^OpenBLAS: .*[0-9]' '^CUDA architectures: '; do
    says "$line"
done

# Every command of the table.
commands=$(sed -n '/^commands:/,/^  help /p' "$W/overview" | awk '/^  [a-z]/ && $1 != "help" {print $1}')
[ -n "$commands" ] || wrong "no command in: $(cat "$W/overview")"
for c in $commands; do
    succeeds "$ADDER" "$c" --help
    says "^usage: adder $c"
    says '^example:'
    says "^  adder $c"
    cp "$W/out" "$W/help"
    # What plan and going on do without is not called required there.
    case $c in
        plan) grep -q '\[required' "$W/help" && wrong "plan requires nothing" ;;
        train | finetune) [ "$(tr -s ' \n' ' ' <"$W/help" | grep -o '\[required without --resume\]' | wc -l)" -eq 2 ] ||
            wrong "$c: what --resume does without" ;;
    esac
    succeeds "$ADDER" help "$c"
    cmp -s "$W/out" "$W/help" || wrong "adder help $c differs from adder $c --help"
    refused 2 "unknown option '--no-such-option'; the nearest is --" "$ADDER" "$c" --no-such-option
    refused 2 'given twice' "$ADDER" "$c" --print-config --print-config
    succeeds "$ADDER" "$c" --print-config
    cp "$W/out" "$W/config.json"
    succeeds "$ADDER" "$c" --config "$W/config.json" --print-config
    cmp -s "$W/out" "$W/config.json" || wrong "$c: the printed configuration does not read back"
    refused 1 'No such file' "$ADDER" "$c" --config "$W/missing.json"
    if grep -q -- --device "$W/help"; then
        refused 2 'device: expected one of cpu, cuda' "$ADDER" "$c" --device gpu
    fi
done

# Threads that cannot be had: no memory for all of their stacks, whatever the machine's own limits are.
starved() {
    ulimit -s 65536
    ulimit -v 8000000
    OPENBLAS_NUM_THREADS=1 exec "$ADDER" selftest --device cpu --threads 1024
}
export -f starved
refused 1 'thread [0-9]+ of 1024 cannot be started: .*--threads' bash -c starved

# Results that cannot be written are a failure.
"$ADDER" --version >/dev/full 2>"$W/err"
rc=$?
[ "$rc" -eq 1 ] && grep -q 'No space left' "$W/err" || wrong "a full standard output must end in exit 1"

finish
