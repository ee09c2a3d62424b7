#include "datasets/fasta_index.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "datasets/fasta.h"
#include "io/file.h"

namespace adder {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kRun = 1 << 20;

// Removes what was not given its final name.
struct Temporary {
    std::string path;
    explicit Temporary(const std::string& final_path) {
        path = (fs::path(final_path).parent_path() / temporary_name()).string();
    }
    ~Temporary() {
        std::error_code ignored;
        fs::remove(path, ignored);
    }
    Temporary(const Temporary&) = delete;
    Temporary& operator=(const Temporary&) = delete;
    bool exists() const {
        std::error_code ignored;
        return fs::exists(path, ignored);
    }
};

// Whether the index gives every letter that the reader gives, and no other.
bool agree(const FaiFile& index, const std::string& fasta) {
    const std::vector<FaiFile::Sequence> sequences = index.sequences();
    FastaReader reader(fasta);
    size_t i = 0;
    std::string indexed;
    for (FastaRecord record; reader.next_header(record); ++i) {
        if (i == sequences.size() || sequences[i].name != record.name) return false;
        int64_t at = 0, window = 0;  // letters read; letters before those in `indexed`
        indexed.clear();
        for (std::string_view run; !(run = reader.next_letters()).empty();) {
            while (!run.empty()) {
                const auto inside = static_cast<size_t>(at - window);
                if (inside == indexed.size()) {
                    window = at;
                    const int64_t n = std::min(kRun, sequences[i].length - at);
                    if (n <= 0 || !index.fetch(record.name, at, n, indexed)) return false;
                    continue;
                }
                const size_t n = std::min(run.size(), indexed.size() - inside);
                if (std::string_view(indexed).substr(inside, n) != run.substr(0, n)) return false;
                run.remove_prefix(n);
                at += static_cast<int64_t>(n);
            }
        }
        if (at != sequences[i].length || reader.has_blanks()) return false;
    }
    return i == sequences.size();
}

void build(const std::string& fasta) {
    remove_abandoned(fasta);
    const Temporary fai(fasta + ".fai"), gzi(fasta + ".gzi");
    if (!FaiFile::build(fasta, fai.path, gzi.path)) return;
    {
        const auto index = FaiFile::open(fasta, fai.path, gzi.path);
        if (!index || !agree(*index, fasta)) return;
    }
    std::error_code ignored;
    if (gzi.exists()) fs::rename(gzi.path, fasta + ".gzi", ignored);
    fs::rename(fai.path, fasta + ".fai", ignored);
}

bool is_fresh(const std::string& fai, const std::string& fasta) {
    std::error_code missing, ignored;
    const auto built = fs::last_write_time(fai, missing);
    return !missing && built >= fs::last_write_time(fasta, ignored);
}

}  // namespace

FastaIndex::FastaIndex(std::string fasta, std::unique_ptr<FaiFile> file)
    : fasta_(std::move(fasta)), file_(std::move(file)), sequences_(file_->sequences()) {}

std::unique_ptr<FastaIndex> FastaIndex::of(const std::string& fasta) {
    std::error_code ignored;
    if (!fs::is_regular_file(fasta, ignored)) return nullptr;
    if (!is_fresh(fasta + ".fai", fasta)) build(fasta);
    if (!is_fresh(fasta + ".fai", fasta)) return nullptr;
    auto file = FaiFile::open(fasta, fasta + ".fai", fasta + ".gzi");
    if (!file || !file->accounts_for_all()) return nullptr;
    return std::unique_ptr<FastaIndex>(new FastaIndex(fasta, std::move(file)));
}

bool FastaIndex::read(const FaiFile::Sequence& sequence, int64_t begin, int64_t end,
                      const std::function<void(std::string_view)>& on_run) const {
    if (begin < 0 || begin > end || end > sequence.length)
        fail("[fasta] {}: {}:{}-{} is outside of the sequence, which has {} letters", fasta_, sequence.name, begin, end,
             sequence.length);
    std::string letters;
    for (int64_t at = begin; at < end; at += kRun) {
        if (!file_->fetch(sequence.name, at, std::min(kRun, end - at), letters)) return false;
        if (!std::all_of(letters.begin(), letters.end(), [](unsigned char c) { return std::isalpha(c); }))
            return false;
        on_run(letters);
    }
    return true;
}

}  // namespace adder
