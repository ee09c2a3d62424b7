# Sourced by the transcripts: ADDER is the binary, ADDER_SOURCE_DIR the sources. Each check says what it expected when
# it fails.
set -u
W=$(mktemp -d)
trap 'rm -rf "$W"' EXIT
failures=0
# What is not about a GPU is checked on the CPU: with ON_GPU set before this file is read a GPU stays visible.
[ -n "${ON_GPU:-}" ] || export CUDA_VISIBLE_DEVICES=
phage=$ADDER_SOURCE_DIR/datasets/data/phage_lambda.fa.gz

# run COMMAND...: its exit code in $rc, its streams in $W/out and $W/err.
run() {
    "$@" >"$W/out" 2>"$W/err" </dev/null
    rc=$?
}

wrong() {
    echo "WRONG: $*"
    echo "--- rc $rc, stdout:"; head -n 20 "$W/out"
    echo "--- stderr:"; tail -n 20 "$W/err"
    failures=$((failures + 1))
}

# succeeds COMMAND...: exit 0.
succeeds() {
    run "$@"
    [ "$rc" -eq 0 ] || wrong "expected exit 0: $*"
}

# fails_after_log CODE PATTERN COMMAND...: that exit code, nothing on stdout, and as its last line on stderr one error
# with the pattern.
fails_after_log() {
    local code=$1 pattern=$2
    shift 2
    run "$@"
    [ "$rc" -eq "$code" ] || wrong "expected exit $code: $*"
    [ -s "$W/out" ] && wrong "expected nothing on stdout: $*"
    [ "$(grep -c '^adder: ' "$W/err")" -eq 1 ] || wrong "expected one error line on stderr: $*"
    tail -n 1 "$W/err" | grep '^adder: ' | grep -qE -- "$pattern" ||
        wrong "expected '$pattern' as last line on stderr: $*"
}

# refused CODE PATTERN COMMAND...: the same, and nothing else on stderr, but for the name of a GPU.
refused() {
    fails_after_log "$@"
    [ "$(grep -cv '^device cuda: ' "$W/err")" -eq 1 ] || wrong "expected one line on stderr: ${*:3}"
}

# says PATTERN, logs PATTERN: the last command's stdout, stderr has a line that matches.
says() { grep -qE -- "$1" "$W/out" || wrong "expected '$1' on stdout"; }
logs() { grep -qE -- "$1" "$W/err" || wrong "expected '$1' on stderr"; }

# same FILE FILE
same() { cmp -s "$1" "$2" || wrong "$1 differs from $2"; }

# json KEY: the number or word under the first such key in the one-line JSON on the last command's stdout.
json() { grep -oE "\"$1\":\"?[^,\"}]*" "$W/out" | head -n 1 | sed -E 's/^"[^"]*":"?//'; }

# untouched FOLDER: no temporary file was left in it.
untouched() {
    local found
    found=$(find "$1" -name '.adder-tmp-*')
    [ -z "$found" ] || wrong "left behind: $found"
}

# close A B TOLERANCE
close() {
    awk -v a="$1" -v b="$2" -v t="$3" 'BEGIN { d = a - b; exit !(a != "" && b != "" && d <= t && -d <= t) }' ||
        wrong "$1 and $2 differ by more than $3"
}

# wait_until COMMAND...: until it succeeds or the background process $job has ended.
wait_until() { until "$@" || ! kill -0 "$job" 2>/dev/null; do sleep 0.02; done; }

# Of $job: it has its own handler of SIGTERM, so that a signal from now on meets a program that can clean up. Before it is
# executed it is a shell, which has handlers too.
catches_signals() {
    local mask
    [ "/proc/$job/exe" -ef /proc/$$/exe ] && return 1
    mask=$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$job/status" 2>/dev/null)
    [ $((16#${mask:-0} >> 14 & 1)) -eq 1 ]
}

# has_rows RUN N: at least N rows of metrics.
has_rows() { [ "$(cat "$1/metrics.jsonl" 2>/dev/null | wc -l)" -ge "$2" ]; }

finish() {
    [ "$failures" -eq 0 ] && echo "all as expected"
    exit $((failures > 0))
}
