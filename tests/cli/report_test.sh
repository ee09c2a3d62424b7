#!/usr/bin/env bash
# A page about runs: it parses, loads nothing from outside, names every run, and says the numbers of their files; what is
# missing or damaged is said.
. "$(dirname "$0")/lib.sh"
page=$W/page.html
tiny="--domain dna --input $phage --d-model 16 --layers 1 --d-state 8 --length 64 --batch 2 --seed 3 --valid-fraction 0.1"

# well_formed FILE: elements nest, attributes are quoted, ids are single, nothing is loaded and nothing runs from outside.
cat >"$W/check.py" <<'PY'
import html.parser, re, sys
void = {"meta", "link", "img", "input", "br", "hr"}
class Check(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.wrong = [], set(), []
    def handle_starttag(self, tag, attrs):
        if tag not in void: self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "srcset", "data", "poster", "xlink:href", "action") and not value.startswith("data:"):
                self.wrong.append(f"{tag} {name}={value[:60]}")
            if name == "href" and (tag != "a" or "://" in value): self.wrong.append(f"{tag} href={value[:60]}")
            if name.startswith("on"): self.wrong.append(f"{tag} {name}")
            if name == "id":
                if value in self.ids: self.wrong.append(f"id {value} twice")
                self.ids.add(value)
        if tag in ("link", "iframe", "object", "embed", "base"): self.wrong.append(tag)
    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in void: self.open.pop()
    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag: self.wrong.append(f"</{tag}> in {self.open[-3:]}")
        else: self.open.pop()
text = open(sys.argv[1], encoding="utf-8").read()
check = Check()
check.feed(text)
check.close()
if check.open: check.wrong.append(f"not closed: {check.open}")
if re.search(r"url\(|@import|XMLHttpRequest|fetch\(", text): check.wrong.append("style or script that loads")
if len(text.encode()) > 5_000_000: check.wrong.append("more than 5 MB")
print("\n".join(check.wrong))
sys.exit(bool(check.wrong))
PY
well_formed() {
    grep -q '^<!DOCTYPE html>' "$1" || wrong "$1: no page"
    grep -qE '(src|href)="(https?:)?//' "$1" && wrong "$1 loads something"
    command -v python3 >/dev/null || return 0
    python3 "$W/check.py" "$1" >"$W/out" || wrong "$1: not well formed, or not alone"
}
has() { grep -qF -- "$1" "$page" || wrong "expected on the page: $1"; }
hasnt() { grep -qF -- "$1" "$page" && wrong "not expected on the page: $1"; }
report() { succeeds "$ADDER" report "$@" --out "$page" --overwrite; }
last() { sed -n "s/.*\"$2\": *\([^,}]*\).*/\1/p" "$1/metrics.jsonl" | tail -n 1; }

# Two runs, one of them stopped and gone on with.
succeeds "$ADDER" train $tiny --steps 30 --eval-every 10 --out "$W/plain"
odd="$W/<img src=x onerror=alert(1)> & \"é\""
succeeds "$ADDER" train $tiny --mixer mamba1 --steps 20 --eval-every 10 --stop-after 7 --out "$odd"
succeeds "$ADDER" report "$odd" --out "$page"
says "page.html: "
has '7 of 20, not finished'
refused 2 'report: the folder of a run is missing; hint: adder report run$' "$ADDER" report
refused 1 'page.html: --out is there already; hint: --overwrite' "$ADDER" report "$odd" --out "$page"
succeeds "$ADDER" train --out "$odd" --resume
report "$W/plain" "$odd/"
well_formed "$page"
has "$W/plain"
has '&lt;img src=x onerror=alert(1)&gt; &amp; &quot;é&quot;'
hasnt '<img src=x'
for run in "$W/plain" "$odd"; do
    for key in loss valid_loss valid_bits_per_token; do
        value=$(last "$run" $key)
        [ -n "$value" ] || wrong "$run has no $key"
        has "data-value=\"$value\""
    done
    has "$(sed -n 's/.*"digest": *"\([0-9a-f]*\)".*/\1/p' "$run/run.json" | head -n 1)"
done
has "data-value=\"$(last "$W/plain" tokens)\""
for text in '<td>mamba1</td>' 'tokens read' 'Gradient norm' 'Learning rate' 'tokens/s' 'bits per base' 'id="by-seconds"' 'adder train' \
    "data-value=\"$("$ADDER" info --checkpoint "$W/plain" --json | grep -oE '"parameters":[0-9]+' | cut -d: -f2)\""; do
    has "$text"
done
untouched "$W"

# What stands in the folder of a run: results of eval and probe, samples, a page of clips.
succeeds "$ADDER" eval --checkpoint "$W/plain" --input "$phage" --valid-fraction 0.1 --baselines 1-4,12 --json
cp "$W/out" "$W/plain/eval.json"
bits=$(json bits_per_token) order_2=$(json order_2)
succeeds "$ADDER" generate --checkpoint "$W/plain" --tokens 700 --num 8 --seed 1 --out "$W/plain/generated.fa"
cat >"$W/plain/probe.json" <<'JSON'
{"accuracy":0.8125,"mcc":0.5,"auroc":0.875,"macro_f1":0.75,"l2":[1.0],"test":64,"classes":2,"majority":0.5,"kmer":{"k":5,"accuracy":0.84375,"mcc":0.625,"auroc":0.8125,"macro_f1":0.8,"l2":[1.0]},"random_init":{"accuracy":0.75,"mcc":0.25,"auroc":null,"macro_f1":0.7,"l2":[1.0]},"labels":["<x>","y"],"confusion":[[30,2],[10,22]]}
JSON
mkdir "$W/speech" && cp "$W/plain/run.json" "$W/speech/"
echo '<meta name="generator" content="adder"><section id="clips" data-files="7">' >"$W/speech/listen.html"
report "$W/plain" "$W/speech" --json-out "$W/numbers.json"
well_formed "$page"
for text in "data-value=\"$bits\"" "data-value=\"$order_2\"" 'context model of order 12' 'The best of 5 context models is order_' \
    '<b class="wins">5-mer counts</b> wins by accuracy, MCC; <b class="wins">the trained model</b> wins by AUROC' \
    'the same model at random init' 'truth &lt;x&gt;, predicted y: 2 of 32' 'sample_0 seed=1' 'The first 6 of 8 records' \
    'GC %' 'the input files of the run' 'href="speech/listen.html"'; do
    has "$text"
done
grep -A 1 'sample_0 seed=1' "$page" | grep -qF "$(sed -n 2p "$W/plain/generated.fa")" || wrong "the first generated line"
for part in '{"bits_per_base":{"model":'"$bits"',"order_1":' '"order_2":'"$order_2"',' '"order_12":' \
    '"probe":{"model":{"accuracy":0.8125,"mcc":0.5,"auroc":0.875},"kmer":{"accuracy":0.84375,"mcc":0.625,"auroc":0.8125},"random_init":{"accuracy":0.75,"mcc":0.25,"auroc":null},"majority":0.5,"test":64}}'; do
    grep -qF -- "$part" "$W/numbers.json" || wrong "$part in $(cat "$W/numbers.json")"
done
cp "$page" "$W/first"
report "$W/plain" "$W/speech"
same "$page" "$W/first"
succeeds "$ADDER" report "$W/plain" --out -
head -n 1 "$W/out" | grep -q '^<!DOCTYPE html>' || wrong "the page on stdout"

# Clips beside a page of clips: players in the report; a damaged one is said.
mkdir "$W/speech/generated"
mv "$W/speech/listen.html" "$W/speech/generated/"
sed 's/"domain": *"dna"/"domain":"audio"/' "$W/plain/run.json" >"$W/speech/run.json"
cp "$W/plain/metrics.jsonl" "$W/speech/"
clip=$(find "$ADDER_SOURCE_DIR/datasets/data" -name '*.wav' -o -name '*.flac' | sort | head -n 1)
for i in 0 1 2 3 4 5 6; do cp "$clip" "$W/speech/generated/000$i.${clip##*.}"; done
printf 'RIFF' >"$W/speech/generated/0002.${clip##*.}"
report "$W/plain" "$W/speech" --json-out "$W/numbers3.json"
well_formed "$page"
same "$W/numbers.json" "$W/numbers3.json"
[ "$(grep -c '<audio id=' "$page")" -eq 5 ] || wrong "five players"
[ "$(grep -c 'alt="spectrogram" src="data:image/png' "$page")" -eq 5 ] || wrong "five spectrograms"
for text in 'href="speech/generated/listen.html"' 'this is babble' 'The first 6 of 7 clips' '0002.' 'bits per sample'; do has "$text"; done
report "$clip"
well_formed "$page"
has '<audio id='
refused 1 '0002' "$ADDER" report "$W/speech/generated/0002.${clip##*.}" --out "$W/new.html"

# Single files.
report "$W/plain/eval.json" "$W/plain/probe.json" "$W/plain/generated.fa" --json-out "$W/numbers2.json"
same "$W/numbers.json" "$W/numbers2.json"
hasnt '<h2>Curves</h2>'

# A classifier.
{ printf 'name\tlabel\tsplit\n'; for i in $(seq 30); do printf 'r%d\t%s\t%s\n' "$i" "$([ $((i % 2)) -eq 0 ] && echo even || echo odd)" "$([ $i -gt 20 ] && echo test || { [ $i -gt 14 ] && echo valid || echo train; })"; done; } >"$W/l.tsv"
for i in $(seq 30); do printf '>r%d\n%s\n' "$i" "$([ $((i % 2)) -eq 0 ] && echo AACCAACCAACCAACC || echo GTGTTGTTGGTTTGGT)"; done >"$W/r.fa"
succeeds "$ADDER" finetune --checkpoint "$W/plain" --input "$W/r.fa" --labels "$W/l.tsv" --out "$W/classes" --epochs 3
report "$W/classes"
well_formed "$page"
for text in 'Classifiers' 'nats per record' 'Held-out macro-F1' 'aria-label="confusion matrix"' 'adder finetune' \
    "data-value=\"$(grep -oE '"accuracy":[0-9.]+' "$W/classes/classification.json" | cut -d: -f2 | sed 's/\.0$//')\""; do
    has "$text"
done

# Rows that are no numbers, one row, no rows, a torn last row, damage, a page of a long run.
mkdir "$W/odd" && cp "$W/plain/run.json" "$W/odd"
sed -n '1p;2s/"loss": [0-9.]*/"loss": null/p;3p' "$W/plain/metrics.jsonl" >"$W/odd/metrics.jsonl"
report "$W/odd"
well_formed "$page"
has 'not finite: 1 value'
logs 'warning: .*no complete checkpoint'
sed -n 1p "$W/plain/metrics.jsonl" >"$W/odd/metrics.jsonl"
report "$W/odd"
well_formed "$page"
: >"$W/odd/metrics.jsonl"
report "$W/odd"
has 'metrics.jsonl: has no rows'
{ head -n 4 "$W/plain/metrics.jsonl"; printf '{"step": 5, "lo'; } >"$W/odd/metrics.jsonl"
report "$W/odd"
has 'its last line 5 is not whole'
{ head -n 4 "$W/plain/metrics.jsonl"; echo damage; tail -n 3 "$W/plain/metrics.jsonl"; } >"$W/odd/metrics.jsonl"
echo '{' >"$W/odd/run.json"
echo '{"bits_per_token": "two"}' >"$W/odd/eval.json"
echo '{"accuracy":1,"majority":1,"labels":["a"],"confusion":[[-1]]}' >"$W/odd/probe.json"
printf 'no FASTA' >"$W/odd/generated.fa"
report "$W/odd"
well_formed "$page"
has 'line 5 is no row of metrics; the curves end before it'
has 'run.json: is no JSON'
has 'bits_per_token&#39; is no number'
has 'is not a count for each pair'
has 'expected a header that begins with'
mkdir "$W/long"
awk 'BEGIN { for (i = 1; i <= 200000; i++) printf "{\"step\": %d, \"loss\": %.6f, \"grad_norm\": %.6f, \"lr\": 0.001, \"tokens\": %d, \"tokens_per_s\": %d}\n", i, i == 77777 ? 9 : 1 + sin(i) / 9, 2 + cos(i), i * 64, 1000 + i % 7 }' >"$W/long/metrics.jsonl"
report "$W/long" "$W/long" "$W/long"
well_formed "$page"
[ "$(wc -c <"$page")" -lt 2000000 ] || wrong "three long runs make a small page"
has 'data-value="12800000"'

# What cannot be shown.
refused 1 'none: no such file or folder' "$ADDER" report "$W/none"
mkdir "$W/empty"
refused 1 'empty: holds nothing of a run' "$ADDER" report "$W/empty"
refused 1 'eval.json: .bits_per_token. is no number' "$ADDER" report "$W/odd/eval.json"
refused 1 'run.json: is no JSON' "$ADDER" report "$W/odd/run.json"
echo '{"a":1}' >"$W/other.json"
refused 1 'other.json: not what adder eval, probe or finetune --json writes' "$ADDER" report "$W/other.json"
refused 1 'generated.fa' "$ADDER" report "$W/odd/generated.fa"
refused 1 'json-out: no run has eval.json or probe.json' "$ADDER" report "$W/classes" --out "$W/new.html" --json-out "$W/new.json"
[ -e "$W/new.html" ] && wrong "a failed command leaves nothing"
refused 1 "$W/no/page.html" "$ADDER" report "$W/plain" --out "$W/no/page.html"
refused 2 "unknown option '--outs'; the nearest is --out" "$ADDER" report "$W/plain" --outs x
untouched "$W"
finish
