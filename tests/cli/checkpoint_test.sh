#!/usr/bin/env bash
# Checkpoints that are damaged or not there, and what `info` says about those that are.
. "$(dirname "$0")/lib.sh"

train=("$ADDER" train --domain dna --input "$phage" --d-model 16 --layers 1 --d-state 8 --length 64 --batch 2
    --valid-fraction 0.1)
succeeds "${train[@]}" --steps 6 --stop-after 4 --save-every 2 --out "$W/run"
step=$W/run/step-00000004

succeeds "$ADDER" info --checkpoint "$W/run" --json
[ "$(wc -l <"$W/out")" -eq 1 ] || wrong "expected one JSON object on one line"
for pair in step:4 steps:6 finished:false checkpoint:"$step" d_model:16 parameters:2371 valid_tokens:4850 \
    train_tokens:43652; do
    [ "$(json "${pair%%:*}")" = "${pair#*:}" ] || wrong "expected ${pair%%:*} to be ${pair#*:}"
done
says '"backbone.layers.0.mixer.in_proj.weight":\[81,16\]'
says '"digest":"[0-9a-f]{64}"'
cp "$W/out" "$W/info.run"
succeeds "$ADDER" info --checkpoint "$step" --json
same "$W/out" "$W/info.run"
succeeds "$ADDER" info --checkpoint "$W/run/step-00000002" --json
[ "$(json step)" = 2 ] || wrong "expected the checkpoint that was named"
succeeds "$ADDER" train --out "$W/run" --resume
succeeds "$ADDER" info --checkpoint "$W/run" --json
[ "$(json finished)" = true ] || wrong "the run has finished"
[ "$(json step)" = 6 ] || wrong "expected step 6"
valid=$(sed -n 's/.*"valid_loss": *\([^,}]*\).*/\1/p' "$W/run/metrics.jsonl" | sort -g | head -n 1)
[ "$(json valid_loss)" = "$valid" ] || wrong "expected the lowest held-out loss, $valid"
succeeds "$ADDER" info --checkpoint "$W/run" --best
says '^step +[0-9]+$'
succeeds "$ADDER" info --checkpoint "$ADDER_SOURCE_DIR/tests/golden/mamba1" --json
[ "$(json parameters)" = 5168 ] || wrong "a checkpoint of another program has parameters too"
refused 2 '--best: needs --checkpoint' "$ADDER" info --best

# What a checkpoint may not be. Every command that reads one refuses it alike.
step=$W/run/step-00000006
refuses_all() {
    refused 1 "$2" "$ADDER" info --checkpoint "$1"
    refused 1 "$2" "$ADDER" eval --checkpoint "$1" --input "$phage"
    refused 1 "$2" "$ADDER" generate --checkpoint "$1" --tokens 9 --out -
}
damaged() { rm -rf "$W/bad"; cp -r "$step" "$W/bad"; }
refuses_all "$W/none" "$W/none: no such file or folder"
refuses_all "$phage" "$phage: not a folder"
refuses_all "$W" "$W: holds no complete checkpoint"
damaged; rm "$W/bad/DONE"
refuses_all "$W/bad" "$W/bad: the checkpoint is incomplete"
damaged; truncate -s -100 "$W/bad/model.safetensors"
refuses_all "$W/bad" "$W/bad/model.safetensors"
damaged; truncate -s 4 "$W/bad/model.safetensors"
refuses_all "$W/bad" "$W/bad/model.safetensors"
damaged; head -c 5000 "$ADDER" >"$W/bad/model.safetensors"
refuses_all "$W/bad" "$W/bad/model.safetensors"
damaged; truncate -s 100 "$W/bad/config.json"
refuses_all "$W/bad" "$W/bad/config.json: not valid JSON"
damaged; sed -i 's/"d_state": 8/"d_state": 9/' "$W/bad/config.json"
refuses_all "$W/bad" \
    "$W/bad/model.safetensors: .*in_proj.weight: expected f32 \(83,16\), got F32 \(81,16\); .*conv1d"
damaged; sed -i 's/"n_layer": 1/"n_layer": 2/' "$W/bad/config.json"
refuses_all "$W/bad" "layers.1.mixer.in_proj.weight is missing"
damaged; sed -i 's/"Mamba2"/"Mamba3"/' "$W/bad/config.json"
refuses_all "$W/bad" "$W/bad/config.json.*Mamba3"

# Of a run whose last checkpoint is damaged the error names the one that can be used.
cp -r "$W/run" "$W/half"
earlier=$(ls -d "$W/half"/step-* | tail -n 2 | head -n 1)
for damage in 'rm' 'truncate -s -8' 'truncate -s 0'; do
    cp "$step/model.safetensors" "$W/half/step-00000006/"
    $damage "$W/half/step-00000006/model.safetensors"
    rm -rf "$W/half"/best-*
    refuses_all "$W/half" "$W/half/step-00000006/model.safetensors.*; $earlier can be used instead"
    refuses_all "$W/half/step-00000006/" "$W/half/step-00000006/+model.safetensors.*; $earlier can be used instead"
    refused 1 "hint: remove $W/half/step-00000006, and --resume goes on from $earlier" \
        "$ADDER" train --out "$W/half" --resume --steps 9
done
cp -r "$(ls -d "$W/run"/best-* | tail -n 1)" "$W/half/best-00000005"
refuses_all "$W/half" "; $W/half/best-00000005 can be used instead"
rm "$W/half/best-00000005/config.json" "$earlier/DONE"
refuses_all "$W/half" "step-00000006/model.safetensors"
grep -q 'can be used instead' "$W/err" && wrong "no other checkpoint can be used"
rm "$W/half/step-00000006/DONE"
refused 1 'half/step-00000006: the checkpoint is incomplete' "$ADDER" info --checkpoint "$W/half/step-00000006"

# A run goes on from the last complete checkpoint; a damaged one is named.
succeeds "${train[@]}" --steps 8 --stop-after 6 --save-every 3 --out "$W/again"
rm -r "$W/again/step-00000006/DONE" "$W/again"/best-*
succeeds "$ADDER" train --out "$W/again" --resume
logs 'going on after step 3'
logs 'finished 8 steps'
succeeds "${train[@]}" --steps 8 --stop-after 6 --out "$W/broken"
truncate -s -8 "$W/broken/step-00000006/trainer.safetensors"
fails_after_log 1 "$W/broken/step-00000006/trainer.safetensors" "$ADDER" train --out "$W/broken" --resume
truncate -s 50 "$W/broken/run.json"
refused 1 "$W/broken/run.json: not valid JSON" "$ADDER" train --out "$W/broken" --resume

finish
