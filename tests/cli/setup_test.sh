#!/usr/bin/env bash
# adder.sh build cuda: what it compiles for, and what ends adder.sh demo, with stand-ins for the tools and for adder.
. "$(dirname "$0")/lib.sh"

cp "$ADDER_SOURCE_DIR/adder.sh" "$W/"
mkdir "$W/bin"
stand_in() {
    printf '#!/bin/sh\n%s\n' "$2" >"$W/bin/$1"
    chmod +x "$W/bin/$1"
}
stand_in nvidia-smi 'echo "$GPU"'
stand_in nvcc 'case $1 in --version) echo "Cuda compilation tools, release ${TOOLKIT:-12.4}, V";; *) printf "compute_%s\n" 80 86 89 90;; esac'
# Nothing is installed or compiled: what cmake is asked for is all.
stand_in dpkg 'echo "Status: install ok installed"'
stand_in cmake 'echo "asked for $*"; exit 1'

# build_for GPU...: as on a machine with these GPUs, by compute capability.
build_for() { env PATH="$W/bin:$PATH" CUDACXX="$W/bin/nvcc" GPU="$1" "$W/adder.sh" build cuda; }
compiles_for() {
    run build_for "$1"
    grep -q -- "-DCMAKE_CUDA_ARCHITECTURES=$2\( \|$\)" "$W/err" || wrong "expected $2 for a GPU of $1"
}
dies_for() {
    run build_for "$1"
    [ "$rc" -ne 0 ] || wrong "expected a failure for a GPU of $1"
    [ "$(wc -l <"$W/err")" -eq 1 ] || wrong "expected one line for a GPU of $1"
    grep -q -- "$2" "$W/err" || wrong "expected '$2' for a GPU of $1"
}

compiles_for 9.0 90a-real
compiles_for 8.0 80-real
compiles_for 8.6 86-real
compiles_for "8.9
9.0" 89-real
compiles_for "" 90a-real
compiles_for "No devices were found" 90a-real
dies_for 7.5 'compute capability 7.5, 8.0 is needed'
dies_for 6.1 'compute capability 6.1, 8.0 is needed'
dies_for 12.0 'does not know the GPU of this machine (compute capability 12.0): install a newer CUDA toolkit'
TOOLKIT=11.8
export TOOLKIT
dies_for 9.0 '12.0 or newer is needed'

# The demo ends where the model is not below the best context model; else it goes on to generate.
stand_in cmake :
mkdir -p "$W/.cache" "$W/build/cpu"
{ echo '>g'; head -c 4639675 /dev/zero | tr '\0' A; echo; } | gzip -1 >"$W/.cache/MG1655-K12.fasta.gz"
demo_with() {
    stand_in ../build/cpu/adder "case \$1 in
        train) mkdir -p demo/ecoli ;;
        eval) echo '{\"bits_per_token\":$1,\"baselines\":{\"order_1\":1.97,\"order_7\":1.92,\"order_12\":1.94},\"best_baseline\":\"order_7\"}' ;;
        generate) echo 'it went on' >&2; exit 1 ;;
    esac"
    run env PATH="$W/bin:$PATH" "$W/adder.sh" demo
    [ "$rc" -eq 1 ] && tail -n 1 "$W/err" | grep -q "$2" || wrong "of $1 bits expected '$2'"
}
demo_with 1.93 'needs no fewer than order_7'
demo_with 1.92 'needs no fewer than order_7'
demo_with 1.91 'it went on'

finish
