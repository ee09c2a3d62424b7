#!/usr/bin/env bash
# Checks and times everything on a machine with a GPU, and prints a table last. Needs built binaries, bash and awk; no
# cmake, so that a folder of binaries from another machine will do.
#
#   tests/gpu.sh [--build DIR] [--portable DIR] [--jobs N] [--allow-skip] [PART...]
#
#   --build DIR     what ./adder.sh test cuda leaves, or any folder with adder and *_test in it (shared libraries in DIR/lib);
#                   build/cuda
#   --portable DIR  the same of compute capability 8.0, of which ops_test is used; build/portable
#   --allow-skip    what cannot be checked here is skipped instead of missed: no such binary or tool, no row of a peer
#   PART    ops        every op against its reference; model, train: the same of whole models; several processes at a time
#           portable   as ops, with kernels that the driver compiles from PTX of compute capability 8.0
#           huge       cases past 2^31 elements
#           cli        the commands
#           sanitizer  memcheck and racecheck of every kernel on small cases (needs compute-sanitizer)
#           bench      every op: JSON in ops.jsonl, the table of kernels/README.md in ops.md
#           peers      whole models at the sizes of other programs: JSON in models.jsonl; PEERS=FILE.jsonl has their rows
#           memory     peak memory, plan against run, speed in length
#           plans      plan against run: small, wide, deep and pooled models
#           curves     losses on a GPU against those on the CPU
#           all        all of these; the default
#
# With OUT=FOLDER everything is left there: table.txt, ops.jsonl, ops.md, models.jsonl, logs.tar.gz. Exit 1 on any MISS.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/cuda portable=$root/build/portable jobs=$(($(nproc) / 2)) allow_skip= parts=()
all=(ops portable model train sanitizer cli curves huge bench peers memory plans)
[ "$jobs" -ge 1 ] || jobs=1
[ "$jobs" -le 8 ] || jobs=8
while [ $# -gt 0 ]; do
    case $1 in
        --build) build=$(realpath "$2"); shift 2 ;;
        --portable) portable=$(realpath "$2"); shift 2 ;;
        --jobs) jobs=$2; shift 2 ;;
        --allow-skip) allow_skip=1; shift ;;
        ops | portable | model | train | huge | cli | sanitizer | bench | peers | memory | plans | curves) parts+=("$1"); shift ;;
        all) parts+=("${all[@]}"); shift ;;
        *) sed -n '2,/^set -u/p' "${BASH_SOURCE[0]}" | sed -n 's/^# \{0,1\}//p'; exit 2 ;;
    esac
done
[ ${#parts[@]} -gt 0 ] || parts=("${all[@]}")
for folder in "$portable" "$build"; do
    [ ! -d "$folder/lib" ] || export LD_LIBRARY_PATH=$folder/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done

W=$(mktemp -d)
mkdir -p "$W/logs" "$W/rows"
poller=
finish() {
    [ -z "$poller" ] || kill "$poller" 2>/dev/null
    [ -z "${OUT:-}" ] || tar -C "$W" -czf "$OUT/logs.tar.gz" logs
    rm -rf "$W"
}
trap finish EXIT
trap 'exit 130' INT TERM

# binary NAME [FOLDER]: its path, in a build folder or a flat one.
binary() {
    local path folder=${2:-$build}
    for path in "$folder/$1" "$folder/tests/$1"; do [ ! -x "$path" ] || { echo "$path"; return; }; done
    echo "$folder/$1"
}
adder=$(binary adder)
[ -x "$adder" ] || { echo "gpu.sh: $adder is missing; hint: ./adder.sh test cuda builds it and the tests" >&2; exit 1; }

# ---- the table ----

rows=0
# Rows appear in the order in which their numbers were taken, whichever process ends first.
next_row() {
    rows=$((rows + 1))
    row_file=$(printf '%s/rows/%04d' "$W" "$rows")
}
# put FILE VERDICT PART NAME DETAIL
put() { printf '%-4s %-10s %-34s %s\n' "$2" "$3" "$4" "$5" | tee "$1"; }
row() { next_row; put "$row_file" "$@"; }
# What is said of a thing that could not be checked.
absent() { [ -n "$allow_skip" ] && echo skip || echo MISS; }
# want PART BINARY: whether it is there; else a row says that it is not.
want() {
    [ -x "$2" ] && return
    row "$(absent)" "$1" "$(basename "$2")" "missing in $(dirname "$2"); hint: ./adder.sh test cuda; portable: cmake --build build/portable --target ops_test"
    return 1
}
# verdict CONDITION: of an awk expression without slashes, which beside a missing number would begin a pattern
verdict() { awk "BEGIN { exit !($1) }" 2>/dev/null && echo ok || echo MISS; }
calculate() { awk "BEGIN { printf \"%.$2f\", $1 }"; }

slot() { while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done; }

# run_tests ROW PART NAME SECONDS COMMAND...: a test binary.
run_tests() {
    local file=$1 part=$2 name=$3 limit=$4 log rc begin=$SECONDS detail
    log=$W/logs/$part-${name//\//-}.log
    shift 4
    timeout -k 10 "$limit" "$@" >"$log" 2>&1
    rc=$?
    detail="$(sed -nE 's/^\[  PASSED  \] ([0-9]+) tests?.*/\1 tests/p' "$log" | tail -n 1), $((SECONDS - begin)) s"
    detail+=$(sed -nE 's/.*worst error \/ allowed ([0-9.]+) at (.*)/\1 \2/p' "$log" | sort -rn | head -n 1 |
        sed -E 's/^([0-9.]+) (.*)/, worst error \/ allowed \1 at \2/')
    if [ $rc -eq 124 ] || [ $rc -eq 137 ]; then
        put "$file" MISS "$part" "$name" "no end after $limit s: $(grep -E '^\[ RUN' "$log" | tail -n 1)"
    elif grep -qE 'Device not supported|Unable to (find|load) ' "$log"; then
        put "$file" "$(absent)" "$part" "$name" "$(grep -m 1 -E 'Device not supported|Unable to' "$log")"
    elif [ $rc -ne 0 ]; then
        put "$file" MISS "$part" "$name" "rc $rc, $detail: $(grep -E '^\[  FAILED  \].*[._]' "$log" | sort -u | wc -l) failed; $(
            grep -m 1 -A 1 -E 'Failure$|Error|ERROR' "$log" | tail -n 1 | cut -c 1-150)"
    elif grep -q 'skipped: no GPU' "$log"; then
        put "$file" MISS "$part" "$name" "$(grep -m 1 -o 'no GPU.*' "$log")"
    elif ! grep -qE '^\[  PASSED  \] [1-9]' "$log"; then
        put "$file" MISS "$part" "$name" "no test ran"
    else
        put "$file" ok "$part" "$name" "$detail"
    fi
}
# In the background.
start_tests() {
    slot
    next_row
    run_tests "$row_file" "$@" &
}

# op_names [OPS_TEST]: names of ops, from the tests' parameters: scan_f32 and scan_bf16 are of scan.
op_names() {
    "${1:-$(binary ops_test)}" --gtest_list_tests 2>/dev/null | sed -nE 's/^  cases_once\/([a-z0-9_]+)_(f32|bf16).*/\1/p' |
        awk '!seen[$0]++'
}

# of_op OP SUITE...: the filter for the tests of one op; scan_* would be those of scan_step_low_rank too.
of_op() {
    local op=$1 suite
    shift
    for suite; do printf '%s.*/%s_f32:%s.*/%s_bf16:' "$suite" "$op" "$suite" "$op"; done
}

# recorded_tiles MODEL: the test of its recorded tiles, which is listed by number with the name behind it.
recorded_tiles() {
    "$(binary model_test)" --gtest_list_tests 2>/dev/null |
        sed -nE "s/^  (keep_graphs_and_repetition[a-z_]*\/[0-9]+) .*\"$1\"$/*.\1/p"
}

# ---- checks ----

# check_ops PART OPS_TEST
check_ops() {
    local part=$1 ops_test=$2 op suites=(CudaOps CudaNan CudaTime CudaPacking CudaSteps CudaSmall)
    want "$part" "$ops_test" || return
    for op in $(op_names "$ops_test"); do
        start_tests "$part" "$op" 400 "$ops_test" "--gtest_filter=$(of_op "$op" "${suites[@]}")"
        start_tests "$part" "$op-99KiB" 400 "$ops_test" "--gtest_filter=$(of_op "$op" 'CudaLittleShared*')"
    done
    start_tests "$part" others 400 "$ops_test" \
        "--gtest_filter=*Cuda*-$(printf '*%s.*:' "${suites[@]}")*CudaLittleShared*:*PlanOnCuda.*:*CudaHugeSlow.*"
}
part_ops() { check_ops ops "$(binary ops_test)"; }
part_portable() {
    # Such a binary has nothing but PTX. CUDA_FORCE_PTX_JIT is no help: with it cuBLASLt finds no kernel of its own.
    check_ops portable "$(binary ops_test "$portable")"
}
part_huge() {
    local test
    want huge "$(binary ops_test)" || return
    for test in $("$(binary ops_test)" --gtest_list_tests 2>/dev/null |
        awk '/^[^ ]/ { suite = $1 } /^  / && suite ~ /^CudaHugeSlow\./ { print suite $1 }'); do
        next_row
        run_tests "$row_file" huge "$test" 200 "$(binary ops_test)" "--gtest_filter=$test"
    done
}
part_model() {
    want model "$(binary core_test)" && start_tests model batches 100 "$(binary core_test)" '--gtest_filter=*Cuda*'
    want model "$(binary model_test)" || return
    start_tests model fast 500 "$(binary model_test)" '--gtest_filter=*Cuda*-*Slow.*'
    start_tests model slow 500 "$(binary model_test)" '--gtest_filter=*Cuda*Slow.*'
}
part_train() {
    want train "$(binary train_test)" || return
    start_tests train fast 500 "$(binary train_test)" '--gtest_filter=*Cuda*-*Slow.*'
    start_tests train slow 500 "$(binary train_test)" '--gtest_filter=*Cuda*Slow.*'
}
part_cli() {
    local script name log begin
    for script in "$root"/tests/cli/*cuda*_test.sh; do
        name=$(basename "$script" _test.sh) begin=$SECONDS
        log=$W/logs/cli-$name.log
        if ADDER=$adder ADDER_SOURCE_DIR=$root timeout 500 bash "$script" >"$log" 2>&1 &&
            grep -q '^all as expected' "$log" && ! grep -q '^skipped: no GPU' "$log"; then
            row ok cli "$name" "$((SECONDS - begin)) s"
        else
            row MISS cli "$name" "$(grep -m 1 -E '^(WRONG|skipped: no GPU)' "$log" || tail -n 1 "$log")"
        fi
    done
    if timeout 100 "$adder" selftest --device cuda >"$W/logs/selftest.log" 2>&1; then
        row "$(verdict "$(grep -c ' ok$' "$W/logs/selftest.log") > 9")" cli selftest "$(grep -c ' ok$' "$W/logs/selftest.log") ops"
    else
        row MISS cli selftest "$(tail -n 1 "$W/logs/selftest.log")"
    fi
}
part_sanitizer() {
    local op tool check name test filter
    if ! command -v compute-sanitizer >/dev/null; then
        row "$(absent)" sanitizer - "compute-sanitizer is missing"
        return
    fi
    want sanitizer "$(binary ops_test)" || return
    for tool in memcheck racecheck; do
        check=(compute-sanitizer --tool "$tool" --error-exitcode 9)
        for op in $(op_names); do
            start_tests sanitizer "$op-$tool" 500 "${check[@]}" "$(binary ops_test)" \
                "--gtest_filter=$(of_op "$op" CudaSmall CudaLittleSharedSmall)"
        done
        # What no small case of an op runs: numbers made on the device, threads of two channels, the updates of a trainer,
        # batches whose arrays lie in one block, recorded steps, recorded tiles of a flat model and of a U-Net.
        for test in 'fill ops_test CudaSampled.conv1d' 'paired_scan ops_test CudaScan.threads_of_two*' \
            'updates ops_test CudaUpdate.*' 'recorded_sample ops_test CudaSample.a_recorded_step*' \
            'batch core_test CudaPackedBatch.*' "recorded_tiles model_test $(recorded_tiles 'flat mamba1')" \
            "recorded_unet_tiles model_test $(recorded_tiles 'unet mamba1')"; do
            read -r name test filter <<<"$test"
            want sanitizer "$(binary "$test")" &&
                start_tests sanitizer "$name-$tool" 500 "${check[@]}" "$(binary "$test")" "--gtest_filter=$filter"
        done
    done
}

# ---- speed ----

# value KEY: of every JSON line on standard input
value() { sed -nE "s/.*\"$1\": ?\"?([^,\"}]*).*/\1/p"; }

part_bench() {
    local op log lines
    want bench "$(binary ops_test)" || return
    for op in $(op_names); do
        log=$W/logs/bench-$op
        timeout 300 "$adder" bench "$op" --device cuda --json >"$log.jsonl" 2>"$log.log" ||
            { row MISS bench "$op" "$(tail -n 1 "$log.log")"; continue; }
        cat "$log.jsonl" >>"$W/ops.jsonl"
        lines=$(wc -l <"$log.jsonl")
        row "$(verdict "$lines > 0")" bench "$op" "$lines rows, % of the floor $(value pct_floor <"$log.jsonl" | sort -n | sed -n '1p;$p' |
            awk '{ printf "%s%.0f", (NR > 1 ? " to " : ""), $1 }')"
    done
    [ ! -e "$W/ops.jsonl" ] || awk -v peers="${PEERS:-}" -f "$root/tests/gpu_ops_table.awk" "$W/ops.jsonl" >"$W/ops.md"
}

# Whole models beside other programs.
part_peers() {
    local what log verdict name text before
    for what in train_step embed_forward decode_cuda_graph loader; do
        log=$W/logs/peers-$what
        timeout 580 "$adder" bench "$what" --device cuda --json >"$log.jsonl" 2>"$log.log" ||
            row MISS peers "$what" "$(tail -n 1 "$log.log")"
        # Rows of a failed run are on standard error.
        grep -h '^{' "$log.jsonl" "$log.log" >"$log.rows"
        cat "$log.rows" >>"$W/models.jsonl"
        before=$rows
        while IFS=$'\t' read -r verdict name text; do row "$verdict" peers "$name" "$what: $text"; done < <(
            awk -v what=$what -v peers="${PEERS:-}" -v absent="$(absent)" -f "$root/tests/gpu_peers.awk" "$log.rows")
        [ "$rows" -gt "$before" ] || row MISS peers "$what" "no row"
    done
}

# ---- memory ----

start_polling() {
    nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -i 0 -lms 50 >"$W/used" 2>/dev/null &
    poller=$!
    for _ in $(seq 40); do [ -s "$W/used" ] && break; sleep 0.05; done
}
# Leaves the rise since then in $rise, in MiB.
stop_polling() {
    kill "$poller" 2>/dev/null
    wait "$poller" 2>/dev/null
    poller=
    rise=$(awk 'NR == 1 { base = $1 } $1 > peak { peak = $1 } END { print peak - base }' "$W/used")
}

# A made-up genome of 17 million bases.
genome() {
    [ -e "$W/genome.fa" ] && return
    { echo '>genome'; head -c 17000000 /dev/urandom | tr '\000-\377' '[A*64][C*64][G*64][T*64]' | fold -w 60; } >"$W/genome.fa"
}

# The model and batch of train_long and compare_plan.
shape=(--d-model 256 --layers 8 --batch 1)

# train_long NAME OPTION...: leaves rise, tile, keep, planned (MiB), speed (tokens/s) and the log in $log.
train_long() {
    local name=$1
    shift
    log=$W/logs/memory-$name.log
    genome
    start_polling
    timeout 500 "$adder" train --device cuda --domain dna --input "$W/genome.fa" --out "$W/run-$name" "${shape[@]}" \
        --seed 1 "$@" >"$log" 2>&1
    rc=$?
    stop_polling
    tile=$(sed -nE 's/.* ([0-9]+) tiles? of ([0-9]+), ([0-9]+) kept.*/\2/p' "$log" | tail -n 1)
    keep=$(sed -nE 's/.* ([0-9]+) tiles? of ([0-9]+), ([0-9]+) kept.*/\3/p' "$log" | tail -n 1)
    planned=$(sed -nE 's/^memory   ([0-9.]+) ([GM])iB:.*/\1 \2/p' "$log" | awk '{ print $1 * ($2 == "G" ? 1024 : 1) }')
    # The first step also loads kernels and records graphs.
    speed=$(value tokens_per_s <"$W/run-$name/metrics.jsonl" 2>/dev/null | tail -n +2 | sort -n | tail -n 1)
    [ $rc -eq 0 ] || row MISS "$part" "$name" "rc $rc: $(tail -n 1 "$log")"
    rm -rf "$W/run-$name"
    return $rc
}

# compare_plan NAME OPTION...: the plan of the same options beside what happened.
compare_plan() {
    local name=$1 out=$W/logs/plan-$1.json guess
    shift
    timeout 300 "$adder" plan --device cuda --json "${shape[@]}" "$@" >"$out" 2>"$out.log" ||
        { row MISS "$part" "$name plan" "$(tail -n 1 "$out.log")"; return; }
    guess=$(value tokens_per_s <"$out")
    : "${guess:=0}" "${speed:=0}" "${planned:=0}"
    row "$(verdict "0.75 * $speed < $guess && $guess < 1.25 * $speed")" "$part" "$name plan: speed" \
        "$(calculate "$guess" 0) tokens/s planned, $(calculate "$speed" 0) seen"
    row "$(verdict "0.95 * $rise < $planned && $planned < 1.05 * $rise")" "$part" "$name plan: memory" \
        "$planned MiB planned, $rise MiB seen"
}

# The figures of the README, by its commands. A tile of 2^14 cuts the shortest sequence in eight, so that about the same
# share is computed twice at every length.
part_memory() {
    local mixer at_1M L speeds
    for mixer in mamba1 mamba2; do
        train_long "$mixer-1M" --mixer $mixer --length 1048576 --memory 10GiB --steps 3 || continue
        row "$(verdict "0 < $rise && $rise <= 10 * 1024")" memory "$mixer L 2^20 in 10 GiB" \
            "rise $rise MiB, tile $tile keep $keep, $(calculate "${speed:-0}" 0) tokens/s"
        compare_plan "$mixer-1M" --mixer $mixer --length 1048576 --memory 10GiB
        train_long "$mixer-1M-tile" --mixer $mixer --length 1048576 --tile 131072 --keep 1 --steps 2 || continue
        at_1M=$rise
        train_long "$mixer-16M-tile" --mixer $mixer --length 16777216 --tile 131072 --keep 1 --steps 1 &&
            row "$(verdict "0 < $at_1M && $rise <= $at_1M + 512 && $rise <= 11 * 1024")" memory "$mixer L 2^24, tile 2^17 keep 1" \
                "rise $rise MiB, at L 2^20 $at_1M MiB"
        train_long "$mixer-128K" --mixer $mixer --length 131072 --steps 6 &&
            compare_plan "$mixer-128K" --mixer $mixer --length 131072
        speeds=
        for L in 131072 1048576 4194304 16777216; do
            train_long "$mixer-$L" --mixer $mixer --length $L --tile 16384 --keep 0 --steps $((L < 1 << 20 ? 9 : 2)) || break
            speeds+=" $(calculate "${speed:-0}" 0)"
        done
        # shellcheck disable=SC2046,SC2086
        set -- $(printf '%s\n' $speeds | sort -g)
        row "$(verdict "$# == 4 && 0 < ${1:-0} && ${4:-0} <= 1.1 * ${1:-0}")" \
            memory "$mixer tile 2^14 keep 0" "tokens/s at L 2^17, 2^20, 2^22, 2^24:$speeds"
    done
}

# check_plan NAME OPTION...: of the model in `shape`
check_plan() { train_long "$@" --steps 8 && compare_plan "$@"; }
part_plans() {
    local shape
    shape=(--d-model 64 --layers 4 --batch 8)
    check_plan "small mamba2" --mixer mamba2 --length 1024
    shape=(--d-model 128 --layers 4 --batch 64)
    check_plan "short mamba1" --mixer mamba1 --length 1024
    shape=(--d-model 512 --layers 8 --batch 16)
    check_plan "many rows of mamba1" --mixer mamba1 --length 8192
    shape=(--d-model 768 --layers 24 --batch 1)
    check_plan "deep mamba2" --mixer mamba2 --length 131072
    shape=(--d-model 1024 --layers 4 --batch 1)
    check_plan "wide mamba1 in tiles" --mixer mamba1 --length 262144 --tile 32768 --keep 2
    shape=(--d-model 64 --layers 4 --batch 2)
    check_plan "U-Net" --backbone unet --mixer mamba2 --length 131072
}

# ---- curves ----

# losses RUN KEY
losses() { value "$2" <"$1/metrics.jsonl"; }
part_curves() {
    local phage=$root/datasets/data/phage_lambda.fa.gz mixer worst a b
    local small=(train --domain dna --input "$phage" --length 512 --batch 4 --seed 1)
    for mixer in mamba1 mamba2; do
        for device in cpu cuda; do
            timeout 300 "$adder" "${small[@]}" --mixer $mixer --d-model 32 --layers 2 --steps 200 --lr 3e-3 --dtype f32 \
                --device $device --out "$W/f32-$mixer-$device" >"$W/logs/curve-f32-$mixer-$device.log" 2>&1
            timeout 500 "$adder" "${small[@]}" --mixer $mixer --d-model 64 --layers 2 --steps 500 --lr 3e-3 --valid-fraction 0.1 \
                --device $device --out "$W/long-$mixer-$device" >"$W/logs/curve-long-$mixer-$device.log" 2>&1
        done
        worst=$(paste <(losses "$W/f32-$mixer-cpu" loss) <(losses "$W/f32-$mixer-cuda" loss) |
            awk '{ d = ($1 - $2) / $1; if (d < 0) d = -d; if (d > w) w = d; n += NF == 2 } END { printf "%.2e", n == 200 ? w : 9 }')
        row "$(verdict "$worst <= 1e-3")" curves "$mixer f32, 200 steps" "losses on CPU and GPU differ by $worst at most"
        a=$(losses "$W/long-$mixer-cpu" valid_loss | tail -n 1) b=$(losses "$W/long-$mixer-cuda" valid_loss | tail -n 1)
        row "$(verdict "${b:-9} < 1.005 * ${a:-1} && ${a:-9} < 1.005 * ${b:-1}")" curves "$mixer bf16, 500 steps" \
            "held out: ${a:-none} nats on the CPU in f32, ${b:-none} on the GPU in bf16"
    done
}

# ---- all of it ----

echo "$("$adder" --version | head -n 1); $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader -i 0 2>&1 | head -n 1)"
for part in "${parts[@]}"; do
    echo "== $part, after $SECONDS s"
    before=$rows
    # What is timed, or takes all the memory, is alone on the GPU.
    case $part in huge | cli | bench | peers | memory | plans) wait ;; esac
    "part_$part"
    [ "$rows" -gt "$before" ] || row MISS "$part" - "nothing was checked"
done
wait
{
    echo "== table, $SECONDS s in all"
    cat "$W"/rows/* 2>/dev/null
    echo "$(cat "$W"/rows/* | grep -c '^ok') ok, $(cat "$W"/rows/* | grep -c '^skip') skipped, $(cat "$W"/rows/* | grep -c '^MISS') missed"
} >"$W/table.txt"
if [ -n "${OUT:-}" ]; then
    for file in table.txt ops.jsonl ops.md models.jsonl; do [ ! -e "$W/$file" ] || cp "$W/$file" "$OUT/"; done
fi
cat "$W/table.txt"
! grep -q '^MISS' "$W/table.txt"
