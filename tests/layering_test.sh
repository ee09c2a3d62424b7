#!/usr/bin/env bash
# Who may include whom, where outside headers may stand, and what must not be in the sources. CMakeLists.txt says the
# first as links; this sees headers too.
set -u
shopt -s lastpipe # complain counts in this shell
cd "${1:-$(dirname "$0")/..}" || exit 2
failures=0

# complain TITLE: reads offending lines.
complain() {
    local lines
    lines=$(cat)
    [ -n "$lines" ] || return 0
    echo "WRONG: $1"
    echo "$lines" | head -n 20
    failures=$((failures + 1))
}

sources() { find "$@" -name '*.cc' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' 2>/dev/null | sort; }
includes() { sources "$1" | xargs -r grep -HnE '^ *# *include'; }

rooms="core io kernels dist datasets pipelines model train apps"
# allowed FOLDER ROOMS: FOLDER includes headers of these rooms only.
allowed() {
    local folder=$1 others=" $rooms " room
    [ -d "$folder" ] || return 0
    for room in $2; do others=${others/ $room / }; done
    for room in $others; do
        includes "$folder" | grep -E "[\"<](src/)?$room/" | complain "$folder may not include $room/"
    done
}
allowed src/core  "core"
allowed src/io    "io core"
allowed kernels   "kernels core"
allowed src/dist  "dist core"
allowed datasets  "datasets core io"
allowed pipelines "pipelines core io datasets"
allowed src/model "model core io kernels"
allowed src/train "train core io kernels model dist"

includes . | grep -vE '^\./build/' | grep -E '"\.\.?/' | complain "includes start at the root or at src, not at ../"
includes src | cat - <(includes kernels) <(includes datasets) <(includes pipelines) |
    grep '<boost/' | complain "Boost is for apps/"
includes kernels | grep -E '"core/(log|options)\.h"|<fstream>|<iostream>|<filesystem>' |
    complain "kernels never read files, logs or options"
for header in htslib sndfile hdf5; do
    users=$(for d in src kernels datasets pipelines apps; do includes $d; done 2>/dev/null |
        grep -E "<${header}[./]" | cut -d: -f1 | sort -u)
    [ "$(echo "$users" | grep -c .)" -le 1 ] || echo "$users" | complain "$header belongs in one .cc"
    echo "$users" | grep -E '\.h$' | complain "$header belongs in a .cc"
done
for d in src kernels datasets pipelines apps; do includes $d; done | grep -E '<cu(da|blas|fft|b/)|<nccl' |
    grep -vE '\.cuh?:|^src/core/device\.cc:' | complain "CUDA headers belong in .cu, .cuh and core/device.cc"

below_apps=$(sources src kernels datasets pipelines)
all=$(sources src kernels datasets pipelines apps tests)
for file in $(echo "$all" | grep -E '\.(h|cuh)$' | grep -v -- '-inl\.h$'); do
    grep -q '^#pragma once' "$file" || echo "$file"
done | complain "a header without #pragma once"
echo "$below_apps" | xargs grep -nE 'std::(cout|cerr|exit|quick_exit)\b|\b(printf|puts|abort)\(' |
    complain "nothing below apps/ prints or exits"
# Highway compiles a file once per instruction set: its names and the -inl.h guards that flip are macros by nature.
echo "$below_apps $(sources apps)" | xargs grep -nE '^ *# *define ' | grep -v -- '-inl\.h:' |
    grep -vE 'define (CHECK|CUDA_CHECK|HWY_[A-Z_]+)\b' | complain "macros other than CHECK"
echo "$all" | xargs grep -nwE 'TO''DO|FIX''ME|XX''X' | complain "an open end"
echo "$all" | xargs grep -nE '#if 0|[Ii]ssue #?[0-9]|[Pp]hase [0-9]' | complain "history in the sources"
echo "$all" | xargs grep -nP '\t| +$' | complain "a tab or a trailing space"
echo "$all" | grep -E '(utils?|helpers?|misc|manager|_v[0-9]+)\.[a-z]+$' | complain "a name that says nothing"
echo "$all" | xargs wc -l | awk '$2 != "total" && $1 > 600' | complain "more than 600 lines"

pages=$(find . -name '*.md' -not -path './build/*' -not -path './.cache/*' -not -path './demo/*')
grep -nE '@[A-Z_]+@' $pages | complain "a placeholder"
for page in $pages; do
    grep -oE '\]\([^)#:]+\)' "$page" | sed -E 's/^\]\(|\)$//g' | while read -r link; do
        [ -e "$(dirname "$page")/$link" ] || echo "$page: $link"
    done
done | complain "a link to nothing"

[ $failures -eq 0 ] && echo "all as expected"
exit $((failures > 0))
