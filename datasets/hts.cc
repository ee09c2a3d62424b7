#include "datasets/hts.h"

#include <fcntl.h>
#include <htslib/bgzf.h>
#include <htslib/cram.h>
#include <htslib/faidx.h>
#include <htslib/hfile.h>
#include <htslib/hts.h>
#include <htslib/hts_log.h>
#include <htslib/kstring.h>
#include <htslib/sam.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <system_error>
#include <unordered_set>
#include <utility>

#include "core/error.h"

namespace adder {

namespace {

template <auto close>
struct Close {
    template <class T>
    void operator()(T* t) const {
        close(t);
    }
};
using StreamPtr = std::unique_ptr<hFILE, Close<hclose_abruptly>>;
using BgzfPtr = std::unique_ptr<BGZF, Close<bgzf_close>>;
using HtsPtr = std::unique_ptr<htsFile, Close<hts_close>>;
using HeaderPtr = std::unique_ptr<sam_hdr_t, Close<sam_hdr_destroy>>;
using FaidxPtr = std::unique_ptr<faidx_t, Close<fai_destroy>>;
using BamPtr = std::unique_ptr<bam1_t, Close<bam_destroy1>>;

// The path is opened here, not by htslib, which would take "http:" and the like for an order to use the
// network.
StreamPtr open_stream(const std::string& path) {
    hts_set_log_level(HTS_LOG_OFF);  // errors are thrown; nothing below the applications prints
    const int fd = path == "-" ? ::dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail("[input] {}: {}; hint: check the path and the permissions", path, std::strerror(errno));
    struct stat info {};
    if (::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
        ::close(fd);
        fail("[input] {}: is a folder; hint: name a file", path);
    }
    StreamPtr stream(hdopen(fd, "r"));
    if (!stream) {
        const int reason = errno;
        ::close(fd);
        fail("[input] {}: cannot be opened: {}", path, std::strerror(reason));
    }
    return stream;
}

SequenceFormat alignment_format(hFILE* stream) {
    htsFormat format{};
    if (hts_detect_format(stream, &format) != 0) return SequenceFormat::other;
    switch (format.format) {
        case sam:
            return SequenceFormat::sam;
        case bam:
            return SequenceFormat::bam;
        case cram:
            return SequenceFormat::cram;
        default:
            return SequenceFormat::other;
    }
}

SequenceFormat text_format(std::string_view head) {
    const size_t at = head.find_first_not_of(" \t\r\n");
    if (at == head.npos) return SequenceFormat::other;
    if (head[at] == '>') return SequenceFormat::fasta;
    return head[at] == '@' ? SequenceFormat::fastq : SequenceFormat::other;
}

}  // namespace

const char* name_of(SequenceFormat format) {
    constexpr const char* kNames[] = {"FASTA", "FASTQ", "SAM", "BAM", "CRAM", "an unknown format"};
    return kNames[static_cast<size_t>(format)];
}

struct InputFile::Impl {
    std::string path;
    StreamPtr stream;  // of alignments, until their reader takes it
    BgzfPtr text;      // of all else
    SequenceFormat format;
    Block first;  // read to know the format, not yet given out
    bool has_first = false;

    explicit Impl(const std::string& p)
        : path(p), stream(open_stream(p)), format(alignment_format(stream.get())) {
        if (format != SequenceFormat::other) return;
        text.reset(bgzf_hopen(stream.get(), "r"));
        if (!text) fail("[input] {}: cannot be opened: {}", path, std::strerror(errno));
        stream.release();  // now closed with `text`
        first = read_block();
        has_first = true;
        format = text_format(first.bytes);
    }

    Block read_block() {
        BGZF* f = text.get();
        f->block_offset = f->block_length = 0;
        errno = 0;
        if (bgzf_read_block(f) != 0) {
            if ((f->errcode & (BGZF_ERR_ZLIB | BGZF_ERR_CRC | BGZF_ERR_HEADER)) == 0 && errno != 0)
                return {{}, fmt::format("reading failed: {}; hint: check the disk", std::strerror(errno))};
            return {{},
                    "the compressed data is damaged or cut short; hint: copy it again, test with gzip -t"};
        }
        if (f->block_length <= 0) {
            if (bgzf_compression(f) == 2 && f->no_eof_block)
                return {{}, "cut short: the end block of bgzip is missing; hint: copy it again"};
            return {};
        }
        return {{static_cast<const char*>(f->uncompressed_block), static_cast<size_t>(f->block_length)}, {}};
    }
};

InputFile::InputFile(const std::string& path) : impl_(std::make_unique<Impl>(path)) {}
InputFile::~InputFile() = default;
InputFile::InputFile(InputFile&&) noexcept = default;
InputFile& InputFile::operator=(InputFile&&) noexcept = default;

const std::string& InputFile::path() const {
    return impl_->path;
}
SequenceFormat InputFile::format() const {
    return impl_->format;
}

InputFile::Block InputFile::next_block() {
    CHECK(impl_->text);
    if (std::exchange(impl_->has_first, false)) return impl_->first;
    return impl_->read_block();
}

namespace {

// A line of a .fai: where the letters of a sequence stand in the (uncompressed) file.
struct FaiRow {
    FaiFile::Sequence sequence;
    int64_t offset = 0, line_letters = 0, line_bytes = 0;
    // Of the last letter; -1 where there is none.
    int64_t last_offset() const {
        if (sequence.length <= 0 || line_letters <= 0) return -1;
        const int64_t last = sequence.length - 1;
        return offset + last / line_letters * line_bytes + last % line_letters;
    }
};

struct Line {
    kstring_t text = KS_INITIALIZE;
    Line() = default;
    ~Line() { ks_free(&text); }
    Line(const Line&) = delete;
    Line& operator=(const Line&) = delete;
};

// The next line that is not blank; empty at the end of the file.
std::string_view next_line(BGZF* file, Line& line) {
    while (bgzf_getline(file, '\n', &line.text) >= 0) {
        const std::string_view text(ks_str(&line.text), ks_len(&line.text));
        if (text.find_first_not_of(" \t\r") != text.npos) return text;
    }
    return {};
}

bool is_header_of(std::string_view line, const std::string& name) {
    if (!line.starts_with('>')) return false;
    line.remove_prefix(std::min(line.find_first_not_of(" \t", 1), line.size()));
    return line.substr(0, line.find_first_of(" \t\r")) == name;
}

}  // namespace

struct FaiFile::Impl {
    FaidxPtr fai;
    std::string fasta, path, gzi;

    std::vector<FaiRow> rows() const {
        // Lengths past 2^31 are not to be had from every htslib.
        std::vector<FaiRow> all;
        std::ifstream lines(path);
        for (FaiRow r; std::getline(lines, r.sequence.name, '\t') &&
                       lines >> r.sequence.length >> r.offset >> r.line_letters >> r.line_bytes;) {
            lines.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
            all.push_back(r);
        }
        return all;
    }
};

FaiFile::FaiFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FaiFile::~FaiFile() = default;

bool FaiFile::build(const std::string& fasta, const std::string& fai, const std::string& gzi) {
    hts_set_log_level(HTS_LOG_OFF);
    return fai_build3(fasta.c_str(), fai.c_str(), gzi.c_str()) == 0;
}

std::unique_ptr<FaiFile> FaiFile::open(const std::string& fasta, const std::string& fai, const std::string& gzi) {
    hts_set_log_level(HTS_LOG_OFF);
    FaidxPtr opened(fai_load3(fasta.c_str(), fai.c_str(), gzi.c_str(), 0));
    if (!opened) return nullptr;
    return std::unique_ptr<FaiFile>(
        new FaiFile(std::make_unique<Impl>(Impl{std::move(opened), fasta, fai, gzi})));
}

std::vector<FaiFile::Sequence> FaiFile::sequences() const {
    std::vector<Sequence> all;
    for (FaiRow& r : impl_->rows()) all.push_back(std::move(r.sequence));
    return all;
}

bool FaiFile::accounts_for_all() const {
    const BgzfPtr file(bgzf_open(impl_->fasta.c_str(), "r"));
    if (!file) return false;
    const bool is_bgzip = bgzf_compression(file.get()) == bgzf;
    if (is_bgzip && bgzf_index_load(file.get(), impl_->gzi.c_str(), nullptr) < 0) return false;
    std::unordered_set<std::string> names;
    Line line;
    for (const FaiRow& r : impl_->rows()) {
        if (!names.insert(r.sequence.name).second ||
            !is_header_of(next_line(file.get(), line), r.sequence.name) ||
            bgzf_utell(file.get()) != r.offset || r.last_offset() < 0 ||
            bgzf_useek(file.get(), r.last_offset(), SEEK_SET) < 0 || bgzf_getc(file.get()) < 0)
            return false;
        const int next = bgzf_peek(file.get());
        if (next >= 0 && next != '\n' && next != '\r') return false;
    }
    return next_line(file.get(), line).empty();
}

bool FaiFile::fetch(const std::string& name, int64_t begin, int64_t n, std::string& letters) const {
    hts_pos_t got = 0;
    const std::unique_ptr<char, Close<std::free>> text(
        faidx_fetch_seq64(impl_->fai.get(), name.c_str(), begin, begin + n - 1, &got));
    if (!text || got != n) return false;
    letters.assign(text.get(), static_cast<size_t>(got));
    return true;
}

struct AlignmentFile::Impl {
    std::string path;
    bool has_reference;
    HtsPtr file;
    HeaderPtr header;
    BamPtr record;
    int64_t n_records = 0;
    std::string last_name;

    Impl(InputFile::Impl& input, const std::string& reference)
        : path(input.path), has_reference(!reference.empty()), record(bam_init1()) {
        CHECK(input.stream && record);
        file.reset(hts_hopen(input.stream.get(), path.c_str(), "r"));
        if (file) input.stream.release();  // now closed with `file`
        if (file && !reference.empty() && is_cram()) use_reference(reference);
        if (file && is_cram()) forget_other_sources();
        if (file) header.reset(sam_hdr_read(file.get()));
        if (!header) {
            fail(
                "[reads] {}: the header of this {} file is damaged or cut short; hint: copy it again, test "
                "with "
                "samtools quickcheck",
                path, name_of(input.format));
        }
    }

    bool is_cram() const { return file->format.format == cram; }

    void use_reference(const std::string& reference) {
        std::error_code reason;
        const std::filesystem::path absolute = std::filesystem::absolute(reference, reason);
        if (!std::filesystem::is_regular_file(absolute, reason))
            fail("[reads] reference {}: no such file; hint: check the path", reference);
        // Its index first, made where there is none: htslib's CRAM reader leaks when it finds it cannot.
        if (!FaidxPtr(fai_load(absolute.c_str())) ||
            hts_set_opt(file.get(), CRAM_OPT_REFERENCE, absolute.c_str()) != 0) {
            fail(
                "[reads] reference {}: cannot be used: it must be a FASTA file, plain or bgzip, whose index "
                "{}.fai exists or can be written; hint: samtools faidx {}",
                reference, reference, reference);
        }
    }

    // A CRAM names its reference by checksum (M5) and by place (UR). For letters that the given file lacks
    // htslib would follow them: to REF_CACHE, REF_PATH, by default to a server. Without these tags there is
    // nothing to follow.
    void forget_other_sources() {
        sam_hdr_t* h = cram_fd_get_header(file->fp.cram);
        const int n = h ? sam_hdr_count_lines(h, "SQ") : 0;
        for (int i = 0; i < n; ++i) {
            const char* name = sam_hdr_line_name(h, "SQ", i);
            if (!name) continue;
            sam_hdr_remove_tag_id(h, "SQ", "SN", name, "M5");
            sam_hdr_remove_tag_id(h, "SQ", "SN", name, "UR");
        }
    }

    template <class... Args>
    [[noreturn]] void bad(fmt::format_string<Args...> format, Args&&... args) const {
        const std::string after = last_name.empty() ? "" : fmt::format(" (after {})", last_name);
        fail("[reads] {}: record {}{}{}: {}", path, n_records, after, place(),
             fmt::format(format, std::forward<Args>(args)...));
    }

    std::string place() const {
        if (file->format.format == sam) return fmt::format(", line {}", file->lineno);
        if (is_cram()) return fmt::format(", before byte {}", htell(cram_fd_get_fp(file->fp.cram)));
        return fmt::format(", near byte {}", bgzf_tell(file->fp.bgzf) >> 16);
    }

    bool read();
    void take(Alignment& a) const;
};

bool AlignmentFile::Impl::read() {
    ++n_records;
    const int rc = sam_read1(file.get(), header.get(), record.get());
    if (rc >= 0) return true;
    const bool at_end = rc == -1;
    if (!at_end && is_cram()) {
        bad("cannot be decoded: {}",
            has_reference ? "the file is damaged, or the reference lacks its contig or has other letters; "
                            "hint: give the FASTA "
                            "that the CRAM was made with, test the file with samtools quickcheck"
                          : "the file is damaged, or it needs the FASTA that it was made with; hint: "
                            "--reference FASTA");
    }
    if (!at_end) bad("is damaged or cut short; hint: copy it again, test with samtools quickcheck");
    if (is_cram() && cram_eof(file->fp.cram) != 1)
        bad("cut short: the end block of CRAM is missing; hint: copy it again");
    if (file->is_bgzf && bgzf_compression(file->fp.bgzf) == 2 && file->fp.bgzf->no_eof_block)
        bad("cut short: the end block of bgzip is missing; hint: copy it again");
    return false;
}

void AlignmentFile::Impl::take(Alignment& a) const {
    const bam1_t* b = record.get();
    const auto n = static_cast<size_t>(b->core.l_qseq);
    a.name = bam_get_qname(b);
    a.flags = b->core.flag;
    a.sequence.resize(n);
    const uint8_t* bases = bam_get_seq(b);
    for (size_t i = 0; i < n; ++i) a.sequence[i] = seq_nt16_str[bam_seqi(bases, i)];
    const uint8_t* qualities = bam_get_qual(b);
    if (n > 0 && qualities[0] != 0xff)
        a.qualities.assign(reinterpret_cast<const char*>(qualities), n);
    else
        a.qualities.clear();
}

AlignmentFile::AlignmentFile(InputFile file, const std::string& reference)
    : impl_(std::make_unique<Impl>(*file.impl_, reference)) {}
AlignmentFile::~AlignmentFile() = default;
AlignmentFile::AlignmentFile(AlignmentFile&&) noexcept = default;

bool AlignmentFile::next(Alignment& alignment) {
    if (!impl_->read()) return false;
    impl_->take(alignment);
    impl_->last_name = alignment.name;
    return true;
}

}  // namespace adder
