// Symbols of a record whose length is not known before its end, as one vector in the end and never held twice.
#pragma once
#include <cstdint>
#include <vector>

namespace adder {

class SymbolBuffer {
  public:
    // How many symbols will come, where that is known: then they are written where they stay.
    void expect(int64_t n);
    // Where to append the next symbols. Valid until the next call of this object.
    std::vector<uint8_t>& room();
    int64_t size() const;
    // Everything appended, in memory of just that size; the buffer is empty afterwards. Takes as much more
    // memory meanwhile as one block, or none where all were expected.
    std::vector<uint8_t> take();

  private:
    std::vector<std::vector<uint8_t>> full_;
    std::vector<uint8_t> last_;
    int64_t expected_ = 0;
};

}  // namespace adder
