#include <string>

#include "core/error.h"
#include "pipelines/audio/audio.h"
#include "pipelines/dna/dna.h"
#include "pipelines/domain.h"

namespace adder {

namespace {
const Domain* const kDomains[] = {
    &dna::kDomain,
    &audio::kDomain,
};
}  // namespace

std::span<const Domain* const> domains() {
    return kDomains;
}

const Domain& find_domain(std::string_view name) {
    std::string known;
    for (const Domain* d : kDomains) {
        if (name == d->name) return *d;
        known += (known.empty() ? "" : ", ") + std::string(d->name);
    }
    throw UsageError(fmt::format("[domain] there is no domain '{}'; hint: the domains are {}", name, known));
}

}  // namespace adder
