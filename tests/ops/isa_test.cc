#include "kernels/common/isa.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace adder {
namespace {

TEST(Isa, every_available_one_can_be_forced_and_the_best_is_the_default) {
    const std::vector<std::string> isas = available_isas();
    ASSERT_FALSE(isas.empty());
    EXPECT_EQ(isas.back(), "baseline");
    for (const std::string& isa : isas) {
        force_isa(isa);
        EXPECT_EQ(current_isa(), isa);
        EXPECT_EQ(available_isas(), isas);
    }
    force_isa("");
    EXPECT_EQ(current_isa(), isas.front());
    EXPECT_FALSE(openblas_core().empty());
}

TEST(Isa, an_unknown_one_is_refused_with_the_choices) {
    try {
        force_isa("altivec");
        FAIL() << "accepted";
    } catch (const Error& e) {
        EXPECT_THAT(e.what(), testing::HasSubstr("altivec"));
        for (const std::string& isa : available_isas()) EXPECT_THAT(e.what(), testing::HasSubstr(isa));
    }
    EXPECT_EQ(current_isa(), available_isas().front());
}

}  // namespace
}  // namespace adder
