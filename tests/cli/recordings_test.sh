#!/usr/bin/env bash
# The recordings of the demo: a list of them under its name is whole, wherever fetching them stopped.
. "$(dirname "$0")/lib.sh"
cd "$W" || exit 1
eval "$(sed -n '/^download_voice() {/,/^}/p' "$ADDER_SOURCE_DIR/adder.sh")"
voice_package=voice
set -o pipefail

# Stands in for the package: three syllables.
download_package() {
    for name in ba ba2 ba5; do
        mkdir -p ".cache/download/files/$name"
        echo "$name" >".cache/download/files/$name/5.ogg"
    done
}
# A disk without room, at the second file.
mv() { [ "${2:-}" != .cache/voice/0002.ogg ] && command mv "$@"; }
download_voice && wrong "a move that failed is a failure"
[ -e .cache/voice/manifest.tsv ] && wrong "a list of a part of the recordings"
unset -f mv
download_voice || wrong "the recordings are there"
[ "$(tr '\t\n' ': ' <.cache/voice/manifest.tsv)" = 'path:label 0001.ogg:tone1 0002.ogg:tone2 0003.ogg:tone5 ' ] ||
    wrong "$(cat .cache/voice/manifest.tsv)"
[ "$(cat .cache/voice/0003.ogg)" = ba5 ] || wrong "a recording under another name"
finish
