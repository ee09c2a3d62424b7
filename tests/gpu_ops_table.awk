# The table of kernels/README.md, one row for every op, case and pass, from the rows of `adder bench OP --device cuda --json`.
#
#   awk [-v peers=FILE.jsonl] -f tests/gpu_ops_table.awk ROWS
function get(key) { return match($0, "\"" key "\": *(\"[^\"]*\"|[^,}]*)") ? clean(substr($0, RSTART, RLENGTH)) : "" }
function clean(s) { sub(/^"[^"]*": */, "", s); gsub(/"/, "", s); return s }
function number(key) { return get(key) + 0 }
function keep_least(key, ms) { if (ms != "" && (!(key in least) || ms + 0 < least[key])) least[key] = ms + 0 }
# Peers' sizes in the order in which a case here names them.
function sizes_of(letters,    i, letter, text) {
    for (i = 1; i <= length(letters); ++i) {
        letter = substr(letters, i, 1)
        text = text " " letter get(letter)
    }
    return text
}
BEGIN {
    letters["scan"] = "BLDN"; letters["ssd"] = "BLHPN"; letters["conv1d"] = "BLD"
    while (peers != "" && (getline < peers) > 0) {
        name = get("case")
        op = name ~ /^mamba1_scan/ ? "scan" : name ~ /^mamba2_ssd/ ? "ssd" : name == "causal_conv1d" ? "conv1d" : ""
        if (op == "") continue
        key = op sizes_of(letters[op])
        keep_least(key " forward", get("fwd_ms"))
        keep_least(key " backward", get("bwd_ms"))
    }
    print "| case | pass | ms | GB/s | TFLOP/s | % of the floor | peer ms | peer / adder |"
    print "|---|---|---|---|---|---|---|---|"
}
function row(pass, ms, bytes, flops, floor_pct,    n, words, key, i, ratio, peer) {
    if (ms <= 0) return
    n = split(get("case"), words, " ")
    key = words[1]
    for (i = 2; i <= n && i <= length(letters[words[1]]) + 1; ++i) key = key " " words[i]
    key = key " " pass
    peer = ratio = "-"
    if (words[1] in letters && key in least) {
        peer = sprintf("%.4g", least[key])
        ratio = sprintf("%.2f", least[key] / ms)
    }
    printf "| %s | %s | %.4g | %.0f | %s | %.0f | %s | %s |\n", get("case"), pass, ms, 1e-6 * bytes / ms,
        (flops > 0 ? sprintf("%.1f", 1e-9 * flops / ms) : "-"), floor_pct, peer, ratio
}
{
    if (number("step_ms") > 0) row("step", number("step_ms"), number("bytes"), number("flops"), number("pct_floor"))
    row("forward", number("fwd_ms"), number("fwd_bytes"), number("fwd_flops"), number("fwd_pct_floor"))
    row("backward", number("bwd_ms"), number("bytes") - number("fwd_bytes"), number("flops") - number("fwd_flops"),
        number("bwd_pct_floor"))
}
