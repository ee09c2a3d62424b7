#!/usr/bin/env bash
# Sets adder up and runs it; ./adder.sh help says how. Needs bash and, for the missing packages, apt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

tools="g++ cmake ninja pkg-config"
libraries="libfmt-dev nlohmann-json3-dev libhwy-dev libhts-dev libhdf5-dev libopenblas-dev libboost-program-options-dev
    zlib1g-dev"
test_libraries="libgtest-dev libgmock-dev"

# The demo: what it trains and for how long. At most five minutes on two cores.
demo_model="--mixer mamba2 --d-model 64 --layers 4 --d-state 64"
demo_data="--valid-fraction 0.2"
demo_run="--length 1024 --batch 8 --steps 1200 --lr 6e-3 --seed 1"
genome_package=ragout-examples
genome_file=MG1655-K12.fasta.gz
genome_sha256=3d70cf9dee928a6bf8f4763a3db0e0f8bf0ae32d25123a73f7a5bf2fe4d16828 # of the decompressed file
genome_bases=4639675
phage_file=datasets/data/phage_lambda.fa.gz

usage() {
    cat <<'TEXT'
usage: ./adder.sh COMMAND
  build [cuda]  build/cpu/adder (or build/cuda/adder), installing missing packages by apt; cuda needs NVIDIA's CUDA
                toolkit (nvcc, 12.0 or newer) and builds for the GPU of this machine, without one for an H100 or H200
  demo          build, then train on the genome of E. coli, evaluate on its last 20 %, and generate DNA
  test          build everything with warnings as errors and run the tests
  help          this text
TEXT
}

say() { echo "adder.sh: $*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
jobs_flag() { echo "-j$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)"; }

# ---- packages ----

package_of() {
    case $1 in
        ninja) echo ninja-build ;;
        *) echo "$1" ;;
    esac
}

is_installed() { dpkg -s "$1" 2>/dev/null | grep -q '^Status: install ok installed'; }

# How to run a command as root without being asked for anything; empty as root. Fails where there is no way.
root_prefix() {
    if [ "$(id -u)" -eq 0 ]; then
        echo "env DEBIAN_FRONTEND=noninteractive"
    elif have sudo && sudo -n true 2>/dev/null; then
        echo "sudo -n env DEBIAN_FRONTEND=noninteractive"
    else
        return 1
    fi
}

# install_missing LIBRARY...: what is missing of the tools and these libraries.
install_missing() {
    local missing=() item prefix
    if ! have apt-get || ! have dpkg; then
        say "no apt here; needed: $tools and the libraries fmt, nlohmann-json, Highway, htslib, HDF5, OpenBLAS," \
            "Boost.Program_options, zlib (tests: GoogleTest, GoogleMock)"
        say "where they are not in the usual places: CMAKE_PREFIX_PATH=/their/prefix ./adder.sh build"
        return 0
    fi
    for item in $tools; do have "$item" || missing+=("$(package_of "$item")"); done
    for item in "$@"; do is_installed "$item" || missing+=("$item"); done
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! prefix=$(root_prefix); then
        say "packages are missing; as root:"
        echo "apt-get update && apt-get install -y ${missing[*]}"
        exit 1
    fi
    say "installing ${missing[*]}"
    apt_install() { $prefix apt-get install -y -q --no-install-recommends "${missing[@]}" >&2; }
    # Package lists may be missing or old: that shows when the installation fails.
    apt_install || { $prefix apt-get update -q >&2 && apt_install; } || die "apt-get could not install ${missing[*]}"
}

# ---- build ----

# configure PRESET [OPTION...]
configure() {
    local preset=$1 log=build/configure.log generator=()
    shift
    have cmake || die "cmake is missing"
    mkdir -p build
    # A build folder keeps the generator that it began with.
    if have ninja && [ ! -e "build/$preset/CMakeCache.txt" ]; then generator=(-G Ninja); fi
    cmake --preset "$preset" "${generator[@]}" "$@" >"$log" 2>&1 || { cat "$log" >&2; die "cmake --preset $preset failed"; }
}

# The CUDA compiler, where the toolkit's own folder is not in PATH too.
find_nvcc() {
    local nvcc
    for nvcc in "${CUDACXX:-}" "$(command -v nvcc)" "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" /usr/local/cuda/bin/nvcc; do
        if [ -n "$nvcc" ] && [ -x "$nvcc" ]; then
            echo "$nvcc"
            return 0
        fi
    done
    return 1
}

# What to compile for: the first GPU of this machine, or the GPU that the kernels are tuned for.
gpu_architecture() {
    local capability
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d '. ' || true)
    case $capability in
        90) echo 90a-real ;;
        [0-9]*[0-9]) echo "$capability-real" ;;
        *) echo 90a-real ;;
    esac
}

cuda_options() {
    local nvcc version
    nvcc=$(find_nvcc) || die "nvcc is missing: the CUDA toolkit is installed from NVIDIA, not by this script; ./adder.sh build makes a binary without CUDA"
    version=$("$nvcc" --version | sed -nE 's/.*release ([0-9]+)\..*/\1/p')
    [ "${version:-0}" -ge 12 ] || die "$nvcc is of CUDA ${version:-(unknown)}, 12.0 or newer is needed"
    export CUDACXX=$nvcc
    cuda_flags=("-DCMAKE_CUDA_ARCHITECTURES=$(gpu_architecture)")
}

build_binary() {
    local preset=${1:-cpu} cuda_flags=()
    [ "$preset" != cuda ] || cuda_options
    install_missing $libraries
    configure "$preset" -DADDER_TESTS=OFF "${cuda_flags[@]}"
    cmake --build "build/$preset" "$(jobs_flag)" --target adder >&2
}

# ---- demo ----

# Downloads the package with the genome, without installing it: container images drop /usr/share/doc on installation.
download_genome() {
    local folder=.cache/download prefix
    have apt-get && have dpkg || return 1
    rm -rf "$folder"
    mkdir -p "$folder"
    say "downloading the genome of E. coli K-12 MG1655 (package $genome_package, 18 MB)"
    if ! (cd "$folder" && apt-get download -q "$genome_package" >/dev/null 2>&1); then
        prefix=$(root_prefix) || return 1
        $prefix apt-get update -q >/dev/null 2>&1 || true
        (cd "$folder" && apt-get download -q "$genome_package" >/dev/null 2>&1) || return 1
    fi
    dpkg -x "$folder"/*.deb "$folder/files" || return 1
    local found
    found=$(find "$folder/files" -name "$genome_file" | head -n 1)
    [ -n "$found" ] || return 1
    mv "$found" ".cache/$genome_file"
    rm -rf "$folder"
}

check_genome() {
    local sum bases
    gzip -t ".cache/$genome_file" 2>/dev/null || die ".cache/$genome_file is damaged; remove it and try again"
    sum=$(gzip -dc ".cache/$genome_file" | sha256sum | cut -d' ' -f1)
    [ "$sum" != "$genome_sha256" ] || return 0
    bases=$(gzip -dc ".cache/$genome_file" | grep -v '^>' | tr -d '\r\n' | wc -c)
    [ "$bases" -eq "$genome_bases" ] ||
        die ".cache/$genome_file has $bases bases, expected $genome_bases; remove it and try again"
    say "note: the genome was repacked (sha256 $sum); its $bases bases are as many as expected"
}

# bits_of CHECKPOINT FILE: bits per token, from the JSON that `adder eval` prints.
bits_of() {
    build/cpu/adder eval --checkpoint "$1" --input "$2" --json 2>/dev/null |
        sed -n 's/.*"bits_per_token":\([0-9.]*\).*/\1/p'
}

demo() {
    local adder=build/cpu/adder genome run bits
    build_binary cpu
    mkdir -p .cache demo
    if [ -e ".cache/$genome_file" ] || download_genome; then
        check_genome
        genome=.cache/$genome_file run=demo/ecoli
    else
        say "the genome of E. coli is not to be had here; the demo uses that of phage lambda (48,502 bases)"
        genome=$phage_file run=demo/lambda
    fi
    $adder train --domain dna --input "$genome" --out "$run" $demo_model $demo_data $demo_run --resume ||
        die "training failed; to start afresh: rm -r $run"
    echo
    echo "held out, the last 20 % of the genome, beside context models learned from the rest:"
    $adder eval --checkpoint "$run" --input "$genome" $demo_data --baselines 2,6
    $adder generate --checkpoint "$run" --tokens 2000 --num 1 --seed 1 --out "$run/generated.fa"
    bits=$(bits_of "$run" "$run/generated.fa")
    echo
    echo "generated 2,000 bases into $run/generated.fa; the model gives them $(printf %.4f "$bits") bits per base:"
    head -n 3 "$run/generated.fa"
}

# ---- test ----

run_tests() {
    install_missing $libraries $test_libraries
    configure ci -DADDER_TESTS=ON
    cmake --build build/ci "$(jobs_flag)" >&2
    ctest --test-dir build/ci --output-on-failure "$(jobs_flag)"
}

case ${1:-help}${2:+ $2} in
    build | "build cpu") build_binary cpu; echo build/cpu/adder ;;
    "build cuda") build_binary cuda; echo build/cuda/adder ;;
    demo) demo ;;
    test) run_tests ;;
    help | --help | -h) usage ;;
    *) usage >&2; exit 2 ;;
esac
