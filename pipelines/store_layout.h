// What the writer and the reader of token stores agree on, beside the page in store.h.
#pragma once
#include <array>
#include <cstdint>

namespace adder::store {

inline constexpr const char* kFormat = "adder token store";
inline constexpr int64_t kVersion = 1;
// Texts of a record: bytes under this name, their number under the name with "_bytes" behind it.
inline constexpr std::array<const char*, 3> kTexts{"record/name", "record/label", "record/group"};
// Of records of which some are reads; 1 = it is one.
inline constexpr const char* kIsRead = "record/is_read";
inline constexpr std::array<const char*, 4> kSplitColumns{"split/part", "split/record", "split/begin", "split/end"};

}  // namespace adder::store
