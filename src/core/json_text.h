// JSON that is written: its text is UTF-8 whatever bytes a file name or a label in it has.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace adder {

// Bytes that are no UTF-8 become U+FFFD. `indent` < 0: one line.
template <class Json>
std::string json_text(const Json& json, int indent = -1) {
    return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// Text as JSON gives it back: of names that are compared with what was stored of them.
inline std::string utf8_text(const std::string& text) {
    return nlohmann::json::parse(json_text(nlohmann::json(text))).get<std::string>();
}

}  // namespace adder
