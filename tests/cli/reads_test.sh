#!/usr/bin/env bash
# Reads: FASTQ, SAM, BAM and CRAM train and are scored like FASTA of the same letters; long ones are not cut short.
. "$(dirname "$0")/lib.sh"

model=(--domain dna --d-model 16 --layers 1 --d-state 8 --batch 1)

# 300 reads of 150 bases of the phage, as FASTA, FASTQ and SAM.
zcat "$phage" | grep -v '>' | tr -d '\n' | fold -w 150 | head -n 300 >"$W/letters"
awk '{ printf ">r%d\n%s\n", NR, $1 }' "$W/letters" >"$W/reads.fa"
awk '{ q = $1; gsub(/./, "I", q); printf "@r%d x\n%s\n+\n%s\n", NR, $1, q }' "$W/letters" >"$W/reads.fq"
awk '{ printf "r%d\t4\t*\t0\t0\t*\t*\t0\t0\t%s\t*\n", NR, $1 }' "$W/letters" >"$W/reads.sam"
gzip -k "$W/reads.fq"
mkdir "$W/folder"
cp "$W/reads.fq.gz" "$W/folder/"

train=("$ADDER" train "${model[@]}" --length 2048 --steps 3)
succeeds "${train[@]}" --input "$W/reads.fa" --out "$W/fasta"
for input in "$W/reads.fq" "$W/reads.fq.gz" "$W/reads.sam" "$W/folder"; do
    succeeds "${train[@]}" --input "$input" --out "$W/run" --overwrite
    logs '300 reads, 300 kept \(45000 bases\), 0 dropped'
    same "$W/run/step-00000003/model.safetensors" "$W/fasta/step-00000003/model.safetensors"
done
succeeds "$ADDER" eval --checkpoint "$W/fasta" --input "$W/reads.fa" --json --per-record "$W/fasta.tsv"
cp "$W/out" "$W/fasta.json"
for input in "$W/reads.fq" "$W/reads.sam"; do
    succeeds "$ADDER" eval --checkpoint "$W/fasta" --input "$input" --json --per-record "$W/reads.tsv" --overwrite
    same "$W/out" "$W/fasta.json"
    same "$W/reads.tsv" "$W/fasta.tsv"
done
for input in reads.fq reads.fq.gz reads.sam; do
    "$ADDER" eval --checkpoint "$W/fasta" --input - --json <"$W/$input" >"$W/out" 2>"$W/err"
    rc=$?
    same "$W/out" "$W/fasta.json"
done

# Reads are held out whole, the same ones from a store; what holds nothing out is said.
held=(--valid-fraction 0.1 --gap 20)
succeeds "${train[@]}" --input "$W/reads.fq" "${held[@]}" --out "$W/held"
n=$(sed -nE 's/.* held out ([0-9]+) bases in ([0-9]+) segments.*, in no part 0$/\1 \2/p' "$W/err")
[ "${n#* }" -ge 10 ] && [ "${n% *}" -eq $((${n#* } * 150)) ] || wrong "not whole reads, or too few: $n"
succeeds "$ADDER" prepare --domain dna --input "$W/reads.fq" --out "$W/reads.h5"
succeeds "${train[@]}" --input "$W/reads.h5" "${held[@]}" --out "$W/stored"
same "$W/stored/step-00000003/model.safetensors" "$W/held/step-00000003/model.safetensors"
digest() { grep -o '"split_digest": *"[0-9a-f]*"' "$1/run.json"; }
[ "$(digest "$W/held")" = "$(digest "$W/stored")" ] || wrong "a store of reads is split otherwise than its source"
head -n 4 "$W/reads.fq" >"$W/one.fq"
succeeds "${train[@]}" --input "$W/one.fq" --valid-fraction 0.01 --out "$W/one"
logs 'warning: --valid-fraction 0.01 holds nothing out of 1 record'

# One name many times: a line for each read, in their order.
printf '@x\nACGTACGT\n+\nIIIIIIII\n@x\nGGTTAC\n+\nIIIIII\n@x\nCCGAT\n+\nIIIII\n' >"$W/names.fq"
succeeds "$ADDER" eval --checkpoint "$W/fasta" --input "$W/names.fq" --per-record "$W/names.tsv"
[ "$(cut -f 1,2 "$W/names.tsv" | tr '\t\n' ': ')" = 'name:tokens x:7 x:5 x:4 ' ] || wrong "one name many times: $(cat "$W/names.tsv")"

# A read of 400 kb: every base of it, in tiles, whatever their length.
{ echo '@long'; for i in 1 2 3 4 5 6 7 8 9; do cat "$W/letters"; done | tr -d '\n' | head -c 400000; echo; echo '+'
    head -c 400000 /dev/zero | tr '\0' 'I'; echo; } >"$W/long.fq"
succeeds "$ADDER" eval --checkpoint "$W/fasta" --input "$W/long.fq" --json
[ "$(json tokens)" = 399999 ] || wrong "400,000 bases have 399,999 targets"
for tile in 399999 30000; do
    succeeds "$ADDER" train "${model[@]}" --length 399999 --tile "$tile" --steps 1 --rc-augment 0 --input "$W/long.fq" \
        --out "$W/tile$tile"
done
loss() { sed -n 's/.*"loss": *\([^,]*\).*/\1/p' "$1/metrics.jsonl"; }
close "$(loss "$W/tile399999")" "$(loss "$W/tile30000")" 1e-5

# What is kept: by length, mean quality and the quality of a base.
printf '@a\nACGTACGT\n+\nIIIIII#I\n@short\nACG\n+\nIII\n@bad\nACGTACGT\n+\n########\n@b\nCCGATA\n+\nIIIIII\n' >"$W/mixed.fq"
succeeds "$ADDER" eval --checkpoint "$W/fasta" --input "$W/mixed.fq" --json --per-record "$W/mixed.tsv" --min-length 4 \
    --min-quality 5 --min-base-quality 10
logs 'FASTQ: 4 reads, 2 kept \(14 bases\), 2 dropped: 1 shorter than 4 bases, 1 of mean quality below 5'
logs '1 bases of quality below 10 read as N'
[ "$(cut -f 1,2 "$W/mixed.tsv" | tr '\t\n' ': ')" = 'name:tokens a:6 b:5 ' ] || wrong "an N is not scored: $(cat "$W/mixed.tsv")"
refused 2 '--min-quality' "$ADDER" eval --checkpoint "$W/fasta" --input "$W/mixed.fq" --min-quality high
refused 2 '--min-length' "$ADDER" eval --checkpoint "$W/fasta" --input "$W/mixed.fq" --min-length -4

# Three alignments of 20 bases, the second on the reverse strand, the third a duplicate: as BAM and as CRAM, which needs
# the FASTA that it was made with.
base64 -d >"$W/three.bam" <<'END'
H4sIBAAAAAAA/wYAQkMCAEsAc3L0ZZRiYGBw8HDhDPOzMtQz43IIDuQM9rNK5vTxszIx4GJkYGBgYmBgSGbQYGBgAAAzjo9ZMAAAAB+LCAQAAA
AAAP8GAEJDAgBqAHNlQABmG08hRgYGBhEGBob/UMDAwMBQZMjgwMjAIOQh5NGi2OGoJKGBBbhCDRGBGySAaZAR2CAXCSWJDkdFJZFGhHYmOMA0
iIEFwyBjIgwCALCH37HbAAAAH4sIBAAAAAAA/wYAQkMCABsAAwAAAAAAAAAAAA==
END
base64 -d >"$W/three.cram" <<'END'
Q1JBTQMALQAAAAAAAAAAAAAAAAAAAAAAAAB5AAAAAAAAAAAAAgIASz+xAd0AAABCQj4AAABASEQJVk46MS42CkBTUQlTTjpjCUxOOjQwCU01Om
NiNTk4OWU2OWEyYWU0MzNhM2I2ZDFiZTk0OTFlNGZmCgwIxbAAAAAlJQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACptfJK
MAEAAAABKAMAPAcBgK5mgtJZAAEAgKOAoxIEVEQBAFNNGxsbGxtSTgFBUAGAjBJCRgEBD0NGAwQBAwEAUkwDBAEUAQBBUAEBEVJHAwgB/////w
8BAE1GAwQBAAEATlMDCAH/////DwEATlADBAEAAQBUUwMEAQABAFRMAwQBAAEARk4DBAEAAQBJTgUCAA1CQgQGAQEqAQElTVEDBAE8AQBSTgUC
AAtRUwEBDFJJAwQBAAEAU0MFAgAOAQBJecoFAAIAICAAASgDAAUECwwPEf////8Py1mJ5poq5DOjttG+lJHk/xIbDEMABQAAAC8H/PEABAsJCX
IxAHIyAHIzAIKE704BBAwcPB+LCAAAAAAAAP/T0MAHmOAAmxgAK+zg9jwAAADNlNIcAAQPBAQAEIQAVHDTuQAEEQMDABQALyhcIg8AAAD/////
D+BFT0YAAAAAAQAFvdlPAAEABgYBAAEAAQDuYwFLDwAAAP////8P4EVPRgAAAAABAAW92U8AAQAGBgEAAQABAO5jAUs=
END
printf '>c\nACGTACGTTGCATTGACCATGGATCCATTTGACACCAGTA\n' >"$W/contig.fa"
printf '>r1\nACGTACGTTGCATTGACCAT\n>r2\nTACTGGTGTCAAATGGATCC\n' >"$W/two.fa"
eval=("$ADDER" eval --checkpoint "$W/fasta" --json)
succeeds "${eval[@]}" --input "$W/two.fa"
cp "$W/out" "$W/two.json"
for input in "--input $W/three.bam" "--input $W/three.cram --reference $W/contig.fa"; do
    succeeds "${eval[@]}" $input
    logs '3 reads, 2 kept \(40 bases\), 1 dropped: 1 duplicate; of the kept: 1 turned back to read orientation'
    same "$W/out" "$W/two.json"
done
"${eval[@]}" --input - <"$W/three.bam" >"$W/out" 2>"$W/err"
rc=$?
same "$W/out" "$W/two.json"
refused 1 "$W/three.cram: record 1.*hint: --reference FASTA" "${eval[@]}" --input "$W/three.cram"
refused 1 "$W/none.fa: no such file" "${eval[@]}" --input "$W/three.cram" --reference "$W/none.fa"
refused 1 "$W/three.cram: record 1.*other letters" "${eval[@]}" --input "$W/three.cram" --reference "$W/two.fa"

# Damage: one line that names the record, nothing left behind.
head -c -28 "$W/three.bam" >"$W/no_end.bam"
head -c 150 "$W/three.bam" >"$W/cut.bam"
head -c -1 "$W/reads.fq" | head -c -1 >"$W/cut.fq"
printf '@a\nACGT\n+\nIIII\n@b\nACGT\n+\nIII\n@c\nACGT\n+\nIIII\n' >"$W/lengths.fq"
printf '@a\nACGT\n+\nIIII\n@b\nACGT\n' >"$W/half.fq"
head -c 3000 "$W/reads.fq.gz" >"$W/cut.fq.gz"
declare -A says_what=([no_end.bam]='record 4 \(after r3\).*the end block of bgzip is missing' [cut.bam]='BAM|record'
    [cut.fq]='record 300 \(r300\).*150 bases and its qualities are 149' [cut.fq.gz]='damaged or cut short'
    [lengths.fq]='record 2 \(b\), line 8: its sequence has 4 bases and its qualities are 3' [half.fq]='record 2 \(b\).*cut short')
for name in "${!says_what[@]}"; do
    refused 1 "$W/$name: .*${says_what[$name]}" "${train[@]}" --input "$W/$name" --out "$W/new"
    [ -e "$W/new" ] && wrong "a refused run left $W/new"
    refused 1 "$W/$name: .*${says_what[$name]}" "${eval[@]}" --input "$W/$name" --per-record "$W/new.tsv"
    [ -e "$W/new.tsv" ] && wrong "a refused evaluation left $W/new.tsv"
done
cp "$W/reads.fa" "$W/folder/"
refused 1 "$W/folder: holds both sequences .* and reads" "${train[@]}" --input "$W/folder" --out "$W/new"

finish
