#!/usr/bin/env bash
# The results on speech of docs/results.md. Python 3 and a built adder are needed, and flac for `baselines`; ADDER names the
# program (default: build/cuda/adder or build/cpu/adder beside this tree).
#
#   audio.sh inputs DATA FOLDER      the digits below DATA as a token store in FOLDER, which is all that `run` reads
#   audio.sh baselines DATA FOLDER   context models and FLAC on the takes that are tested, on the CPU
#   audio.sh run FOLDER OUT          trains, evaluates and generates on all GPUs; a table is printed. OUT/audio.tar.gz has metrics,
#                                    results and logs, OUT/clips-MODEL.tar.gz ten clips a digit with the page to hear them
#
# Settings of `run` (environment): LIMIT seconds in all, MODELS, STEPS, SEED, SECONDS_A_CLIP, SIZE_mamba2, SIZE_mamba1 and
# SIZE_unet (options). A training that takes longer than its share of the time is stopped, evaluated and reported as it is.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..
[ -n "${ADDER:-}" ] || for ADDER in "$root"/build/cuda/adder "$root"/build/cpu/adder; do [ ! -x "$ADDER" ] || break; done
LIMIT=${LIMIT:-250} MODELS=${MODELS:-mamba2 unet mamba1} STEPS=${STEPS:-6000} SEED=${SEED:-1} SECONDS_A_CLIP=${SECONDS_A_CLIP:-0.5}
# Takes 0 to 4 of every speaker and digit are tested, 5 to 7 choose the checkpoint, 8 to 49 are trained on.
SPLIT=(--pattern '{label}_{group}_{take}' --valid-where take=5-7 --test-where take=0-4)
TRAIN=(--class-conditional --length 8192 --batch 4 --lr 2e-3 --steps "$STEPS" --eval-every $(((STEPS + 19) / 20)))

options_of() {
    local given=SIZE_$1
    case $1 in
        mamba2) echo --mixer mamba2 "${!given:---d-model 256 --layers 8}" ;;
        mamba1) echo --mixer mamba1 "${!given:---d-model 256 --layers 8}" ;;
        unet) echo --backbone unet --mixer mamba1 --pool 4,4 "${!given:---d-model 64 --layers 8 --dt-rank 2}" ;;
    esac
}

inputs() {
    mkdir -p "$2"
    "$ADDER" prepare --domain audio --input "$1/speech_fsdd/recordings" "${SPLIT[@]}" --out "$2/digits.h5" --overwrite
}

# The network of no steps is there because eval scores one.
baselines() {
    local tmp
    tmp=$(mktemp -d)
    "$ADDER" train --domain audio --input "$2/digits.h5" --class-conditional --out "$tmp/none" --d-model 16 --layers 1 --steps 0
    "$ADDER" eval --checkpoint "$tmp/none" --input "$2/digits.h5" --part test --baselines 0-2 --json >"$2/context_models.json"
    python3 "$here/flac_bits.py" "$1/speech_fsdd/recordings"/*_[0-4].wav >"$2/flac.json"
    cat "$2/context_models.json" "$2/flac.json"
    rm -r "$tmp"
}

# ---- run ----

seconds() { echo $(($(date +%s) - begun)); }
left() { echo $((LIMIT - $(seconds) - ${1:-0})); }
# Samples a second, of the last line that generate logs.
speed() { sed -nE 's/.* ([0-9]+) samples\/s, ([0-9.]+) of real time$/\1/p' "$1" | tail -n 1; }

# within NAME SECONDS COMMAND...: its log in $out/NAME.log; a failure is said and is not the end.
within() {
    local name=$1 limit=$2 from rc=0
    shift 2
    from=$(seconds)
    if [ "$limit" -lt 5 ]; then
        echo "$name: left out at $from s"
        return 1
    fi
    timeout -s TERM -k 20 "$limit" "$@" >"$out/$name.log" 2>&1 || rc=$?
    echo "$name: $from to $(seconds) s$([ $rc -eq 0 ] || echo ", exit $rc: $(tail -n 1 "$out/$name.log")")"
    return $rc
}

# score MODEL PART --best|"" NAME
score() { within "$1.$4" "$(left)" bash -c '"$0" eval --checkpoint "$1" --input "$2" --part "$3" --json $4 >"$5"' \
    "$ADDER" "$work/$1" "$folder/digits.h5" "$2" "$3" "$out/$1.$4.json"; }

# speeds MODEL DEVICE: how fast one stream and 64 are made; 64 as they come from a batch.
speeds() {
    local streams length
    for streams in 1 64; do
        length=$([ "$2" = cuda ] && echo 4 || echo 0.2)
        within "$1.$2.$streams" "$(left)" "$ADDER" generate --checkpoint "$work/$1" --best --device "$2" --class 0 --seconds "$length" \
            --num $streams --batch $streams --seed "$SEED" --threads "$THREADS" --out "$work/$1.$2.$streams" || continue
        echo "{\"model\": \"$1\", \"device\": \"$2\", \"streams\": $streams, \"samples_s\": $(speed "$out/$1.$2.$streams.log")}" \
            >>"$out/speed.jsonl"
    done
}

# task_model MODEL GPU SECONDS
task_model() {
    local model=$1 share=$3 digits
    export CUDA_VISIBLE_DEVICES=$2
    # What follows takes about 20 s.
    within "$model.train" $((share - 20)) "$ADDER" train --domain audio --input "$folder/digits.h5" --out "$work/$model" \
        "${TRAIN[@]}" $(options_of "$model") --seed "$SEED" --threads "$THREADS" || true
    cp "$work/$model/metrics.jsonl" "$out/$model.metrics.jsonl" || return 0
    cp "$work/$model/run.json" "$out/$model.run.json"
    score "$model" test --best best.test || true
    score "$model" valid --best best.valid || true
    score "$model" test "" last.test || true
    digits=(--class 0 --class 1 --class 2 --class 3 --class 4 --class 5 --class 6 --class 7 --class 8 --class 9)
    if within "$model.clips" "$(left)" "$ADDER" generate --checkpoint "$work/$model" --best "${digits[@]}" --num 10 --batch 100 \
        --seconds "$SECONDS_A_CLIP" --seed "$SEED" --threads "$THREADS" --out "$work/clips-$model"; then
        tar czf "$out/../clips-$model.tar.gz" -C "$work" "clips-$model"
    fi
    speeds "$model" "$device"
}

# run FOLDER OUT
run() {
    local gpu gpus model turn todo share
    export folder out=$2/audio work begun device ADDER LIMIT
    folder=$(realpath "$1") begun=$(date +%s)
    mkdir -p "$out"
    out=$(realpath "$out") work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    device=cuda
    nvidia-smi --query-gpu=index,name --format=csv,noheader >"$out/gpus.txt" 2>/dev/null || { device=cpu; echo "0, no GPU" >"$out/gpus.txt"; }
    cat "$out/gpus.txt"
    "$ADDER" --version >"$out/version.txt"
    lscpu >"$out/cpu.txt" || true
    mapfile -t gpus < <(cut -d, -f1 "$out/gpus.txt")
    export THREADS=$(($(nproc) / ${#gpus[@]}))
    # A GPU does its models one after another, all GPUs at the same time.
    for gpu in "${!gpus[@]}"; do
        (
            turn=0
            for model in $MODELS; do [ $((turn++ % ${#gpus[@]})) -ne "$gpu" ] || echo "$model"; done >"$work/models.$gpu"
            todo=$(wc -l <"$work/models.$gpu")
            while read -r model; do
                # 30 s are for the processor, below.
                share=$(($(left 30) / todo))
                task_model "$model" "${gpus[$gpu]}" "$share" </dev/null
                todo=$((todo - 1))
            done <"$work/models.$gpu"
        ) &
    done
    wait
    [ "$device" = cpu ] || for model in $MODELS; do speeds "$model" cpu; done
    python3 "$here/audio_table.py" "$out" $MODELS || echo "no table"
    tar czf "$out.tar.gz" -C "$2" audio
    rm -r "$out"
}

case ${1:-}.$# in
    inputs.3) inputs "$2" "$3" ;;
    baselines.3) baselines "$2" "$3" ;;
    run.3) run "$2" "$3" ;;
    *) sed -n '2,/^set -e/p' "${BASH_SOURCE[0]}" | sed -n 's/^# \{0,1\}//p' >&2; exit 2 ;;
esac
