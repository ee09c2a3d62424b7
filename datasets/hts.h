// Opened inputs: what they are, told from their first bytes; their text, decompressed; their alignments. The
// only user of htslib.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace adder {

enum class SequenceFormat { fasta, fastq, sam, bam, cram, other };

// "FASTA", ..., for messages.
const char* name_of(SequenceFormat format);

// A file, or standard input for "-", opened once. Its format is known before anything is consumed, so that
// the reader of that format gets all of it, from a pipe too. Move-only.
class InputFile {
  public:
    // Errors: missing or unreadable, a folder. Other systems than the local files are never asked.
    explicit InputFile(const std::string& path);
    ~InputFile();
    InputFile(InputFile&&) noexcept;
    InputFile& operator=(InputFile&&) noexcept;

    const std::string& path() const;
    // After decompression; FASTA and FASTQ may begin with blank lines. What is damaged, empty or of another
    // format is `other`: its reader says what is wrong with it.
    SequenceFormat format() const;

    struct Block {
        std::string_view bytes;  // valid until the next call; empty at the end
        std::string damage;      // not empty: why there is no more, with a hint
    };
    // The next bytes after decompression (plain, gzip of any number of members, bgzip). For bgzip the end
    // block must be there. Not for SAM, BAM and CRAM.
    Block next_block();

  private:
    friend class AlignmentFile;
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// The index of a FASTA file, plain or bgzip, as `samtools faidx` writes it: a .fai, and for bgzip a .gzi beside it.
class FaiFile {
  public:
    struct Sequence {
        std::string name;
        int64_t length = 0;
    };
    // Writes an index of `fasta`; false where it has none (gzip, lines of uneven length, a place that cannot be written).
    static bool build(const std::string& fasta, const std::string& fai, const std::string& gzi);
    // Null where there is no index of that name or it is damaged.
    static std::unique_ptr<FaiFile> open(const std::string& fasta, const std::string& fai, const std::string& gzi);
    ~FaiFile();

    std::vector<Sequence> sequences() const;  // in the order of the file
    // Whether the file is what the index says, as far as its headers show: each name once, and beside the
    // lines of the sequences nothing but their headers. samtools leaves out what has the name of an earlier
    // record. Reads the headers alone.
    bool accounts_for_all() const;
    // Letters [begin, begin + n) of a sequence; false where the file does not give so many.
    bool fetch(const std::string& name, int64_t begin, int64_t n, std::string& letters) const;

  private:
    struct Impl;
    explicit FaiFile(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

// Flags of the SAM specification, section 1.4.2.
enum AlignmentFlag : uint32_t {
    kPaired = 0x1,
    kReverse = 0x10,
    kFirstMate = 0x40,
    kLastMate = 0x80,
    kSecondary = 0x100,
    kQcFail = 0x200,
    kDuplicate = 0x400,
    kSupplementary = 0x800,
};

struct Alignment {
    std::string name;       // "*" where the file has none
    uint32_t flags = 0;     // AlignmentFlag
    std::string sequence;   // IUPAC letters, upper case, as in the file: reverse strands are not turned back
    std::string qualities;  // as many Phred values (0-93), or empty where the file has none
};

// The records of SAM, BAM or CRAM.
class AlignmentFile {
  public:
    // `reference` is the FASTA file that a CRAM was made with, plain or bgzip with or beside a place for its
    // .fai; "" where it is not needed. Letters that the reference lacks are an Error: neither the network nor
    // REF_PATH, REF_CACHE or the header's paths are asked. Errors: a damaged header; a reference that cannot
    // be used.
    AlignmentFile(InputFile file, const std::string& reference);
    ~AlignmentFile();
    AlignmentFile(AlignmentFile&&) noexcept;
    // False only at a clean end: a BAM or CRAM whose end block is missing is an Error. Errors name file,
    // record, the record before it and the place in the file.
    bool next(Alignment& alignment);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace adder
