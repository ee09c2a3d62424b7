// Symbols of a record whose length is not known before its end, as one vector in the end and never held twice.
#pragma once
#include <cstdint>
#include <vector>

namespace adder {

class SymbolBuffer {
  public:
    // Where to append the next symbols. Valid until the next call of this object.
    std::vector<uint8_t>& room();
    int64_t size() const;
    // Everything appended, in memory of just that size; the buffer is empty afterwards. Takes as much more memory meanwhile
    // as one block.
    std::vector<uint8_t> take();

  private:
    std::vector<std::vector<uint8_t>> full_;
    std::vector<uint8_t> last_;
};

}  // namespace adder
