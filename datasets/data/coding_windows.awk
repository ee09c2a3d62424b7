# Windows for telling coding DNA from intergenic DNA: cuts the part of a chromosome from START on into windows of WIDTH
# bases on a grid of multiples of WIDTH. A window of which at least 90 % are CDS is coding, one with at most 10 % is
# intergenic, the others are left out; of the commoner class as many are taken as of the rarer one, evenly spread,
# separately before and behind BORDER. Windows that begin at BORDER or later are for the test, those that end before it
# for training.
#
# usage: awk -v name=CHROMOSOME -v start=START -v border=BORDER -v width=192 -v out=PREFIX -f coding_windows.awk CDS.bed LETTERS
# LETTERS: the chromosome's letters in one line. Positions count from 0; START is a multiple of WIDTH. Writes
# PREFIX.part.fa (the chromosome from START on), PREFIX.bed (windows, in coordinates of that part), PREFIX.tsv (name,
# label, split) and PREFIX.fa (the windows' letters). The lines of CDS.bed are in order of their starts.
BEGIN { FS = "\t"; reached = start }

FNR == NR {
    # Only what no earlier interval has covered counts.
    from = $2 > reached ? $2 + 0 : reached
    if ($3 <= from) next
    reached = $3 + 0
    while (from < reached) {
        window = int(from / width)
        end = (window + 1) * width < reached ? (window + 1) * width : reached
        covered[window] += end - from
        from = end
    }
    next
}

{
    letters = $0
    for (window = start / width; (window + 1) * width <= length(letters); ++window) {
        begin = window * width
        if (begin < border && begin + width > border) continue
        split_of = begin < border ? "train" : "test"
        share = covered[window] / width
        label = share >= 0.9 ? "coding" : share <= 0.1 ? "intergenic" : ""
        if (label != "") members[split_of, label, ++count[split_of, label]] = begin
    }
    print ">" name "\n" substr(letters, start + 1) > (out ".part.fa")
    print "name\tlabel\tsplit" > (out ".tsv")
    write_split("train")
    write_split("test")
}

function write_split(split_of,    least, label, i, k, n, begin, id) {
    least = count[split_of, "coding"] + 0
    if (count[split_of, "intergenic"] + 0 < least) least = count[split_of, "intergenic"] + 0
    for (k = 1; k <= 2; ++k) {
        label = k == 1 ? "coding" : "intergenic"
        n = count[split_of, label]
        for (i = 0; i < least; ++i) {
            begin = members[split_of, label, int(i * n / least) + 1]
            id = label "_" begin
            print name "\t" begin - start "\t" begin - start + width "\t" id > (out ".bed")
            print id "\t" label "\t" split_of > (out ".tsv")
            print ">" id "\n" substr(letters, begin + 1, width) > (out ".fa")
        }
    }
}
