// Work that is given to a GPU again and again, recorded.
#pragma once
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/ctx.h"

namespace adder {

// Graphs by what decides their launches and addresses. A piece of work runs as it is at first, because libraries choose
// and load their kernels then; the second time it is recorded, and from then on the record is replayed: whatever else the
// work does on the host does not happen then. On the CPU, and while ops are metered, it always runs as it is.
class GraphCache {
  public:
    using Key = std::array<int64_t, 4>;

    template <class Work>
    void run(const Ctx& ctx, const Key& key, Work&& work) {
        if (ctx.device == Device::cpu || ctx.meter || !enabled_) return work();
        Entry* entry = find(key);
        if (!entry) {
            if (entries_.size() < kMostGraphs) entries_.push_back({key, {}});
            return work();
        }
        if (!entry->graph) entry->graph = Graph(*ctx.gpu, work);
        entry->graph.launch(ctx.gpu->stream());
    }
    void clear() { entries_.clear(); }
    // Off: everything runs as it is.
    void enable(bool on) { enabled_ = on; }

  private:
    struct Entry {
        Key key;
        Graph graph;
    };
    Entry* find(const Key& key) {
        for (Entry& e : entries_)
            if (e.key == key) return &e;
        return nullptr;
    }
    // Work of ever new shapes is not worth recording.
    static constexpr size_t kMostGraphs = 64;
    std::vector<Entry> entries_;
    bool enabled_ = true;
};

}  // namespace adder
