#include "apps/eval_data.h"

#include <algorithm>
#include <filesystem>

#include "core/error.h"
#include "io/file.h"
#include "train/checkpoint.h"

namespace adder {

namespace {

// The split options, and what --valid-where refers to.
OptionList split_options(DataOptions& options) {
    OptionList all, split;
    options.add_split_to(all);
    options.audio.add_reading_to(all);
    for (const Option& o : all.all())
        if (o.name != "strict" && o.name != "spool") split.add(o);
    return split;
}

// What a checkpoint knows of the data of its run; nothing in those of other programs.
struct RunData {
    std::string digest, split_digest;
    std::vector<std::string> files;  // all that were read, held out or not
    DataOptions options;

    explicit RunData(const std::string& checkpoint) {
        std::error_code ignored;
        if (!std::filesystem::exists(checkpoint + "/run.json", ignored)) return;
        const nlohmann::json run = load_run(checkpoint);
        const nlohmann::json data = run.value("data", nlohmann::json::object());
        digest = data.value("digest", "");
        split_digest = data.value("split_digest", "");
        files = data.value("files", files);
        OptionList list = split_options(options);
        options.add_input_to(list);
        for (const Option& o : list.all())
            // Older runs have fewer of these.
            if (run.at("options").contains(o.name))
                set_from_json(o, run.at("options").at(o.name), checkpoint + "/run.json");
    }
    // A file of this data that was read to be trained on; empty = none.
    std::string trained_on(const Dataset& data) const {
        std::set<std::string> read, held_out;
        for (const std::string& file : files) read.insert(canonical_file(file));
        for (const std::string& file : options.valid) held_out.insert(canonical_file(file));
        for (const std::string& file : data.files) {
            const std::string name = canonical_file(file);
            if (name == "-" || !read.count(name) || held_out.count(name)) continue;
            const auto in_folder = [&](const std::string& folder) { return name.starts_with(folder + "/"); };
            if (std::none_of(held_out.begin(), held_out.end(), in_folder)) return file;
        }
        return "";
    }
    bool is_of(const Dataset& data) const { return !digest.empty() && data.digest == digest; }
};

DataOptions with_split_of(const RunData& run, DataOptions reading, const std::set<std::string>& given) {
    DataOptions taken = run.options;
    OptionList from = split_options(taken), to = split_options(reading);
    for (const Option& o : from.all())
        if (!given.count(o.name) && o.name != "valid")
            set_from_json(*to.find(o.name), to_json(o), "run.json");
    return reading;
}

std::vector<std::string> canonical(const std::vector<std::string>& paths) {
    std::vector<std::string> names;
    for (const std::string& path : paths) names.push_back(canonical_file(path));
    return names;
}

// --valid-fraction 0.1 --gap 1000
std::string text_of_split(DataOptions options) {
    DataOptions usual;
    OptionList list = split_options(options), defaults = split_options(usual);
    std::string text;
    for (const Option& o : list.all())
        if (const auto value = to_json(o); o.name != "valid" && value != to_json(*defaults.find(o.name)))
            text += fmt::format("{}--{} {}", text.empty() ? "" : " ", o.name,
                                value.is_string() ? value.get<std::string>() : value.dump());
    return text;
}

}  // namespace

Dataset load_evaluation(const LoadedModel& loaded, const DataOptions& reading,
                        const OptionList& command, const std::set<std::string>& given, Console& console) {
    const RunData run(loaded.checkpoint);
    const DataOptions of_run = with_split_of(run, reading, given);
    DataOptions as_given = reading;
    const bool once = std::count(reading.input.begin(), reading.input.end(), "-") > 0;
    const bool can_take = !reading.splits() && reading.valid.empty() && run.options.splits();
    if (once && can_take) {  // the digest decides while it is read
        as_given.known_digest = run.digest;
        as_given.known_split = std::make_shared<DataOptions>(of_run);
    }
    // The same files are probably the same data; where they are not it is read again.
    bool take = can_take && !once && canonical(reading.input) == canonical(run.options.input);
    Dataset data = loaded.domain.load(take ? of_run : as_given);
    // A store or a manifest that brings parts keeps them.
    const bool has_parts = !take && !once && (!data.split_digest.empty() || data.n_held_out > 0);
    if (can_take && !has_parts && run.is_of(data) != take) {
        take = !take;
        if (!once) {
            data = {};
            data = loaded.domain.load(take ? of_run : as_given);
        }
    }
    report(console, data, command);
    const bool other = run.is_of(data) && reading.valid.empty() && data.split_digest != run.split_digest;
    if (take)
        console.line("the data of the run, in the parts of the run: " + text_of_split(of_run));
    else if (has_parts && run.is_of(data) && data.split_digest == run.split_digest)
        console.line("the data of the run, in the parts of the run");
    else if (other && (reading.splits() || !run.split_digest.empty()))
        console.line(
            "warning: this is the data of the run, which was not trained on the same part of it: what is "
            "scored may have been trained on");
    else if (reading.valid.empty() && (!run.is_of(data) || !run.options.valid.empty()))
        if (const std::string file = run.trained_on(data); !file.empty())
            console.line(fmt::format(
                "warning: the run read {} too: what is scored may have been trained on", file));
    return data;
}

std::vector<Segment> evaluated_part(const Dataset& data, const std::string& part) {
    const bool is_split = !data.split_digest.empty() || !data.valid_digest.empty();
    if (data.records.empty()) fail("eval: nothing to score: no record of the input is kept");
    if (part == "all") return whole_records(data.records);
    if (part.empty() && !is_split) return data.train;
    if (!is_split) fail("--part: the input is not split; hint: a split such as --valid-fraction");
    const std::string name = part.empty() ? "valid" : part;
    const std::vector<Segment>& segments = name == "valid"  ? data.valid
                                           : name == "test" ? data.test
                                                            : data.train;
    if (!segments.empty()) return segments;
    std::string others;
    for (const auto& [other, of] :
         {std::pair{"train", &data.train}, {"valid", &data.valid}, {"test", &data.test}})
        if (!of->empty()) others += fmt::format("{}--part {}", others.empty() ? "" : ", ", other);
    fail("eval: nothing to score: the {} part is empty; hint: {}", name, others);
}

}  // namespace adder
