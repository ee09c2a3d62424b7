# Sourced by the transcripts: ADDER is the binary. Each check says what it expected when it fails.
set -u
W=$(mktemp -d)
trap 'rm -rf "$W"' EXIT
failures=0

# run COMMAND...: its exit code in $rc, its streams in $W/out and $W/err.
run() {
    "$@" >"$W/out" 2>"$W/err" </dev/null
    rc=$?
}

wrong() {
    echo "WRONG: $*"
    echo "--- rc $rc, stdout:"; head -n 20 "$W/out"
    echo "--- stderr:"; head -n 20 "$W/err"
    failures=$((failures + 1))
}

# succeeds COMMAND...: exit 0.
succeeds() {
    run "$@"
    [ "$rc" -eq 0 ] || wrong "expected exit 0: $*"
}

# refused CODE PATTERN COMMAND...: that exit code, one line on stderr with the pattern, nothing on stdout.
refused() {
    local code=$1 pattern=$2
    shift 2
    run "$@"
    [ "$rc" -eq "$code" ] || wrong "expected exit $code: $*"
    [ -s "$W/out" ] && wrong "expected nothing on stdout: $*"
    [ "$(wc -l <"$W/err")" -eq 1 ] || wrong "expected one line on stderr: $*"
    grep -qE -- "$pattern" "$W/err" || wrong "expected '$pattern' on stderr: $*"
}

# says PATTERN: the last command's stdout has a line that matches.
says() { grep -qE -- "$1" "$W/out" || wrong "expected '$1' on stdout"; }

finish() {
    [ "$failures" -eq 0 ] && echo "all as expected"
    exit $((failures > 0))
}
