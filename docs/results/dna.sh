#!/usr/bin/env bash
# The DNA results of docs/results.md. Python 3, awk and a built adder are needed; ADDER names it (default: build/cuda/adder
# or build/cpu/adder beside this tree).
#
#   dna.sh inputs DATA FOLDER      reads the genomes and labelled sets below DATA; writes what the other parts read
#   dna.sh baselines FOLDER        context models of orders 1 to 12 on the held-out sequences, on the CPU
#   dna.sh run FOLDER OUT          trains and evaluates on all GPUs; OUT/dna.tar.gz has metrics, results and logs; a table is printed
#
# Settings of `run` (environment): LIMIT seconds in all, STEPS, TOKENS a step, CONTEXTS (logarithms), SEEDS, MODEL, RATE
# (default: the best of RATES, by a quarter of the steps with contexts of 2^14),
# TASKS (lines of a queue, below; default: all), SIDE (lines of a second queue, of small tasks that the last GPU does beside
# the first one's; default: all, or none with TASKS). Nothing is begun that would not end in time; the queue is in order of what says most.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..
[ -n "${ADDER:-}" ] || for ADDER in "$root"/build/cuda/adder "$root"/build/cpu/adder; do [ ! -x "$ADDER" ] || break; done
LIMIT=${LIMIT:-400} STEPS=${STEPS:-110} TOKENS=${TOKENS:-1048576} CONTEXTS=${CONTEXTS:-14 20 10 17} SEEDS=${SEEDS:-1 2}
MODEL=${MODEL:---d-model 256 --layers 8} RATE=${RATE:-} RATES=${RATES:-1e-3 2e-3 4e-3} MEMORY=${MEMORY:-100GiB} EPOCHS=${EPOCHS:-6}
SETS="species splice donor rloop_random rloop_shuffled"

inputs() {
    local data=$1 out=$2 bacteria=$1/genomes_bacteria percent=$1/genomes_1pct_at_ce_dm yeast=$1/genome_yeast_saccer3 file
    local train=() held=GCF_001123825.1.fna.gz tmp
    tmp=$(mktemp -d)
    mkdir -p "$out"
    for file in "$bacteria"/*.fna.gz "$yeast"/chr*.fa.gz "$percent"/{A.thaliana,C.elegans,D.melanogaster}.fa.gz; do
        case ${file##*/} in "$held" | chr4.fa.gz) ;; *) train+=(--input "$file") ;; esac
    done
    # The part of chromosome 22 begins with 16 million N: windows of nothing to learn.
    gzip -dc "$data/human_chr22_hg19/chr22_part.fa.gz" |
        awk '/^>/ { print; next } !begun { sub(/^N+/, ""); begun = $0 != "" } begun' >"$tmp/human_22.fa"
    "$ADDER" prepare --domain dna "${train[@]}" --input "$tmp/human_22.fa" --out "$out/train.h5" --overwrite
    cat "$yeast/chr4.fa.gz" >"$out/yeast.fa.gz"
    cat "$bacteria/$held" >"$out/yersinia.fa.gz"
    python3 "$here/make_species_windows.py" --out "$out/species" \
        escherichia="$bacteria/GCF_000005845.2_ASM584v2_genomic.fna.gz" \
        salmonella="$bacteria/GCF_000006945.1_ASM694v1_genomic.fna.gz" klebsiella="$bacteria/GCF_000009885.1.fna.gz" \
        citrobacter="$bacteria/GCF_003937345.1.fna.gz" chlamydia="$bacteria/GCF_000092665.1_ASM9266v1_genomic.fna.gz" \
        sphingobacteriaceae="$bacteria/GCF_000783305.1_ASM78330v1_genomic.fna.gz" \
        yeast="$(ls "$yeast"/chr*.fa.gz | grep -v /chr4.fa | paste -sd,);$yeast/chr4.fa.gz" \
        thale_cress="$percent/A.thaliana.fa.gz" worm="$percent/C.elegans.fa.gz" fly="$percent/D.melanogaster.fa.gz" \
        human="$data/human_chr22_hg19/chr22_part.fa.gz"
    local eie=$data/dna_splicing_eie loops=$data/dna_rloops_human/rloop
    python3 "$here/make_labelled_sets.py" --out "$out" --splice "$data/dna_splice_uci/splice.arff.gz" \
        --introns at="$eie/eie.at.txt.gz" --introns ce="$eie/eie.ce.txt.gz" --introns dm="$eie/eie.dm.txt.gz" \
        --rloops rloop_random="$loops.pos.fa.gz,$loops.neg1.fa.gz" \
        --rloops rloop_shuffled="$loops.pos.fa.gz,$loops.neg4.fa.gz"
    for file in $SETS; do gzip -9nf "$out/$file.fa" "$out/$file.tsv"; done
    rm -r "$tmp"
}

# Only what the context models learn from is read; the network of no steps is there because eval scores one.
baselines() {
    local folder=$1 tmp held
    tmp=$(mktemp -d)
    "$ADDER" train --domain dna --input "$folder/yeast.fa.gz" --out "$tmp/none" --d-model 32 --layers 1 --length 1024 --steps 0
    for held in yeast yersinia; do
        "$ADDER" eval --checkpoint "$tmp/none" --input "$folder/train.h5" --valid "$folder/$held.fa.gz" --baselines 1-12 \
            --json >"$folder/baselines.$held.json"
    done
    rm -r "$tmp"
}

# ---- run ----

# pieces FASTA.gz L: its records cut into records of L letters.
pieces() {
    gzip -dc "$1" | awk -v n="$2" '
        function cut(at) { for (at = 1; at <= length(s); at += n) print ">" name "_" at "\n" substr(s, at, n) }
        /^>/ { cut(); name = substr($1, 2); s = ""; next } { s = s $0 } END { cut() }'
}

# train NAME OPTION...: a run in $work/NAME with its options in the queue's settings.
train() {
    local name=$1
    shift
    "$ADDER" train --domain dna --input "$folder/train.h5" --out "$work/$name" $MODEL --memory "$MEMORY" \
        --threads "$THREADS" "$@"
}

# Long contexts begin with windows of 2^14, as the published runs on long DNA did: half of the steps, those of 2^20 then
# have a quarter with 2^17.
shorter_first() {
    case $1 in
        17) echo "--length-warmup $((STEPS / 2)):16384" ;;
        20) echo "--length-warmup $((STEPS / 2)):16384,$((STEPS * 3 / 4)):131072" ;;
    esac
}

# train MIXER LOG2CONTEXT SEED
task_train() {
    local mixer=$1 length=$((1 << $2)) seed=$3 name=$1.$2.$3 held context
    train "$name" --mixer "$mixer" --length "$length" --batch $((TOKENS / length)) --steps "$STEPS" --lr "$RATE" --seed "$seed" \
        --warmup 0.2 $(shorter_first "$2")
    cp "$work/$name/metrics.jsonl" "$out/$name.metrics.jsonl"
    cp "$work/$name/run.json" "$out/$name.run.json"
    # Its own context, and everything before a base.
    for held in yeast yersinia; do for context in "$2" whole; do evaluate "$name" $held "$context"; done; done
    touch "$work/$name.done"
}

evaluate() {
    "$ADDER" eval --checkpoint "$work/$1" --input "$work/$2.$3.fa" --threads "$THREADS" --json >"$out/$1.$2.$3.json"
}

# contexts MIXER LOG2CONTEXT SEED: the run evaluated with every other context.
task_contexts() {
    local held context
    for context in $CONTEXTS; do
        [ "$context" != "$2" ] || continue
        for held in yeast yersinia; do evaluate "$1.$2.$3" $held "$context"; done
    done
}

# The same first weights as the trained run's.
untrained() {
    (
        flock 9
        [ -e "$work/untrained/DONE.made" ] || {
            train untrained --mixer mamba2 --length 16384 --batch 1 --seed 1 --steps 0 && touch "$work/untrained/DONE.made"
        }
    ) 9>"$work/untrained.lock"
}

task_probe() {
    local set=$1 model
    untrained
    for model in mamba2.14.1 untrained; do
        "$ADDER" embed --checkpoint "$work/$model" --input "$work/$set.fa" --layer all --threads "$THREADS" \
            --out "$work/$set.$model.h5" --overwrite
    done
    "$ADDER" probe --embeddings "$work/$set.mamba2.14.1.h5" --labels "$work/$set.tsv" --sequences "$work/$set.fa" \
        --compare random_init="$work/$set.untrained.h5" --threads "$THREADS" --json >"$out/probe.$set.json"
}

# finetune SET MODEL RATE
task_finetune() {
    [ "$2" != untrained ] || untrained
    "$ADDER" finetune --checkpoint "$work/$2" --input "$work/$1.fa" --labels "$work/$1.tsv" --out "$work/finetune.$1.$2.$3" \
        --lr "$3" --batch 64 --memory 16GiB --epochs "$EPOCHS" --seed 1 --threads "$THREADS" --json \
        >"$out/finetune.$1.$2.$3.json"
    cp "$work/finetune.$1.$2.$3/metrics.jsonl" "$out/finetune.$1.$2.$3.metrics.jsonl"
}

# rate MIXER RATE
task_rate() {
    train "rate.$1.$2" --mixer "$1" --length 16384 --batch $((TOKENS / 16384)) --steps $((STEPS / 4)) --lr "$2" --seed 1 \
        --warmup 0.2
    cp "$work/rate.$1.$2/metrics.jsonl" "$out/rate.$1.$2.metrics.jsonl"
}

queue() {
    local seed context mixer first=${SEEDS%% *}
    for context in $CONTEXTS; do for mixer in mamba2 mamba1; do echo "train $mixer $context $first"; done; done
    for seed in $SEEDS; do
        [ "$seed" != "$first" ] || continue
        for mixer in mamba2 mamba1; do for context in $CONTEXTS; do echo "train $mixer $context $seed"; done; done
    done
    for mixer in mamba2 mamba1; do for context in 20 10; do echo "contexts $mixer $context $first"; done; done
}

side() {
    local set
    for set in $SETS; do echo "finetune $set untrained 1e-3"; done
    for set in $SETS; do echo "probe $set"; done
    for set in $SETS; do echo "finetune $set mamba2.14.1 1e-3"; done
    for set in $SETS; do echo "finetune $set mamba2.14.1 3e-4"; echo "finetune $set untrained 3e-4"; done
}

# A task's kind: those of one kind take about as long.
kind_of() { case $1 in train* | rate*) set -- $1; echo "$1.$2" ;; *) echo "${1%% *}" ;; esac; }

# Seconds that a task will take: the most that one of its kind took, before there is one a guess.
expected() {
    local seen
    seen=$(sort -n "$work/seconds.$1" 2>/dev/null | tail -n 1)
    case $1 in rate.*) echo "${seen:-20}" ;; *.mamba1) echo "${seen:-85}" ;; *.mamba2) echo "${seen:-65}" ;; *) echo "${seen:-25}" ;; esac
}

# The run that a task reads.
needed_by() {
    case $1 in
        contexts*) set -- $1; echo "$2.$3.$4" ;;
        probe* | *mamba2.14.1*) echo mamba2.14.1 ;;
    esac
}

# take QUEUE: its next line.
take() {
    (
        flock 9
        number=$(cat "$work/$1.next")
        echo $((number + 1)) >"$work/$1.next"
        sed -n "${number}p" "$work/$1"
    ) 9>"$work/$1.lock"
}

seconds() { echo $(($(date +%s) - begun)); }

# worker GPU QUEUE: tasks of the queue, one after another, while there is time.
worker() {
    local task name needs from rc
    export CUDA_VISIBLE_DEVICES=$1
    while task=$(take "$2") && [ -n "$task" ]; do
        name=${task// /.} needs=$(needed_by "$task")
        while [ -n "$needs" ] && [ ! -e "$work/$needs.ended" ] && grep -qx "train ${needs//./ }" "$work/queue" &&
            [ "$(seconds)" -lt "$LIMIT" ]; do sleep 1; done
        from=$(seconds) rc=0
        if [ -n "$needs" ] && [ ! -e "$work/$needs.done" ]; then
            echo "$task: left out, there is no run $needs"
        elif [ $((from + $(expected "$(kind_of "$task")"))) -gt "$LIMIT" ]; then
            echo "$task: left out at $from s"
        else
            timeout $((LIMIT - from)) bash "${BASH_SOURCE[0]}" task $task >"$out/$name.log" 2>&1 || rc=$?
            [ $rc -ne 0 ] || echo $(($(seconds) - from)) >>"$work/seconds.$(kind_of "$task")"
            echo "$task: $from to $(seconds) s on GPU $1$([ $rc -eq 0 ] || echo ", exit $rc: $(tail -n 1 "$out/$name.log")")"
        fi
        case $task in train*) name=${name#train.}; touch "$work/$name.ended" ;; esac
    done
}

# serve QUEUE SIDE: both are functions that print lines; ends with their last task.
serve() {
    local gpu
    "$1" >"$work/queue"
    "$2" >"$work/side"
    echo 1 | tee "$work/queue.next" >"$work/side.next"
    while IFS=, read -r gpu _; do worker "$gpu" queue & done <"$out/gpus.txt"
    worker "$(tail -n 1 "$out/gpus.txt" | cut -d, -f1)" side &
    wait
}

rates() { local rate mixer; for rate in $RATES; do for mixer in mamba1 mamba2; do echo "rate $mixer $rate"; done; done; }

# The rate with the lowest loss, mean of the last steps and of both mixers.
best_rate() {
    local rate mixer
    for rate in $RATES; do
        for mixer in mamba1 mamba2; do
            tail -n 5 "$out/rate.$mixer.$rate.metrics.jsonl" | sed -nE 's/.*"loss": *([^,]*).*/\1/p'
        done | awk -v rate="$rate" '{ sum += $1 } END { if (NR == 10) print sum / NR, rate }'
    done | tee "$out/rates.txt" | sort -n | sed -n '1s/.* //p'
}

named() { if [ -n "$1" ]; then echo "$1"; else "$2"; fi; }
first_queue() { named "${TASKS:-}" queue; }
second_queue() { if [ -n "${TASKS:-}" ]; then echo "${SIDE:-}"; else named "${SIDE:-}" side; fi; }

# run FOLDER OUT
run() {
    local held context file
    export folder out=$2/dna work begun ADDER LIMIT STEPS TOKENS CONTEXTS SEEDS MODEL RATE MEMORY EPOCHS
    folder=$(realpath "$1") begun=$(date +%s)
    mkdir -p "$out"
    out=$(realpath "$out") work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    nvidia-smi --query-gpu=index,name --format=csv,noheader >"$out/gpus.txt" 2>/dev/null || echo "0, no GPU" >"$out/gpus.txt"
    cat "$out/gpus.txt"
    "$ADDER" --version >"$out/version.txt"
    export THREADS=$((($(nproc) + $(wc -l <"$out/gpus.txt") - 1) / $(wc -l <"$out/gpus.txt")))
    for held in yeast yersinia; do
        gzip -dc "$folder/$held.fa.gz" >"$work/$held.whole.fa" &
        for context in $CONTEXTS; do pieces "$folder/$held.fa.gz" $((1 << context)) >"$work/$held.$context.fa" & done
    done
    for file in $SETS; do for ending in fa tsv; do gzip -dc "$folder/$file.$ending.gz" >"$work/$file.$ending" & done; done
    wait
    if [ -z "$RATE" ]; then
        serve rates true
        RATE=$(best_rate)
        echo "rate ${RATE:?none of $RATES was tried with both mixers in time}"
    fi
    serve first_queue second_queue
    python3 "$here/dna_table.py" "$out" || echo "no table"
    tar czf "$out.tar.gz" -C "$2" dna
    rm -r "$out"
}

case ${1:-}.$# in
    inputs.3) inputs "$2" "$3" ;;
    baselines.2) baselines "$2" ;;
    run.3) run "$2" "$3" ;;
    task.*) shift; "task_$@" ;;
    *) sed -n '2,/^set -e/p' "${BASH_SOURCE[0]}" | sed -n 's/^# \{0,1\}//p' >&2; exit 2 ;;
esac
