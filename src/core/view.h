// View: a typed, strided window, trivially copyable, passed by value into kernels (constexpr is what lets those call it).
#pragma once
#include <cstdint>

namespace adder {

// Row-major; strides count elements; stride[R-1] == 1 unless R == 0. A null `data` means "not given".
template <class T, int R>
struct View {
    T* data = nullptr;
    int64_t shape[R] = {};
    int64_t stride[R] = {};

    constexpr explicit operator bool() const { return data != nullptr; }

    template <class... I>
    constexpr T& operator()(I... index) const {
        static_assert(sizeof...(I) == R);
        const int64_t at[] = {static_cast<int64_t>(index)...};
        int64_t offset = 0;
        for (int r = 0; r < R; ++r) offset += at[r] * stride[r];
        return data[offset];
    }
};

}  // namespace adder
