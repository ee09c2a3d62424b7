#include "datasets/fasta.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "datasets/bytes.h"

namespace adder {

namespace {

constexpr size_t kLongestHeader = 1 << 20;

struct Signature {
    std::string_view begins;
    const char* what;
    const char* remedy;
};

// What people pass by mistake. Sources: the specifications of the formats named.
const Signature kOtherFormats[] = {
    {"@", "a FASTQ file", "convert it to FASTA: seqtk seq -a"},
    {"##fileformat=VCF", "a VCF file", "give the FASTA file of the genome"},
    {"##gff", "a GFF file", "give the FASTA file of the genome"},
    {"LOCUS ", "a GenBank file", "convert it to FASTA"},
    {"ID   ", "an EMBL file", "convert it to FASTA"},
    {"\3757zXZ", "compressed with xz", "decompress it: unxz"},
    {"BZh", "compressed with bzip2", "decompress it: bunzip2"},
    {"\x28\xB5\x2F\xFD", "compressed with zstd", "decompress it: unzstd"},
    {"PK\3\4", "a zip archive", "unpack it: unzip"},
    {"\x1F\x8B", "compressed twice", "decompress it once: gunzip"},
    {"\x43\x27\x41\x1A", "a 2bit file", "convert it: twoBitToFa"},
    {"\x1A\x41\x27\x43", "a 2bit file", "convert it: twoBitToFa"},
    {"\x89HDF", "an HDF5 file", "give a FASTA file"},
    {"\xEF\xBB\xBF", "text with a byte-order mark", "save it without: tail -c +4"},
    {"\xFF\xFE", "UTF-16 text", "save it as plain ASCII"},
    {"<", "a web page or XML", "download the file itself"},
    {"{", "JSON", "give a FASTA file"},
};

// Branch-free over the run, so that it vectorises.
bool all_letters(const char* p, int64_t n) {
    uint8_t others = 0;
    for (int64_t i = 0; i < n; ++i) {
        const uint8_t from_a = static_cast<uint8_t>((static_cast<uint8_t>(p[i]) | 0x20) - 'a');
        others |= static_cast<uint8_t>(from_a > 25);
    }
    return others == 0;
}

bool is_letter(char c) {
    return all_letters(&c, 1);
}

const char* remedy_for(char c) {
    switch (c) {
        case '\0':
            return "the file is damaged, copy it again";
        case '>':
            return "a header must begin its line: is a line break missing?";
        case ';':
            return "remove the comment line";
        case '\r':
            return "lines end in \\r alone, convert it: tr '\\r' '\\n'";
        default:
            return "a sequence line holds letters only";
    }
}

}  // namespace

struct FastaReader::Impl {
    InputFile file;
    const char *at = nullptr, *end = nullptr;  // the unread part of the file's block
    int64_t line = 1, column = 0, n_records = 0;
    bool started = false;
    // Of the present record:
    std::string name;
    int64_t header_line = 0, n_letters = 0, skipped = 0;
    bool in_sequence = false, after_return = false, has_blanks = false;

    explicit Impl(InputFile f) : file(std::move(f)) {}

    template <class... Args>
    [[noreturn]] void bad(fmt::format_string<Args...> format, Args&&... args) const {
        fail("[fasta] {}: {}", file.path(), fmt::format(format, std::forward<Args>(args)...));
    }

    bool fill();
    void expect_fasta();
    void read_header(FastaRecord& record);
    std::string_view next_letters();
    std::string_view take_letters();
    void take_other(char c);
    [[noreturn]] void bad_letter(char c) const;
};

// Makes at < end, or returns false at the clean end of the file.
bool FastaReader::Impl::fill() {
    if (at < end) return true;
    const InputFile::Block block = file.next_block();
    if (!block.damage.empty())
        bad("{}line {}: {}", n_records > 0 ? fmt::format("record {}, ", n_records) : "", line, block.damage);
    at = block.bytes.data();
    end = at + block.bytes.size();
    return at < end;
}

// Skips blank lines at the beginning and says what the file is if it is no FASTA.
void FastaReader::Impl::expect_fasta() {
    started = true;
    const SequenceFormat format = file.format();
    if (format != SequenceFormat::fasta && format != SequenceFormat::fastq && format != SequenceFormat::other)
        bad("is a {} file, not FASTA; hint: extract the reads: samtools fasta", name_of(format));
    if (!fill()) bad("is empty; hint: give a FASTA file");
    const std::string_view head(at, static_cast<size_t>(end - at));
    for (const Signature& s : kOtherFormats) {
        if (head.substr(0, s.begins.size()) == s.begins) bad("is {}, not FASTA; hint: {}", s.what, s.remedy);
    }
    while (fill() && (is_blank(*at) || *at == '\n')) line += *at++ == '\n';
    if (at == end) bad("holds blank lines only; hint: give a FASTA file");
    if (*at != '>') {
        bad("line {}: expected a header that begins with '>', got {}; hint: adder reads FASTA, FASTQ, SAM, BAM and CRAM", line,
            describe_byte(*at));
    }
}

// `at` stands on '>'; afterwards on the first byte of the next line.
void FastaReader::Impl::read_header(FastaRecord& record) {
    ++n_records;
    ++at;
    record.header.clear();
    record.sequence.clear();
    while (fill()) {
        const char* newline = static_cast<const char*>(std::memchr(at, '\n', static_cast<size_t>(end - at)));
        const char* stop = newline ? newline : end;
        record.header.append(at, stop);
        at = newline ? newline + 1 : end;
        if (record.header.size() > kLongestHeader) {
            bad("record {}, line {}: the header is longer than {} bytes; hint: is it a FASTA file?",
                n_records, line, kLongestHeader);
        }
        if (newline) break;
    }
    while (!record.header.empty() && is_blank(record.header.back())) record.header.pop_back();
    for (const char c : record.header) {
        if (c == '\r') {
            bad("record {}, line {}: lines end in \\r alone; hint: convert it: tr '\\r' '\\n'", n_records,
                line);
        }
        if ((static_cast<unsigned char>(c) < 32 && c != '\t') || c == 127) {
            bad("record {}, line {}: the header holds {}; hint: the file is damaged or no FASTA", n_records,
                line, describe_byte(c));
        }
    }
    const size_t begin = std::min(record.header.find_first_not_of(" \t"), record.header.size());
    record.name = record.header.substr(begin, record.header.find_first_of(" \t", begin) - begin);
    if (record.name.empty())
        bad("record {}, line {}: the header has no name; hint: name it", n_records, line);
    name = record.name;
    header_line = line++;
    column = n_letters = skipped = record.skipped = 0;
    after_return = has_blanks = false;
    in_sequence = true;
}

void FastaReader::Impl::bad_letter(char c) const {
    bad("record {} ({}), line {}, column {}: expected a letter, got {}; hint: {}", n_records, name, line, column,
        describe_byte(c), remedy_for(c));
}

// Everything but a letter that may stand in a sequence.
void FastaReader::Impl::take_other(char c) {
    if (c == '\n') {
        ++line;
        column = 0;
        after_return = false;
        return;
    }
    if (after_return && !is_blank(c)) bad_letter('\r');  // column is still the return's
    ++column;
    if (c == '-' || c == '.' || c == '*')
        ++skipped;
    else if (c == '\r')
        after_return = true;
    else if (is_blank(c))
        has_blanks = true;
    else
        bad_letter(c);
}

// `at` stands on a letter: all that follow it, as far as the line and the block go.
std::string_view FastaReader::Impl::take_letters() {
    if (after_return) bad_letter('\r');
    const char* newline = static_cast<const char*>(std::memchr(at, '\n', static_cast<size_t>(end - at)));
    const char* stop = newline ? newline : end;
    const char* begin = at;
    at = all_letters(at, stop - at) ? stop : std::find_if_not(at, stop, is_letter);
    column += at - begin;
    n_letters += at - begin;
    return {begin, static_cast<size_t>(at - begin)};
}

std::string_view FastaReader::Impl::next_letters() {
    while (in_sequence && fill() && !(*at == '>' && column == 0)) {
        if (is_letter(*at)) return take_letters();
        take_other(*at++);
    }
    if (in_sequence && n_letters == 0)
        bad("record {} ({}), line {}: a header without sequence; hint: remove it or complete the file", n_records, name,
            header_line);
    in_sequence = false;
    return {};
}

FastaReader::FastaReader(const std::string& path) : FastaReader(InputFile(path)) {}
FastaReader::FastaReader(InputFile file) : impl_(std::make_unique<Impl>(std::move(file))) {}
FastaReader::~FastaReader() = default;
FastaReader::FastaReader(FastaReader&&) noexcept = default;

bool FastaReader::next_header(FastaRecord& record) {
    if (!impl_->started) impl_->expect_fasta();
    while (!impl_->next_letters().empty()) continue;
    if (!impl_->fill()) return false;
    impl_->read_header(record);
    return true;
}

std::string_view FastaReader::next_letters() { return impl_->next_letters(); }
int64_t FastaReader::skipped() const { return impl_->skipped; }
bool FastaReader::has_blanks() const { return impl_->has_blanks; }

bool FastaReader::next(FastaRecord& record) {
    if (!next_header(record)) return false;
    for (std::string_view run; !(run = next_letters()).empty();) record.sequence += run;
    record.skipped = skipped();
    return true;
}

void append_fasta(std::string& out, std::string_view header, std::string_view sequence, int64_t width) {
    CHECK(width > 0);
    out += '>';
    out += header;
    out += '\n';
    for (size_t i = 0; i < sequence.size(); i += static_cast<size_t>(width)) {
        out += sequence.substr(i, static_cast<size_t>(width));
        out += '\n';
    }
}

}  // namespace adder
