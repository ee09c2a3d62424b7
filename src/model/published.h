// Architectures of published raw-audio models, as far as their papers state them.
#pragma once
#include <span>
#include <string>

#include "model/config.h"

namespace adder {

// The U-Nets with Mamba blocks of Gu & Dao 2023 (arXiv 2312.00752): "sc09" (section 4.4.2, small), "sc09-large" and
// "youtubemix" (section 4.4.1, appendix E.4.1). They have 8, 15 and 3 blocks in each way through a stage, pools of 4, 4 and 16,
// widths that double, N 16, an expansion of 2, four taps and a head of its own. The rank of the step-size projection is not
// stated; M/32 meets the stated sizes. Their numbers are real here, where "youtubemix" had complex ones.
struct PublishedModel {
    const char* name;
    double parameters;  // as stated
    ModelConfig (*config)(int64_t vocabulary);
};

std::span<const PublishedModel> published_models();
// Throws Error listing the known names.
const PublishedModel& find_published_model(const std::string& name);

}  // namespace adder
