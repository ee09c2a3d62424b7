// A folder of its own for a test, removed at its end.
#pragma once
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace adder {

class Scratch {
  public:
    Scratch() {
        std::string name = (std::filesystem::temp_directory_path() / "adder-test-XXXXXX").string();
        if (!::mkdtemp(name.data())) throw std::runtime_error("no scratch folder");
        folder_ = name;
    }
    ~Scratch() {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    const std::string& folder() const { return folder_; }
    std::string path(const std::string& name) const { return folder_ + "/" + name; }
    // Writes a file and returns its path.
    std::string put(const std::string& name, std::string_view bytes) const {
        std::ofstream out(path(name), std::ios::binary | std::ios::trunc);
        out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        if (!out.flush()) throw std::runtime_error("cannot write " + path(name));
        return path(name);
    }
    std::string get(const std::string& name) const {
        std::ifstream in(path(name), std::ios::binary);
        if (!in) throw std::runtime_error("cannot read " + path(name));
        return {std::istreambuf_iterator<char>(in), {}};
    }
    int64_t n_files() const {
        return std::distance(std::filesystem::directory_iterator(folder_),
                             std::filesystem::directory_iterator());
    }

  private:
    std::string folder_;
};

// The text of the Error that `run` throws; "" and a failure when it throws none.
template <class Run>
std::string error_of(Run&& run) {
    try {
        run();
    } catch (const Error& e) {
        return e.what();
    }
    ADD_FAILURE() << "expected an Error";
    return "";
}

}  // namespace adder
