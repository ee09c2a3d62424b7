#!/usr/bin/env bash
# Generation of audio: a clip depends on the seed and its number alone, whatever it is written to; the prompt is kept; what is
# refused leaves nothing.
. "$(dirname "$0")/lib.sh"

# tone COUNT PERIOD RATE: a mono WAV file of 16 bits on stdout, a square wave with a slope.
tone() {
    LC_ALL=C awk -v n="$1" -v p="$2" -v rate="$3" '
        function bytes(x, count) { if (x < 0) x += 65536; for (; count > 0; --count) { printf "%c", x % 256; x = int(x / 256) } }
        BEGIN {
            printf "RIFF"; bytes(36 + 2 * n, 4); printf "WAVEfmt "; bytes(16, 4); bytes(1, 2); bytes(1, 2)
            bytes(rate, 4); bytes(2 * rate, 4); bytes(2, 2); bytes(16, 2); printf "data"; bytes(2 * n, 4)
            for (i = 0; i < n; ++i) bytes((i % p < p / 2 ? 9000 : -9000) + i % 7 * 100, 2)
        }'
}
# pcm FILE: the samples of a mono WAV file of 16 bits, behind which it may say more; info FILE: rate, channels and bits.
pcm() { tail -c +45 "$1" | head -c "$(word "$1" 40 4)"; }
word() { od -An -t u"$3" -j "$2" -N "$3" "$1" | tr -d ' '; }
info() { echo "$(word "$1" 24 4) $(word "$1" 22 2) $(word "$1" 34 2)"; }

mkdir -p "$W/in/high" "$W/in/low"
for i in 1 2 3; do
    tone $((500 + 100 * i)) 8 8000 >"$W/in/high/$i.wav"
    tone $((500 + 100 * i)) 40 8000 >"$W/in/low/$i.wav"
done
train=("$ADDER" train --domain audio --input "$W/in" --d-model 16 --d-state 8 --length 512 --batch 2 --steps 12 --lr 1e-2)
succeeds "${train[@]}" --layers 2 --out "$W/flat" --class-conditional
succeeds "${train[@]}" --mixer mamba1 --backbone unet --pool 4,2 --layers 1 --out "$W/unet" --class-conditional
succeeds "${train[@]}" --layers 2 --codec pcm16 --out "$W/pcm16"

for model in flat unet pcm16; do
    generate=("$ADDER" generate --checkpoint "$W/$model" --seed 5 --seconds 0.1)
    succeeds "${generate[@]}" --num 5 --out "$W/$model.a"
    [ -s "$W/out" ] && wrong "results are in the files"
    logs '5 records of 0.100 s at 8000 Hz'
    [ "$(cd "$W/$model.a" && ls *.wav | tr '\n' ' ')" = '0000.wav 0001.wav 0002.wav 0003.wav 0004.wav ' ] ||
        wrong "expected files numbered from 0000"
    [ "$(info "$W/$model.a/0003.wav")" = '8000 1 16' ] || wrong "expected mono of 16 bits at the model's rate"
    [ "$(pcm "$W/$model.a/0003.wav" | wc -c)" -eq 1600 ] || wrong "expected 800 samples"
    [ "$(cat "$W/$model.a"/*.wav | md5sum)" = "$(cat "$W/$model.a/0000.wav" | md5sum)" ] && wrong "clips must differ"
    untouched "$W"
    for batch in 1 3 4 8 17; do
        succeeds "${generate[@]}" --num 17 --batch "$batch" --threads $((batch % 3 + 1)) --out "$W/$model.b$batch"
        for k in 0000 0002 0004; do same "$W/$model.a/$k.wav" "$W/$model.b$batch/$k.wav"; done
        same "$W/$model.b1/0016.wav" "$W/$model.b$batch/0016.wav"
    done
    # One file, and the stream, hold what the first file of a folder does.
    succeeds "${generate[@]}" --out "$W/$model.wav"
    same "$W/$model.wav" "$W/$model.a/0000.wav"
    succeeds "${generate[@]}" --out - --num 2
    cmp -s "$W/out" <(pcm "$W/$model.a/0000.wav"; pcm "$W/$model.a/0001.wav") || wrong "the stream is another record"
    logs 'aplay -q -t raw -f S16_LE -c 1 -r 8000 -$'
    succeeds "${generate[@]}" --out "$W/$model.flac"
    [ "$(head -c 4 "$W/$model.flac")" = fLaC ] || wrong "expected a FLAC file"
    # Without a prompt a record begins with silence; a shorter one begins alike.
    [ "$(pcm "$W/$model.wav" | od -An -t d2 -N 2 | tr -d ' ')" -lt 20 ] || wrong "expected silence first"
    succeeds "$ADDER" generate --checkpoint "$W/$model" --seed 5 --seconds 0.05 --out "$W/$model.short.wav"
    cmp -s <(pcm "$W/$model.short.wav") <(pcm "$W/$model.wav" | head -c 800) || wrong "a shorter record must begin alike"
    succeeds "$ADDER" generate --checkpoint "$W/$model" --seed 6 --seconds 0.1 --out "$W/$model.seed.wav"
    cmp -s "$W/$model.seed.wav" "$W/$model.wav" && wrong "another seed must give another record"

    # A prompt at another rate: what it becomes at 8 kHz begins the record, sample 0 at sample 0, and continues.
    tone 801 80 16000 >"$W/prompt.wav"
    succeeds "${generate[@]}" --prompt "$W/prompt.wav" --num 3 --batch 3 --out "$W/$model.p"
    succeeds "$ADDER" generate --checkpoint "$W/$model" --seed 9 --prompt "$W/prompt.wav" \
        --tokens "$([ "$model" = pcm16 ] && echo 802 || echo 401)" --out "$W/$model.exact.wav"
    for k in 0 1 2; do
        cmp -s <(pcm "$W/$model.exact.wav" | head -c 802) <(pcm "$W/$model.p/000$k.wav" | head -c 802) ||
            wrong "every record must begin with the prompt"
        [ "$(pcm "$W/$model.p/000$k.wav" | wc -c)" -eq 1600 ] || wrong "the prompt counts as part of the record"
    done
    cmp -s "$W/$model.p/0000.wav" "$W/$model.p/0001.wav" && wrong "records must differ behind the prompt"
    refused 1 'prompt.wav: 401 samples.*the whole record only 200' \
        "$ADDER" generate --checkpoint "$W/$model" --seconds 0.025 --prompt "$W/prompt.wav" --out "$W/x.wav"
done
[ -e "$W/x.wav" ] && wrong "a refused generation left its file"

# A prompt at the model's own rate comes back within a step of 16 bits, or of the codec.
tone 300 16 8000 >"$W/own.wav"
succeeds "$ADDER" generate --checkpoint "$W/pcm16" --prompt "$W/own.wav" --seconds 0.0375 --out "$W/own.out.wav"
cmp -s <(pcm "$W/own.wav") <(pcm "$W/own.out.wav") || wrong "16-bit samples must come back as they were"

# Classes: a record of a class has its own begin of the stream, the class token is not counted, several make a row.
any=("$ADDER" generate --checkpoint "$W/flat" --seed 5 --seconds 0.1)
succeeds "${any[@]}" --class high --out "$W/high.wav"
[ "$(pcm "$W/high.wav" | wc -c)" -eq 1600 ] || wrong "the class is not counted"
cmp -s "$W/high.wav" "$W/flat.wav" && wrong "a class must matter"
succeeds "${any[@]}" --class low --class high --num 2 --batch 3 --out "$W/classes"
[ "$(ls "$W/classes"/*.wav | wc -l)" -eq 4 ] || wrong "expected two clips of each class"
succeeds "${any[@]}" --class low --num 2 --out "$W/low"
same "$W/low/0001.wav" "$W/classes/0001.wav"
refused 1 "no such class; the nearest is high.*high, low" "${any[@]}" --class hihg --out "$W/x.wav"
refused 1 'no classes.*--class-conditional' "$ADDER" generate --checkpoint "$W/pcm16" --seconds 1 --class high --out "$W/x.wav"

# Beside the clips of a folder a page to hear them, which loads nothing; pictures where they are asked for.
page=$W/classes/listen.html
[ "$(wc -c <"$page")" -le 5000000 ] || wrong "expected a page of 5 MB at most"
for text in 0000.wav 0003.wav high low seed temperature mulaw '<audio' '<svg' "$W/flat"; do
    grep -qF -- "$text" "$page" || wrong "expected '$text' on the page"
done
grep -qE '(src|href)=["'"'"']?(https?:)?//' "$page" && wrong "the page must load nothing"
is_png() { [ "$(head -c 8 "$1" | od -An -t x1 | tr -d ' ')" = 89504e470d0a1a0a ] || wrong "expected a picture: $1"; }
succeeds "${any[@]}" --num 2 --spectrogram --out "$W/pictures"
is_png "$W/pictures/0000.png"
is_png "$W/pictures/0001.png"
succeeds "${any[@]}" --spectrogram --out "$W/picture.flac"
is_png "$W/picture.png"
refused 1 'picture.png: exists' "${any[@]}" --spectrogram --out "$W/picture.wav"
[ -e "$W/picture.wav" ] && wrong "a refused generation left its file"
[ -e "$W/classes/0000.png" ] && wrong "pictures are made where they are asked for"

# A file that stands alone says what it is and how it was made.
for file in "$W/high.wav" "$W/picture.flac"; do
    grep -aq 'adder generate; checkpoint: .*; seed: 5; temperature: 1;' "$file" || wrong "expected the settings in $file"
done
grep -aq INAM "$W/high.wav" || wrong "expected the class in the file"

# Blind comparison with recordings and with clips of another model: groups that share labels.
refused 2 '--beside: needs a folder' "${any[@]}" --class low --beside "$W/in" --out "$W/x.wav"
refused 2 '--pattern: is about the files of --beside' "${any[@]}" --class low --pattern '{label}_{take}' --out "$W/new"
refused 1 'beside .*in/high: no clip is labelled low' "${any[@]}" --class low --beside "$W/in/high" --out "$W/new"
refused 1 'nowhere: No such file' "${any[@]}" --class low --beside "$W/nowhere" --out "$W/new"
[ -e "$W/new" ] && wrong "a refused generation left its folder"
refused 1 'overwrite of --out would remove what --beside names' "${any[@]}" --num 2 --beside "$W/low" --overwrite --out "$W/low"
refused 1 'overwrite of --out would remove what --prompt names' "${any[@]}" --num 2 --prompt "$W/low/0000.wav" --overwrite --out "$W/low"
[ -s "$W/low/0000.wav" ] || wrong "a refused generation removed what it was to read"
succeeds "$ADDER" generate --checkpoint "$W/unet" --seconds 0.1 --class low --class high --num 2 --beside "$W/classes" \
    --beside "$W/in" --out "$W/compared"
pairs=$(grep -oE 'data-group="[^"]*" data-label="[^"]*"' "$W/compared/listen.html" | sort | uniq -c | awk '{ print $1, $NF }' | sort | uniq -c)
[ "$(echo "$pairs" | tr -s ' \n' ' ')" = ' 3 2 data-label="high" 3 2 data-label="low" ' ] ||
    wrong "expected two clips of each of three groups and two labels, got: $pairs"
grep -q 'data-group="classes"' "$W/compared/listen.html" || wrong "expected a group of the folder's name"

# What of a folder cannot be read is left out and listed; what is named itself has to be read.
mkdir "$W/some"
cp "$W/in/low/1.wav" "$W/some/"
echo 'RIFF' >"$W/some/broken.wav"
succeeds "${any[@]}" --num 2 --beside "$W/some" --out "$W/left"
logs '^warning: --beside: left out: .*some/broken.wav'
grep -q 'data-group="some"' "$W/left/listen.html" || wrong "expected the clip that can be read"
refused 1 'some/broken.wav' "${any[@]}" --num 2 --beside "$W/some/broken.wav" --out "$W/new"
rm "$W/some/1.wav"
refused 1 'beside .*some: no clip can be read: 1 failed, the first: .*broken.wav' "${any[@]}" --num 2 --beside "$W/some" --out "$W/new"

# Drawing.
succeeds "${any[@]}" --num 2 --temperature 0 --out "$W/greedy"
same "$W/greedy/0000.wav" "$W/greedy/0001.wav"
succeeds "${any[@]}" --top-k 1 --out "$W/top.wav"
cmp -s <(pcm "$W/top.wav") <(pcm "$W/greedy/0000.wav") || wrong "expected the likeliest samples"
succeeds "${any[@]}" --top-p 1e-9 --out "$W/topp.wav"
cmp -s <(pcm "$W/topp.wav") <(pcm "$W/greedy/0000.wav") || wrong "expected the likeliest samples"

# What is written is told by the name: a suffix in any case, a folder with '/' at the end whatever it is called.
succeeds "${any[@]}" --out "$W/upper.WAV"
same "$W/upper.WAV" "$W/flat.wav"
succeeds "${any[@]}" --out "$W/upper.Flac"
same "$W/upper.Flac" "$W/flat.flac"
for name in x.mp3 x.OGG x.m4a; do
    refused 2 "$name: \\.[a-zA-Z0-9]* is not written; hint: a name that ends in .wav or .flac, or a folder" "${any[@]}" --out "$W/$name"
done
succeeds "${any[@]}" --out "$W/folder.wav/"
same "$W/folder.wav/0000.wav" "$W/flat.wav"
refused 1 'exists.*--overwrite' "${any[@]}" --out "$W/folder.wav/"
mkdir "$W/empty"
succeeds "${any[@]}" --out "$W/empty/"
same "$W/empty/0000.wav" "$W/flat.wav"
# A link stays, and the folder that it leads to is replaced.
ln -s empty "$W/link"
succeeds "${any[@]}" --num 2 --out "$W/link" --overwrite
[ -L "$W/link" ] && [ -e "$W/empty/0001.wav" ] || wrong "expected the folder behind the link to be replaced"
# report finds the folders of clips in that of a run, and no others.
succeeds "${any[@]}" --num 2 --out "$W/flat/high" --class high
succeeds "${any[@]}" --out "$W/flat/low/" --class low
mkdir "$W/flat/other"
cp "$W/flat.wav" "$W/flat/other/0005.wav"
echo '<p>' >"$W/flat/other/listen.html"
succeeds "$ADDER" report "$W/flat" --out "$W/report.html"
[ "$(grep -oE 'flat/[a-z]*/listen.html' "$W/report.html" | tr '\n' ' ')" = 'flat/high/listen.html flat/low/listen.html ' ] ||
    wrong "expected links to both folders of clips"
[ "$(grep -c '<audio id=' "$W/report.html")" -eq 3 ] || wrong "expected three players"

# The command line, and what is there already.
refused 2 'tokens.*seconds' "$ADDER" generate --checkpoint "$W/flat" --out "$W/x.wav"
refused 2 'tokens.*seconds' "${any[@]}" --tokens 9 --out "$W/x.wav"
refused 2 'records of 4398046511104 samples are more than can be counted; hint: ' \
    "$ADDER" generate --checkpoint "$W/flat" --tokens 4398046511104 --num 1048577 --out -
refused 2 '--seconds' "$ADDER" generate --checkpoint "$W/flat" --seconds 0 --out "$W/x.wav"
refused 2 'a file of one record' "${any[@]}" --num 2 --out "$W/x.wav"
refused 2 '--allow-n' "${any[@]}" --allow-n --out "$W/x.wav"
refused 2 '--spectrogram' "${any[@]}" --spectrogram --out -
refused 1 '--tokens 7: a sample .* is 2 tokens.*--tokens 8' \
    "$ADDER" generate --checkpoint "$W/pcm16" --tokens 7 --out "$W/x.wav"
refused 1 'there already.*--overwrite' "${any[@]}" --out "$W/flat.wav"
refused 1 'exists.*--overwrite' "${any[@]}" --out "$W/flat.a"
succeeds "${any[@]}" --out "$W/flat.wav" --overwrite
refused 1 'in: holds (high|low) and no listen.html' "${any[@]}" --out "$W/in" --overwrite
[ -e "$W/in/high/1.wav" ] || wrong "--overwrite removed what is no generated clip"
# Recordings may have the names of clips: without our page, with another's, and beside clips.
mkdir "$W/keep" "$W/foreign" "$W/none"
for folder in keep foreign flat.a; do tone 500 8 8000 >"$W/$folder/0009.wav"; done
echo '<p>' >"$W/foreign/listen.html"
for folder in keep foreign flat.a; do
    refused 1 "$folder: holds 0009.wav.* --overwrite would remove it" "${any[@]}" --out "$W/$folder" --overwrite
    [ -e "$W/$folder/0009.wav" ] || wrong "--overwrite removed a recording"
done
rm "$W/flat.a/0009.wav"
succeeds "${any[@]}" --out "$W/none" --overwrite
# Rates that FLAC cannot have: said before anything is made for such a file, and a page plays WAV then.
for rate in 66667 700000; do
    succeeds "$ADDER" train --domain audio --input "$W/in" --rate $rate --d-model 16 --layers 1 --d-state 8 --length 256 --batch 1 \
        --steps 1 --out "$W/rate$rate"
    fast=("$ADDER" generate --checkpoint "$W/rate$rate" --tokens 400)
    succeeds "${fast[@]}" --num 2 --out "$W/fast$rate"
    [ "$(word "$W/fast$rate/0001.wav" 24 4)" -eq $rate ] || wrong "expected the model's rate"
    grep -q 'src="data:audio/wav' "$W/fast$rate/listen.html" || wrong "expected players of WAV"
    refused 1 "--out .*fast$rate.flac: FLAC cannot have a sample rate of $rate Hz; hint: .*wav" "${fast[@]}" --out "$W/fast$rate.flac"
done
succeeds "${any[@]}" --num 1 --out "$W/flat.a" --overwrite
[ -e "$W/flat.a/0001.wav" ] && wrong "expected the folder of one clip"
refused 1 'none.wav' "${any[@]}" --prompt "$W/none.wav" --out "$W/x.wav"
refused 1 'cuda' "${any[@]}" --out "$W/x.wav" --device cuda
[ -e "$W/x.wav" ] && wrong "a refused generation left its file"

# Memory does not grow with what was generated: the peak after 6 s, and after 40.
mkfifo "$W/pipe"
"$ADDER" generate --checkpoint "$W/flat" --seconds 2000 --threads 1 --out - >"$W/pipe" 2>"$W/err" &
job=$!
exec 3<"$W/pipe"
peak_kib() { awk '/VmHWM/ { print $2 }' "/proc/$job/status"; }
head -c 100000 <&3 >/dev/null
first=$(peak_kib)
head -c 540000 <&3 >/dev/null
[ "$(peak_kib)" -le $((first + 2048)) ] || wrong "peak memory grew from $first to $(peak_kib) KiB"
exec 3<&-
wait "$job"

# A reader that goes away ends a stream with one line; a signal leaves nothing behind.
{ "$ADDER" generate --checkpoint "$W/flat" --seconds 2000 --out - 2>"$W/err"; echo "$?" >"$W/rc"; } | head -c 1000 >"$W/out"
[ "$(cat "$W/rc")" -eq 1 ] && [ "$(wc -c <"$W/out")" -eq 1000 ] && tail -n 1 "$W/err" | grep -q 'adder: standard output' ||
    wrong "expected the stream while it is made, and an error when nobody listens"
"$ADDER" generate --checkpoint "$W/flat" --seconds 2000 --num 2 --out "$W/stopped" >"$W/out" 2>"$W/err" &
job=$!
wait_until catches_signals
kill -s TERM "$job"
wait "$job"
rc=$?
[ "$rc" -eq 1 ] && [ ! -e "$W/stopped" ] || wrong "expected exit 1 and no folder after a signal"
untouched "$W"
# What a killed one leaves goes with the next that writes there.
"$ADDER" generate --checkpoint "$W/flat" --seconds 2000 --num 2 --out "$W/killed" >"$W/out" 2>"$W/err" &
job=$!
until [ -n "$(find "$W" -maxdepth 1 -type d -name '.adder-tmp-*')" ] || ! kill -0 "$job" 2>/dev/null; do :; done
kill -s KILL "$job"
wait "$job" 2>/dev/null
[ -n "$(find "$W" -name '.adder-tmp-*')" ] || wrong "expected what a killed run leaves"
succeeds "${any[@]}" --out "$W/killed"
untouched "$W"

finish
