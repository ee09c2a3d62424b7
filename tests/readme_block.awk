# The N-th fenced block of the language LANGUAGE of a page: awk -v language=sh -v n=1 -f readme_block.awk README.md
/^```/ {
    if (inside) inside = 0
    else if ($0 == "```" language && ++seen == n) inside = 1
    next
}
inside
