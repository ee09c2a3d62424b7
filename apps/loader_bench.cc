// The data side: windows of made-up sequences, and packing them for a GPU.
#include "apps/bench_parts.h"
#include "core/rng.h"

namespace adder {

namespace {

// Contigs as a draft assembly has them.
constexpr int64_t kDraftTokens = 6'400'000, kDraftContig = 100'000;

std::vector<TokenRecord> made_up_contigs(int64_t length) {
    const Philox random(1, Stream::test);
    std::vector<TokenRecord> records(static_cast<size_t>(std::max<int64_t>(2, kDraftTokens / length)));
    for (size_t r = 0; r < records.size(); ++r) {
        records[r].symbols.resize(static_cast<size_t>(length));
        for (size_t i = 0; i < records[r].symbols.size(); ++i)
            records[r].symbols[i] = static_cast<uint8_t>(random.u64(i, static_cast<uint32_t>(r)) >> 62);
    }
    return records;
}

}  // namespace

BenchWindows::BenchWindows(int64_t B, int64_t L, int64_t contig_length)
    : records_(made_up_contigs(std::max(contig_length, kDraftContig))),
      tokenizer_(find_domain("dna").make_tokenizer({})),
      sampler_(records_, whole_records(records_), *tokenizer_, {{{1, L, B}}, 1, 1, 0.5}) {}

ModelTiming time_loader(const ModelCase& c, int64_t runs) {
    const BenchWindows windows(c.B, c.L, kDraftContig);
    Batch batch(c.B, c.L);
    const Tensor memory(DType::u8, {PackedBatch::bytes(kBenchVocabulary, c.B, c.L)});
    const PackedBatch packed = PackedBatch::at(memory.ref().data, Device::cpu, kBenchVocabulary, c.B, c.L);
    const int64_t steps = std::max<int64_t>(1, (1 << 20) / (c.B * c.L));
    int64_t step = 0;
    ModelTiming timing;
    const auto fill = [&] {
        const auto begin = BenchClock::now();
        for (int64_t i = 0; i < steps; ++i) {
            windows.fill(step++, batch);
            pack(batch, kBenchVocabulary, packed);
        }
        return ms_since(begin) / static_cast<double>(steps);
    };
    fill();
    take_times(runs, 1e4, fill, timing);
    timing.memory_bytes = memory.ref().bytes() + batch.B * batch.L * (2 + 2 + 4 + 1);
    timing.tokens_per_s = 1e3 * static_cast<double>(c.B * c.L) / timing.best_ms;
    return timing;
}

}  // namespace adder
