#!/usr/bin/env bash
# Audio on a GPU: what the CPU does, the same bits after a stop and in any batch; without a GPU, that this is said.
#   cuda_audio_test.sh [MODEL...]     of mamba1 mamba2 unet pcm16; the default is all of them
ON_GPU=1
. "$(dirname "$0")/lib.sh"
digits=$ADDER_SOURCE_DIR/datasets/data/fsdd

if ! run "$ADDER" eval --device cuda --checkpoint "$W/none" --input "$W/none" || ! grep -q '^device cuda: ' "$W/err"; then
    refused 1 '^adder: --device cuda: .*hint: ' "$ADDER" train --domain audio --input "$digits" --out "$W/x" --device cuda
    refused 1 '^adder: --device cuda: .*hint: ' "$ADDER" generate --checkpoint "$W/none" --seconds 1 --out "$W/x" --device cuda
    [ -e "$W/x" ] && wrong "a refused command left its output"
    [ "$failures" -gt 0 ] || echo "skipped: no GPU: $(tail -n 1 "$W/err")"
    finish
fi

losses() { sed 's/, "tokens_per_s".*//' "$1/metrics.jsonl"; }
held_out() { sed -n 's/.*"valid_loss": *\([^,}]*\).*/\1/p' "$1/metrics.jsonl" | tail -n 1; }
same_weights() {
    for file in model trainer; do same "$1/step-00000004/$file.safetensors" "$2/step-00000004/$file.safetensors"; done
}
names=(--pattern '{group}_{label}_{take}')  # of every digit there is one clip: speakers are the classes
split=("${names[@]}" --valid-where group=8,9)
succeeds "$ADDER" prepare --domain audio --input "$digits" "${split[@]}" --out "$W/digits.h5"
printf 'path\tlabel\n' >"$W/speakers.tsv"
printf 'name\tlabel\n' >"$W/names.tsv"
for file in "$digits"/*.wav; do
    speaker=${file%_*}
    printf '%s\t%s\n' "$file" "${speaker##*_}" >>"$W/speakers.tsv"
    printf '%s\t%s\n' "${file##*/}" "${speaker##*_}" >>"$W/names.tsv"
done

[ $# -gt 0 ] || set -- mamba1 mamba2 unet pcm16
for name; do
    case $name in
        unet) model=(--backbone unet --mixer mamba1 --stage-mixers mamba1,mamba1,mamba2 --pool 4,2) ;;
        pcm16) model=(--codec pcm16) ;;
        *) model=(--mixer "$name") ;;
    esac
    train=(train --domain audio --input "$digits" "${split[@]}" --class-conditional "${model[@]}" --d-model 16 --layers 1
        --d-state 8 --length 256 --batch 2 --steps 4 --eval-every 2 --seed 3 --lr 1e-2)
    run=$W/$name
    succeeds "$ADDER" "${train[@]}" --out "$run"
    succeeds "$ADDER" "${train[@]}" --out "$run-f32" --dtype f32
    succeeds "$ADDER" "${train[@]}" --out "$run-cpu" --device cpu
    close "$(held_out "$run-f32")" "$(held_out "$run-cpu")" 1e-5
    close "$(held_out "$run")" "$(held_out "$run-cpu")" 2e-2
    succeeds "$ADDER" "${train[@]}" --out "$run-stopped" --stop-after 3
    succeeds "$ADDER" train --out "$run-stopped" --resume
    same_weights "$run" "$run-stopped"
    [ "$(losses "$run")" = "$(losses "$run-stopped")" ] || wrong "the metrics differ after a stop"
    if [ "$name" != pcm16 ]; then
        stored=("${train[@]}")
        stored[4]=$W/digits.h5
        unset 'stored[5]' 'stored[6]' 'stored[7]' 'stored[8]'
        succeeds "$ADDER" "${stored[@]}" --out "$run-stored"
        same_weights "$run" "$run-stored"
    fi

    # Embeddings tell speakers apart as the CPU's do; so do classifiers.
    for device in cpu cuda; do
        succeeds "$ADDER" embed --checkpoint "$run-cpu" --input "$digits" --device $device --dtype f32 --out "$run-$device.h5"
        succeeds "$ADDER" probe --embeddings "$run-$device.h5" --labels "$W/names.tsv" --folds 2 --json
        of_cuda="$(json accuracy) $(json auroc)"
        [ "$device" = cuda ] || of_cpu=$of_cuda
        succeeds "$ADDER" finetune --checkpoint "$run-cpu" --input "$W/speakers.tsv" --steps 3 --batch 4 --seed 2 --device $device \
            --dtype f32 --out "$run-classes-$device"
        succeeds "$ADDER" predict --checkpoint "$run-classes-$device" --input "$digits" --device $device --dtype f32 \
            --out "$run-$device.tsv"
    done
    [ "$of_cuda" = "$of_cpu" ] || wrong "embeddings of the GPU say $of_cuda, those of the CPU $of_cpu"
    paste "$run-cpu.tsv" "$run-cuda.tsv" |
        awk -F'\t' 'NR > 1 { d = $3 - $7; if ($1 != $5 || d > 1e-4 || d < -1e-4) exit 1 } END { if (NR != 11) exit 1 }' ||
        wrong "predictions of CPU and GPU differ"

    score=(eval --checkpoint "$run" --input "$digits" "${split[@]}" --json)
    succeeds "$ADDER" "${score[@]}" --device cpu
    bits=$(json bits_per_sample)
    succeeds "$ADDER" "${score[@]}" --dtype f32
    close "$(json bits_per_sample)" "$bits" 3e-5
    succeeds "$ADDER" "${score[@]}"
    close "$(json bits_per_sample)" "$bits" 3e-2

    # A clip is the same in any batch, alone or with a prompt, in f32 and bf16; its number decides what it is. A short
    # one, so that f32 draws what the CPU draws.
    for dtype in f32 bf16; do
        generate=("$ADDER" generate --checkpoint "$run" --seed 5 --dtype $dtype)
        for batch in 1 3 4 8 17; do
            succeeds "${generate[@]}" --tokens 96 --class jackson --class theo --num 9 --batch $batch --out "$W/b$batch" --overwrite
            for clip in 0000 0003 0008 0009 0016 0017; do same "$W/b1/$clip.wav" "$W/b$batch/$clip.wav"; done
            cmp -s "$W/b$batch/0001.wav" "$W/b$batch/0010.wav" && wrong "a class, or a number, must matter"
        done
        succeeds "${generate[@]}" --tokens 64 --class jackson --out - --device cuda
        cmp -s "$W/out" <(tail -c +45 "$W/b1/0000.wav" | head -c "$(wc -c <"$W/out")") || wrong "the stream is another record"
        for batch in 1 3; do
            succeeds "${generate[@]}" --seconds 0.32 --prompt "$digits/2_theo_0.wav" --num 3 --batch $batch --out "$W/p$batch" \
                --overwrite
        done
        for clip in 0000 0001 0002; do same "$W/p1/$clip.wav" "$W/p3/$clip.wav"; done
        cmp -s "$W/p1/0000.wav" "$W/p1/0001.wav" && wrong "records must differ behind the prompt"
    done
    succeeds "$ADDER" generate --checkpoint "$run" --seed 5 --tokens 96 --class jackson --class theo --num 9 --device cpu --out "$W/cpu"
    succeeds "$ADDER" generate --checkpoint "$run" --seed 5 --tokens 96 --class jackson --class theo --num 9 --dtype f32 --out "$W/gpu"
    for clip in 0000 0009 0017; do same "$W/cpu/$clip.wav" "$W/gpu/$clip.wav"; done
    rm -r "$W/cpu" "$W/gpu"
done
finish
