# Rows of `adder bench WHAT --json` beside those of other programs: `verdict TAB name TAB text` a line.
#
#   awk -v what=WHAT -v peers=FILE.jsonl -v absent=MISS|skip -f tests/gpu_peers.awk ROWS
#
# Every row of a peer asks for one of ours: at least its tokens/s, in decoding one and a half times. A forward pass that the
# peer ran as a graph is the same case; a peer that ran out of memory asks for nothing more than that we did not. A training
# row of d_model 128 must leave the GPU waiting for less than 2 % of 100 steps or more, the loader make 20M tokens/s, and
# the forward pass take no more memory for eight times the length.
function get(key) { return match($0, "\"" key "\": *(\"[^\"]*\"|[^,}]*)") ? clean(substr($0, RSTART, RLENGTH)) : "" }
function clean(s) { sub(/^"[^"]*": */, "", s); gsub(/"/, "", s); return s }
function number(key) { return get(key) + 0 }
function key_of(    k) {
    k = get("layer") == "" ? "" : get("layer") " d" get("d") " n" get("n") " "
    return k "B" get("B") (get("L") == "" ? "" : " L" get("L"))
}
BEGIN {
    least = what == "decode_cuda_graph" ? 1.5 : 1
    while (peers != "" && (getline < peers) > 0) {
        name = get("case")
        sub(/^embed_forward_graph$/, "embed_forward", name)
        if (name != what) continue
        known = 1
        speed = get("tok_s") == "" ? 1 : number("tok_s")
        if (speed > best[key_of()]) best[key_of()] = speed
    }
}
{
    k = key_of()
    seen[k] = 1
    speed = number("tok_s")
    bad = get("parity") == "false" || speed <= 0
    text = sprintf("%.0f tok/s, %s GB", speed, get("peak_GB") == "" ? "-" : sprintf("%.2f", number("peak_GB")))
    if (get("us_per_step") != "") text = text sprintf(", %.1f us", number("us_per_step"))
    if (get("idle_pct") != "") text = text sprintf(", idle %.2f %% of %d steps", number("idle_pct"), number("idle_steps"))
    if (get("parity_max_rel") != "") text = text sprintf(", f32 within %.1e", number("parity_max_rel"))
    if (what == "train_step" && number("d") == 128)
        bad = bad || get("idle_pct") == "" || number("idle_pct") >= 2 || number("idle_steps") < 100
    if (what == "train_step") bad = bad || get("parity") != "true"
    if (what == "loader") bad = bad || speed < 20e6
    if (what == "embed_forward" && number("B") == 1) {
        model = get("layer") get("d") " " get("n")
        if (!(model in memory)) memory[model] = number("peak_GB")
        if (number("peak_GB") > 1.05 * memory[model]) bad = 1
    }
    verdict = "ok"
    if (k in best) {
        text = sprintf("%.2fx, ", speed / best[k]) text
        bad = bad || speed < least * best[k]
    } else if (what != "loader" && !known) {
        verdict = absent
        text = text "; PEERS names no file with such rows"
    }
    print (bad ? "MISS" : verdict) "\t" k "\t" text
}
END { for (k in best) if (!(k in seen)) print "MISS\t" k "\tno row; the peer has " sprintf("%.0f", best[k]) " tok/s" }
