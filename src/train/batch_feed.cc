#include "train/batch_feed.h"

namespace adder {

BatchFeed::BatchFeed(Gpu& gpu, const TokenRange& range, Memory memory) : gpu_(gpu), range_(range) {
    for (size_t i = 0; i < places_.size(); ++i) {
        places_[i].memory = std::move(memory[i]);
        places_[i].pinned = PinnedMemory(capacity_bytes(), "packed batches");
    }
}

void BatchFeed::configure(int64_t B, int64_t L) {
    bytes_ = bytes_of(range_, B, L);
    CHECK(bytes_ <= capacity_bytes());
    filled_ = Batch(B, L);
    for (Place& p : places_) {
        p.on_host = PackedBatch::at(p.pinned.data(), Device::cpu, range_.all(), B, L);
        p.on_device = PackedBatch::at(p.memory.ref().data, Device::cuda, range_.all(), B, L);
        p.step = -1;
    }
}

void BatchFeed::make(Place& place, int64_t step, int64_t micro, const FillBatch& fill) {
    place.step = -1;
    fill(step, micro, filled_);
    place.uploaded.synchronize();  // the last batch has left this memory
    pack(filled_, range_, place.on_host);
    place.on_device.filled = filled_.filled;
    place.consumed.wait_in(gpu_.copy_stream());
    copy_async(place.memory.ref().data, place.pinned.data(), bytes_, gpu_.copy_stream());
    place.uploaded.record(gpu_.copy_stream());
    place.step = step;
    place.micro = micro;
}

const PackedBatch& BatchFeed::take(int64_t step, int64_t micro, const FillBatch& fill) {
    present_ = 1 - present_;
    Place& place = places_[present_];
    if (place.step != step || place.micro != micro) make(place, step, micro, fill);
    place.uploaded.wait_in(gpu_.stream());
    return place.on_device;
}

void BatchFeed::done() {
    places_[present_].consumed.record(gpu_.stream());
    places_[present_].step = -1;
}

void BatchFeed::prepare(int64_t step, int64_t micro, const FillBatch& fill) {
    make(places_[1 - present_], step, micro, fill);
}

}  // namespace adder
