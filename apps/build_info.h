// What this binary was made from: commit, compiler, instruction sets, libraries.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace adder {

struct BuildInfo {
    std::string version;  // of adder
    std::string commit;   // "unknown" outside a git checkout; ends in "+changes" when files differ from it
    std::string compiler, build_type;
    std::vector<std::pair<std::string, std::string>> libraries;  // name, version
};
const BuildInfo& build_info();

// The answer to --version, several lines.
std::string version_text();

}  // namespace adder
