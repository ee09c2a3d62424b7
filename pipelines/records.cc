#include "pipelines/records.h"

#include <algorithm>

#include "core/error.h"
#include "io/sha256.h"

namespace adder {

std::vector<Segment> whole_records(std::span<const TokenRecord> records) {
    std::vector<Segment> segments;
    for (size_t i = 0; i < records.size(); ++i)
        segments.push_back({static_cast<int64_t>(i), 0, static_cast<int64_t>(records[i].symbols.size())});
    return segments;
}

int64_t n_symbols(std::span<const Segment> segments) {
    int64_t n = 0;
    for (const Segment& s : segments) n += s.size();
    return n;
}

std::vector<Segment> first_symbols(std::span<const Segment> segments, int64_t limit) {
    std::vector<Segment> first;
    for (Segment s : segments) {
        if (limit <= 0) break;
        s.end = s.begin + std::min(s.size(), limit);
        limit -= s.size();
        first.push_back(s);
    }
    return first;
}

std::string digest_of(std::span<const TokenRecord> records) {
    Sha256 hash;
    for (const TokenRecord& r : records) {
        hash.update_u64(r.name.size());
        hash.update(r.name);
        hash.update_u64(r.symbols.size());
        hash.update(r.symbols.data(), static_cast<int64_t>(r.symbols.size()));
        if (r.class_token != kNoToken) hash.update_u64(r.class_token);
    }
    return hash.hex();
}

Member member_of(std::span<const TokenRecord> records, const Segment& s) {
    const TokenRecord& r = records[static_cast<size_t>(s.record)];
    return {std::span(r.symbols).subspan(static_cast<size_t>(s.begin), static_cast<size_t>(s.size())), r.class_token};
}

int64_t n_positions(const Tokenizer& tokenizer, const Member& member) {
    const int64_t n = tokenizer.n_tokens(static_cast<int64_t>(member.symbols.size()));
    return member.class_token != kNoToken ? n : std::max<int64_t>(n - 1, 0);
}

BatchRow row_of(Batch& batch, int64_t b) {
    CHECK(b >= 0 && b < batch.B);
    const int64_t at = b * batch.L;
    return BatchRow{batch.ids.ref().ptr<uint16_t>("ids"), batch.targets.ref().ptr<uint16_t>("targets"),
                    batch.weights.ref().ptr<float>("weights"), batch.start.ref().ptr<uint8_t>("start")} +
           at;
}

void write_piece(const Tokenizer& tokenizer, const Member& member, const Piece& piece, BatchRow to) {
    const int64_t count = piece.count;
    CHECK(piece.first >= 0 && count >= 0 && piece.first + count <= n_positions(tokenizer, member));
    CHECK(piece.begins || !piece.reverse);
    if (count == 0) return;
    const bool has_class = member.class_token != kNoToken;
    // Tokens [first, first + count] without a class, one fewer behind it: on either strand the first is no target.
    const int64_t first_target = piece.first + (has_class || piece.reverse ? 0 : 1);
    tokenizer.write(member.symbols, first_target, count, piece.reverse, to.targets, to.weights);
    if (piece.begins && has_class) {
        to.ids[0] = member.class_token;
    } else {
        float ignored;
        const int64_t before = piece.reverse ? piece.first + count : first_target - 1;
        tokenizer.write(member.symbols, before, 1, piece.reverse, to.ids, &ignored);
    }
    std::copy_n(to.targets, count - 1, to.ids + 1);
    std::fill_n(to.start, count, uint8_t{0});
    to.start[0] = piece.begins;
}

void write_padding(const Tokenizer& tokenizer, int64_t count, BatchRow to, bool begins) {
    std::fill_n(to.ids, count, tokenizer.pad());
    std::fill_n(to.targets, count, tokenizer.pad());
    std::fill_n(to.weights, count, 0.0f);
    std::fill_n(to.start, count, uint8_t{0});
    if (count > 0 && begins) to.start[0] = 1;
}

}  // namespace adder
