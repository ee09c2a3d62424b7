#!/usr/bin/env bash
# claims_test.sh BUILD [PAGE]: whether every test and command in the right column of docs/claims.md is there. Tests by
# ctest's list of the build folder, with * for anything; those of whole suites on a GPU by their names in the sources.
set -u
build=${1:?the build folder}
page=$(realpath "${2:-$(dirname "$0")/../docs/claims.md}")
cd "$(dirname "$0")/.." || exit 2
failures=0
wrong() { echo "WRONG: $page line $line: $*"; failures=$((failures + 1)); }

mapfile -t tests < <("${CTEST:-ctest}" --test-dir "$build" -N | sed -nE 's/^ *Test +#[0-9]+: //p')
[ ${#tests[@]} -gt 0 ] || { echo "WRONG: no tests in $build"; exit 1; }

is_test() {
    local name
    # Names of parametrised tests go on behind a slash.
    for name in "${tests[@]}"; do [[ $name == $1 || $name == $1/* ]] && return 0; done
    return 1
}

# in_sources SUITE.NAME, either with *
in_sources() {
    local pattern="^TEST(_F|_P)?\(${1/./, }\)"
    grep -rqE "${pattern//\*/[A-Za-z0-9_]*}" tests --include='*_test.cc'
}

# is_command WORD...: a program of the tree, with a part that it knows.
is_command() {
    while [[ $1 == *=* ]]; do shift; done
    if [ "$1" = adder ]; then
        grep -q "\"$2\"" apps/commands.cc apps/cmd_"$2".cc 2>/dev/null
    else
        [ -e "$1" ] && { [ $# -eq 1 ] || [[ $2 == -* ]] || grep -qw -- "$2" "$1"; }
    fi
}

line=0 rows=0
while IFS= read -r text; do
    line=$((line + 1))
    [[ $text == '| '*' | '*' |' && $text != '| claim '* ]] || continue
    rows=$((rows + 1))
    where=${text#* | }
    [[ $where == 'by hand'* ]] && continue
    mapfile -t names < <(grep -oE '`[^`]+`' <<<"$where" | tr -d '`')
    [ ${#names[@]} -gt 0 ] || wrong "names nothing that fails"
    for name in "${names[@]}"; do
        read -ra words <<<"$name"
        if [ ${#words[@]} -gt 1 ] || [[ $name == */* && $name != *.*/*.* ]] || [ -e "$name" ]; then
            is_command "${words[@]}" || wrong "no such command or file: $name"
        elif [[ $name =~ ^(Cuda|[A-Za-z]+OnGpu)[A-Za-z*]*\. ]]; then
            in_sources "$name" || wrong "no such test in the sources: $name"
        else
            is_test "$name" || wrong "no such test: $name"
        fi
    done
    for path in $(grep -oE '\((tests|docs)/[A-Za-z0-9_./]+' <<<"$where" | tr -d '('); do
        [ -e "$path" ] || wrong "no such file: $path"
    done
done <"$page"
[ $rows -gt 0 ] || wrong "no rows"

[ $failures -eq 0 ] && echo "all as expected"
exit $((failures > 0))
