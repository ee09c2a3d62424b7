// The reference measured without the compiler's vectoriser, for `adder bench`.
//
// A reference whose unvectorised time is quoted takes a second template parameter, `class Build = AsBuilt`,
// and so does every function with a loop that it calls. The file kernels/<op>/<op>_not_vectorized.cc defines
// P::ref_forward_not_vectorized and P::ref_backward_not_vectorized by calling the reference with Build =
// NotVectorized; CMake compiles files of that name with -fno-tree-vectorize. Because no other file
// instantiates the reference with that tag, the linker has no vectorised copy that it could put in its place.
#pragma once

namespace adder {

struct AsBuilt {};
struct NotVectorized {};

}  // namespace adder
