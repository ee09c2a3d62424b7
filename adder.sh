#!/usr/bin/env bash
# Sets adder up and runs it; ./adder.sh help says how. Needs bash and, for the missing packages, apt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

tools="g++ cmake ninja pkg-config"
libraries="libfmt-dev nlohmann-json3-dev libhwy-dev libhts-dev libhdf5-dev libsndfile1-dev libsoxr-dev libopenblas-dev
    libboost-program-options-dev zlib1g-dev"
test_libraries="libgtest-dev libgmock-dev"

# The demo: what it trains and for how long. At most ten minutes on two cores, from a clone.
demo_model="--mixer mamba2 --d-model 64 --layers 4 --d-state 64"
demo_data="--valid-fraction 0.2"
demo_run="--length 1024 --batch 8 --steps 1200 --lr 6e-3 --seed 1"
genome_package=ragout-examples
genome_file=MG1655-K12.fasta.gz
genome_sha256=3d70cf9dee928a6bf8f4763a3db0e0f8bf0ae32d25123a73f7a5bf2fe4d16828 # of the decompressed file
genome_bases=4639675
genome_name=K-12-MG1655
window_bp=192
voice_package=gcin-voice
speech_model="--mixer mamba2 --d-model 64 --layers 4 --d-state 32"
speech_run="--length 2048 --batch 4 --steps 350 --lr 4e-3 --seed 1"
phage_file=datasets/data/phage_lambda.fa.gz

usage() {
    cat <<'TEXT'
usage: ./adder.sh COMMAND
  build [cuda]  build/cpu/adder (or build/cuda/adder), installing missing packages by apt; cuda needs NVIDIA's CUDA
                toolkit (nvcc, 12.0 or newer) and builds for the GPU of this machine, without one for an H100 or H200
  demo          build, then train on the genome of E. coli, evaluate on its last 20 %, generate DNA, tell coding from
                intergenic windows, train a small model of speech, and write a report
  test [cuda]   build everything with warnings as errors and run the tests; cuda: what needs a GPU, in build/cuda, from
                which tests/gpu.sh then checks and times the rest
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
        say "no apt here; needed: $tools and the libraries fmt, nlohmann-json, Highway, htslib, HDF5, libsndfile, soxr, OpenBLAS," \
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

# gpu_architecture NVCC: what to compile for: the first GPU of this machine, or the GPU that the kernels are tuned for.
gpu_architecture() {
    local capability
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d '. ' || true)
    [[ $capability =~ ^[0-9]+$ ]] || capability=90
    [ "$capability" -ge 80 ] ||
        die "the GPU of this machine has compute capability ${capability%?}.${capability: -1}, 8.0 is needed; ./adder.sh build makes a binary without CUDA"
    "$1" --list-gpu-arch | grep -qx "compute_$capability" ||
        die "$1 does not know the GPU of this machine (compute capability ${capability%?}.${capability: -1}): install a newer CUDA toolkit"
    if [ "$capability" -eq 90 ]; then echo 90a-real; else echo "$capability-real"; fi
}

cuda_options() {
    local nvcc version architecture
    nvcc=$(find_nvcc) || die "nvcc is missing: the CUDA toolkit is installed from NVIDIA, not by this script; ./adder.sh build makes a binary without CUDA"
    version=$("$nvcc" --version | sed -nE 's/.*release ([0-9]+)\..*/\1/p')
    [ "${version:-0}" -ge 12 ] || die "$nvcc is of CUDA ${version:-(unknown)}, 12.0 or newer is needed"
    export CUDACXX=$nvcc
    architecture=$(gpu_architecture "$nvcc") || exit 1
    cuda_flags=("-DCMAKE_CUDA_ARCHITECTURES=$architecture")
}

build_binary() {
    local preset=${1:-cpu} cuda_flags=()
    [ "$preset" != cuda ] || cuda_options
    install_missing $libraries
    configure "$preset" -DADDER_TESTS=OFF "${cuda_flags[@]}"
    cmake --build "build/$preset" "$(jobs_flag)" --target adder >&2
}

# ---- demo ----

# download_package PACKAGE WHAT: its files are then in .cache/download/files; it is not installed, for container images
# drop /usr/share/doc on installation.
download_package() {
    local folder=.cache/download prefix
    have apt-get && have dpkg || return 1
    rm -rf "$folder"
    mkdir -p "$folder"
    say "downloading $2 (package $1)"
    if ! (cd "$folder" && apt-get download -q "$1" >/dev/null 2>&1); then
        prefix=$(root_prefix) || return 1
        $prefix apt-get update -q >/dev/null 2>&1 || true
        (cd "$folder" && apt-get download -q "$1" >/dev/null 2>&1) || return 1
    fi
    dpkg -x "$folder"/*.deb "$folder/files"
}

download_genome() {
    local found
    download_package "$genome_package" "the genome of E. coli K-12 MG1655, 18 MB" || return 1
    found=$(find .cache/download/files -name "$genome_file" | head -n 1)
    [ -n "$found" ] || return 1
    mv "$found" ".cache/$genome_file"
    rm -rf .cache/download
}

# Mandarin syllables of one speaker: the folder is the syllable, its last character the tone, none for the first.
download_voice() {
    local file tone list=.cache/voice/manifest
    download_package "$voice_package" "1,158 spoken syllables, 8 MB" || return 1
    rm -rf .cache/voice
    mkdir -p .cache/voice
    printf 'path\tlabel\n' >$list.part
    find .cache/download/files -name 5.ogg | LC_ALL=C sort | while read -r file; do
        tone=${file%/5.ogg}
        case $tone in
            *[2-5]) tone=${tone: -1} ;;
            *) tone=1 ;;
        esac
        n=$(printf %04d $((10#${n:-0} + 1)))
        mv "$file" ".cache/voice/$n.ogg" || exit 1
        printf '%s.ogg\ttone%s\n' "$n" "$tone"
    done >>$list.part || return 1
    rm -rf .cache/download
    # Under its name the list is whole: the next demo takes it as it is.
    [ "$(wc -l <$list.part)" -gt 1 ] && mv $list.part $list.tsv
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

# json_field FILE KEY [OBJECT]: the number KEY of the one-line JSON object in FILE, or of the object OBJECT in it.
json_field() {
    local text
    text=$(cat "$1")
    if [ $# -gt 2 ]; then text=${text#*\"$3\":\{}; text=${text%%\}*}; fi
    grep -oE "\"$2\":-?[0-9][0-9.eE+-]*" <<<"$text" | head -n 1 | cut -d: -f2
}

# Trains, then scores the held-out part beside context models of every order, then generates.
pretrain() {
    local adder=build/cpu/adder genome=$1 run=$2 bits best k
    $adder train --domain dna --input "$genome" --out "$run" $demo_model $demo_data $demo_run --resume ||
        die "training failed; to start afresh: rm -r $run"
    $adder eval --checkpoint "$run" --input "$genome" $demo_data --baselines 1-12 --json >"$run/eval.json"
    echo
    echo "held out, the last 20 % of the genome, in bits per base:"
    printf '  model     %.4f\n' "$(json_field "$run/eval.json" bits_per_token)"
    for k in 2 6 12; do
        printf '  order_%-3s %.4f\n' $k "$(json_field "$run/eval.json" "order_$k" baselines)"
    done
    echo "order_k: a context model of k bases with back-off, learned from both strands of the rest"
    # The promise of the demo; two minutes on the 48,502 bases of lambda promise nothing.
    if [ "$run" = demo/ecoli ]; then
        bits=$(json_field "$run/eval.json" bits_per_token)
        best=$(sed -nE 's/.*"best_baseline":"([^"]*)".*/\1/p' "$run/eval.json")
        awk -v bits="$bits" -v best="$(json_field "$run/eval.json" "$best" baselines)" 'BEGIN { exit !(bits < best) }' ||
            die "the model should need fewer bits per base than every context model, and needs no fewer than $best"
    fi
    $adder generate --checkpoint "$run" --tokens 10000 --num 1 --seed 1 --out "$run/generated.fa" --overwrite
    cp "$run/generated.fa" demo/generated.fa
    $adder eval --checkpoint "$run" --input "$run/generated.fa" --json >"$run/generated.json" 2>/dev/null
    bits=$(json_field "$run/generated.json" bits_per_token)
    echo
    echo "generated 10,000 bases into demo/generated.fa; the model gives them $(printf %.4f "$bits") bits per base:"
    head -n 3 demo/generated.fa
}

# A linear classifier of coding and intergenic windows on the states of the model and of the same model untrained. The
# windows are read in passing while the second half of the chromosome streams through; the test windows lie in the last
# 20 %, which pretraining did not see.
classify() {
    local adder=build/cpu/adder genome=$1 run=$2 start border model
    local cut=.cache/windows embed="--regions .cache/windows.bed --rc concat --layer all --overwrite"
    start=$((genome_bases / 2 / window_bp * window_bp))
    border=$((genome_bases - (genome_bases + 2) / 5))
    rm -f "$cut".*
    gzip -dc "$genome" | awk '/^>/ { next } { sub(/\r$/, ""); printf "%s", $0 } END { print "" }' >"$cut.letters"
    awk -v name="$genome_name" -v start=$start -v border=$border -v width=$window_bp -v out="$cut" \
        -f datasets/data/coding_windows.awk datasets/data/ecoli_cds.bed "$cut.letters"
    # The same first weights as the trained model's.
    $adder train --domain dna --input "$phage_file" --out "$run-untrained" $demo_model --seed 1 --steps 0 --overwrite 2>/dev/null
    for model in "$run" "$run-untrained"; do
        $adder embed --checkpoint "$model" --input "$cut.part.fa" $embed --out "$model/windows.h5"
    done
    $adder probe --embeddings "$run/windows.h5" --labels "$cut.tsv" --sequences "$cut.fa" \
        --compare random_init="$run-untrained/windows.h5" --confusion "$run/confusion.svg" --overwrite --json >"$run/probe.json"
    echo
    echo "coding or intergenic: a linear classifier of $(json_field "$run/probe.json" test) windows of $window_bp bases, accuracy:"
    printf '  majority     %.4f\n' "$(json_field "$run/probe.json" majority)"
    printf '  6-mers       %.4f\n' "$(json_field "$run/probe.json" accuracy kmer)"
    printf '  random init  %.4f   the same model, untrained\n' "$(json_field "$run/probe.json" accuracy random_init)"
    printf '  trained      %.4f\n' "$(json_field "$run/probe.json" accuracy)"
    awk -v t="$(json_field "$run/probe.json" accuracy)" -v r="$(json_field "$run/probe.json" accuracy random_init)" \
        -v k="$(json_field "$run/probe.json" accuracy kmer)" 'BEGIN {
            best = t > r && t > k ? "the trained model wins" : k > r ? "k-mers win" : "the untrained model wins"
            print "  " (t == k && t >= r || t == r && t >= k ? "the trained model does not win alone" : best) }'
}

# A small model of speech, by class. So short a training gives babble.
speak() {
    local adder=build/cpu/adder run=demo/speech voice=(--input .cache/voice/manifest.tsv) class
    if [ ! -e .cache/voice/manifest.tsv ] && ! download_voice; then
        say "no recordings are to be had here; the demo uses ten spoken digits"
        voice=(--input datasets/data/fsdd --pattern '{label}_{group}_{take}')
        run=demo/digits
    fi
    echo
    echo "speech: under a minute of training, which gives babble"
    $adder train --domain audio "${voice[@]}" --class-conditional --rate 8000 --out "$run" $speech_model $speech_run --resume ||
        die "training failed; to start afresh: rm -r $run"
    class=$($adder info --checkpoint "$run" --json | sed -nE 's/.*"classes":\["([^"]*)".*/\1/p')
    $adder generate --checkpoint "$run" --seconds 1 --num 4 --class "$class" --seed 1 --out "$run/generated" --overwrite
    speech=$run
}

demo() {
    local genome run speech
    build_binary cpu
    mkdir -p .cache demo
    if [ -e ".cache/$genome_file" ] || download_genome; then
        check_genome
        genome=.cache/$genome_file run=demo/ecoli
    else
        say "the genome of E. coli is not to be had here; the demo uses that of phage lambda (48,502 bases)"
        genome=$phage_file run=demo/lambda
    fi
    pretrain "$genome" "$run"
    if [ "$run" = demo/ecoli ]; then
        classify "$genome" "$run"
    else
        echo "coding and intergenic windows are known for E. coli only: nothing is classified"
    fi
    speak
    build/cpu/adder report "$run" "$speech" --out demo/report.html --json-out demo/report.json --overwrite
    echo
    echo "everything on one page: demo/report.html"
}

# ---- test ----

run_tests() {
    local preset=${1:-ci} cuda_flags=() only=()
    [ "$preset" != cuda ] || { cuda_options; only=(-L gpu); }
    install_missing $libraries $test_libraries
    configure "$preset" -DADDER_TESTS=ON "${cuda_flags[@]}"
    cmake --build "build/$preset" "$(jobs_flag)" >&2
    ctest --test-dir "build/$preset" --output-on-failure "$(jobs_flag)" "${only[@]}"
}

case ${1:-help}${2:+ $2} in
    build | "build cpu") build_binary cpu; echo build/cpu/adder ;;
    "build cuda") build_binary cuda; echo build/cuda/adder ;;
    demo) demo ;;
    test) run_tests ;;
    "test cuda") run_tests cuda ;;
    help | --help | -h) usage ;;
    *) usage >&2; exit 2 ;;
esac
