// Embeddings as an HDF5 file: `embedding` f32 (n,d), `name`, and `offset` i64 where a name has several rows.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/hdf5.h"
#include "io/scratch_file.h"

namespace adder {

enum class BothStrands { no, mean, concat };

// Rows come in any order and, with both strands, in two parts; rows that come in order go straight to the
// file, others wait in a scratch file beside it. The file appears with `commit`, or not at all. Memory does
// not depend on the rows.
class EmbeddingFile {
  public:
    // `n` rows, of `width` numbers a strand. `in_order`: of one strand, and put from the first to the last.
    EmbeddingFile(const std::string& path, int64_t n, int64_t width, BothStrands strands, bool in_order);

    // Rows [first, first + count): values (count,width). Each row once, with both strands twice: `part` is 0
    // for the numbers that stand first when concatenated, `again` is set the second time.
    void put(int64_t first, int64_t count, const float* values, int part, bool again);
    // `offsets`: n_names + 1 rows, where the rows of name i begin; empty = a row a name.
    void commit(const std::vector<std::string>& names, const std::vector<int64_t>& offsets,
                const std::vector<std::pair<std::string, Hdf5Value>>& attributes);

  private:
    Hdf5Writer writer_;
    std::unique_ptr<ScratchFile> waiting_;  // absent: in order
    int64_t n_, width_, columns_, next_ = 0;
    BothStrands strands_;
    std::vector<float> block_;
};

}  // namespace adder
