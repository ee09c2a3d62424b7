#include "datasets/reads.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "datasets/fastq.h"

namespace adder {

namespace {

// Of the 4-bit codes of BAM; others do not occur there.
char complement_of(char base) {
    constexpr std::string_view kFrom = "ACGTMRWSYKVHDBN", kTo = "TGCAKYWSRMBDHVN";
    const size_t i = kFrom.find(base);
    return i == kFrom.npos ? base : kTo[i];
}

void turn_back(Read& read) {
    std::reverse(read.qualities.begin(), read.qualities.end());
    std::reverse(read.sequence.begin(), read.sequence.end());
    for (char& base : read.sequence) base = complement_of(base);
}

// '-' and '*' in FASTQ stand for no base; returns how many there were.
int64_t remove_gaps(Read& read) {
    const auto is_gap = [](char c) { return c == '-' || c == '*'; };
    const size_t n = read.sequence.size();
    if (std::none_of(read.sequence.begin(), read.sequence.end(), is_gap)) return 0;
    size_t to = 0;
    for (size_t i = 0; i < n; ++i) {
        if (is_gap(read.sequence[i])) continue;
        read.sequence[to] = read.sequence[i];
        read.qualities[to++] = read.qualities[i];
    }
    read.sequence.resize(to);
    read.qualities.resize(to);
    return static_cast<int64_t>(n - to);
}

bool ends_in_mate(std::string_view name) {
    return name.size() > 2 && name[name.size() - 2] == '/' && (name.back() == '1' || name.back() == '2');
}

// Casava 1.8: "1:N:18:ATCACG": mate, whether it failed the filter of the machine, control bits, index.
struct CasavaComment {
    char mate = 0;
    bool failed = false;

    explicit CasavaComment(std::string_view c) {
        if (c.size() < 5 || c[1] != ':' || c[3] != ':' || !std::isdigit(static_cast<unsigned char>(c[4])))
            return;
        if ((c[0] != '1' && c[0] != '2') || (c[2] != 'Y' && c[2] != 'N')) return;
        mate = c[0];
        failed = c[2] == 'Y';
    }
};

// Why a record is no read of its own, or 0.
using Reason = int64_t ReadCounts::*;

Reason dropped_by_flags(uint32_t flags) {
    if (flags & kSecondary) return &ReadCounts::secondary;
    if (flags & kSupplementary) return &ReadCounts::supplementary;
    if (flags & kDuplicate) return &ReadCounts::duplicate;
    if (flags & kQcFail) return &ReadCounts::qc_fail;
    return nullptr;
}

}  // namespace

double mean_quality(std::string_view qualities) {
    CHECK(!qualities.empty());
    static const std::array<double, 256> error = [] {
        std::array<double, 256> e{};
        for (size_t q = 0; q < e.size(); ++q) e[q] = std::pow(10, -0.1 * static_cast<double>(q));
        return e;
    }();
    double sum = 0;
    for (const char q : qualities) sum += error[static_cast<unsigned char>(q)];
    return -10 * std::log10(sum / static_cast<double>(qualities.size()));
}

ReadCounts& ReadCounts::operator+=(const ReadCounts& other) {
    for (const Reason field :
         {&ReadCounts::read, &ReadCounts::kept, &ReadCounts::secondary, &ReadCounts::supplementary,
          &ReadCounts::duplicate, &ReadCounts::qc_fail, &ReadCounts::empty, &ReadCounts::too_short,
          &ReadCounts::unknown_quality, &ReadCounts::low_quality, &ReadCounts::kept_bases,
          &ReadCounts::masked_bases, &ReadCounts::unresolved_bases, &ReadCounts::skipped,
          &ReadCounts::reversed, &ReadCounts::without_qualities})
        this->*field += other.*field;
    return *this;
}

std::string ReadCounts::text(const ReadFilter& filter) const {
    std::string reasons, notes;
    const auto add = [](std::string& to, int64_t n, const std::string& what) {
        if (n > 0) to += fmt::format("{}{} {}", to.empty() ? "" : ", ", n, what);
    };
    add(reasons, secondary, "secondary");
    add(reasons, supplementary, "supplementary");
    add(reasons, duplicate, "duplicate");
    add(reasons, qc_fail, "QC-fail");
    add(reasons, empty, "without sequence");
    add(reasons, too_short, fmt::format("shorter than {} bases", filter.min_length));
    add(reasons, unknown_quality, "without qualities");
    add(reasons, low_quality, fmt::format("of mean quality below {}", filter.min_quality));
    add(notes, reversed, "turned back to read orientation");
    add(notes, without_qualities, "without qualities");
    add(notes, masked_bases, fmt::format("bases of quality below {} read as N", filter.min_base_quality));
    add(notes, skipped, "'-' and '*' skipped");
    add(notes, unresolved_bases, "bases given as '=' read as N");
    return fmt::format("{} reads, {} kept ({} bases), {} dropped{}{}{}", read, kept, kept_bases, dropped(),
                       reasons.empty() ? "" : ": " + reasons, notes.empty() ? "" : "; of the kept: ", notes);
}

struct ReadsReader::Impl {
    ReadFilter filter;
    ReadCounts counts;
    std::string path;
    std::unique_ptr<FastqReader> fastq;
    std::unique_ptr<AlignmentFile> alignments;
    FastqRecord record;
    Alignment alignment;
    int64_t n_gaps = 0;  // left out of the current read

    Impl(InputFile file, const ReadFilter& f, const std::string& reference) : filter(f), path(file.path()) {
        switch (file.format()) {
            case SequenceFormat::fastq:
                fastq = std::make_unique<FastqReader>(std::move(file));
                return;
            case SequenceFormat::sam:
            case SequenceFormat::bam:
            case SequenceFormat::cram:
                alignments = std::make_unique<AlignmentFile>(std::move(file), reference);
                return;
            default:
                fail("[reads] {}: expected FASTQ, SAM, BAM or CRAM, got {}; hint: check the file", path,
                     name_of(file.format()));
        }
    }

    // The next record, in read orientation, or false at the end. Without `reason` still to be filtered.
    bool next_record(Read& read, Reason& reason) {
        reason = nullptr;
        if (fastq) {
            if (!fastq->next(record)) return false;
            take_fastq(read, reason);
        } else {
            if (!alignments->next(alignment)) return false;
            reason = dropped_by_flags(alignment.flags);
            if (!reason) take_alignment(read);
        }
        return true;
    }

    void take_fastq(Read& read, Reason& reason) {
        const CasavaComment comment(record.comment);
        if (comment.failed) reason = &ReadCounts::qc_fail;
        read.name = record.name;
        if (comment.mate && !ends_in_mate(read.name)) read.name += {'/', comment.mate};
        read.sequence.swap(record.sequence);
        read.qualities.swap(record.qualities);
        std::replace(read.sequence.begin(), read.sequence.end(), '.', 'N');
        n_gaps = remove_gaps(read);
    }

    void take_alignment(Read& read) {
        read.name = alignment.name == "*" ? fmt::format("read{}", counts.read + 1) : alignment.name;
        const uint32_t mate = alignment.flags & (kFirstMate | kLastMate);
        if ((alignment.flags & kPaired) && (mate == kFirstMate || mate == kLastMate))
            read.name += mate == kFirstMate ? "/1" : "/2";
        read.sequence.swap(alignment.sequence);
        read.qualities.swap(alignment.qualities);
        if (alignment.flags & kReverse) turn_back(read);
    }

    Reason dropped_by_filter(const Read& read) const {
        if (read.sequence.empty()) return &ReadCounts::empty;
        if (static_cast<int64_t>(read.sequence.size()) < filter.min_length) return &ReadCounts::too_short;
        if (read.qualities.empty()) return filter.needs_qualities() ? &ReadCounts::unknown_quality : nullptr;
        if (filter.min_quality > 0 && mean_quality(read.qualities) < filter.min_quality)
            return &ReadCounts::low_quality;
        return nullptr;
    }

    // '=' says that the base is that of the reference.
    void resolve(Read& read) {
        for (char& base : read.sequence) {
            if (base != '=') continue;
            base = 'N';
            ++counts.unresolved_bases;
        }
    }

    void mask(Read& read) {
        for (size_t i = 0; i < read.qualities.size(); ++i) {
            if (read.qualities[i] >= filter.min_base_quality) continue;
            read.sequence[i] = 'N';
            ++counts.masked_bases;
        }
    }

    void keep(Read& read) {
        if (alignments) resolve(read);
        counts.skipped += n_gaps;
        if (filter.min_base_quality > 0) mask(read);
        ++counts.kept;
        counts.kept_bases += static_cast<int64_t>(read.sequence.size());
        counts.without_qualities += read.qualities.empty();
        counts.reversed += alignments && (alignment.flags & kReverse);
    }
};

ReadsReader::ReadsReader(InputFile file, const ReadFilter& filter, const std::string& reference)
    : impl_(std::make_unique<Impl>(std::move(file), filter, reference)) {}
ReadsReader::~ReadsReader() = default;
ReadsReader::ReadsReader(ReadsReader&&) noexcept = default;

const ReadCounts& ReadsReader::counts() const {
    return impl_->counts;
}

bool ReadsReader::next(Read& read) {
    for (Reason reason; impl_->next_record(read, reason);) {
        if (!reason) reason = impl_->dropped_by_filter(read);
        ++impl_->counts.read;
        if (!reason) {
            impl_->keep(read);
            return true;
        }
        ++(impl_->counts.*reason);
    }
    return false;
}

}  // namespace adder
