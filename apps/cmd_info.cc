#include "apps/cmd_info.h"

#include <fmt/core.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/build_info.h"
#include "apps/command_line.h"
#include "apps/machine.h"
#include "apps/run_options.h"
#include "core/json_text.h"
#include "kernels/common/isa.h"
#include "model/model.h"
#include "train/checkpoint.h"

namespace adder {

namespace {

using Json = nlohmann::ordered_json;

struct InfoOptions {
    cli::CheckpointOptions checkpoint;
    bool json = false;

    OptionList list() {
        OptionList l;
        checkpoint.add_to(l, false);
        l.add({.name = "json", .value = &json, .help = "print one JSON object"});
        return l;
    }
};

constexpr CommandText kText = {"info", kInfoSummary, "adder info --checkpoint run --json\nadder info"};

Json describe_program() {
    const BuildInfo& build = build_info();
    Json json = {{"version", build.version},     {"commit", build.commit},
                 {"compiler", build.compiler},   {"build_type", build.build_type},
                 {"isa", current_isa()},         {"isas", available_isas()},
                 {"cores", usable_cores()},      {"memory_bytes", physical_memory_bytes()},
                 {"devices", {"cpu"}}};
    if (const std::string problem = gpu_problem(); problem.empty()) {
        const GpuInfo gpu = gpu_info();
        json["devices"].push_back("cuda");
        json["gpu"] = {{"name", gpu.name}, {"compute_capability", fmt::format("{}.{}", gpu.major, gpu.minor)},
                       {"multiprocessors", gpu.multiprocessors}, {"memory_bytes", gpu.memory_bytes},
                       {"driver", gpu.driver}};
    } else if (!gpu_architectures().empty()) {
        json["gpu_problem"] = problem;
    }
    for (const auto& [name, version] : build.libraries) json["libraries"][name] = version;
    return json;
}

// Shapes by name, in the order of the model.
class ShapeList : public ParamVisitor {
  public:
    Json shapes = Json::object();
    int64_t count = 0;

  private:
    void on_param(const ParamSpec& spec, Param&) override {
        Json& shape = shapes[spec.name] = Json::array();
        for (int i = 0; i < spec.file_shape.rank; ++i) shape.push_back(spec.file_shape[i]);
        count += spec.shape.numel();
    }
};

// What only adder's own checkpoints hold. `run` is run.json of the run where that is known, for its --steps may have
// grown since the checkpoint was written; `is_last`: the checkpoint is the last one of the run, which the one of its last
// step has to be when it has finished.
void add_training(Json& json, const std::string& checkpoint, const nlohmann::json& run, bool is_last) {
    const TrainerState state = load_trainer_state(checkpoint);
    const auto steps = run.at("options").at("steps").get<int64_t>();
    const bool held_out = run.at("data").at("valid_tokens").get<int64_t>() > 0;
    json["step"] = state.step;
    json["steps"] = steps;
    json["finished"] = state.step >= steps && (!held_out || state.evaluated_step == state.step) &&
                       (!is_last || is_step_checkpoint(checkpoint));
    json["tokens"] = state.tokens;
    json["batches"] = state.consumed_batches;
    if (state.best_step >= 0)
        json["best"] = run.contains("best_by") ? Json{{"step", state.best_step}, {"by", run.at("best_by")}}
                                               : Json{{"step", state.best_step}, {"valid_loss", state.best_criterion}};
    for (const char* key : {"version", "commit", "device", "device_name", "dtype", "isa", "data", "options"})
        // Older runs have fewer of these.
        if (run.contains(key)) json[key] = run.at(key);
}

Json describe_checkpoint(const cli::CheckpointOptions& o) {
    const std::string checkpoint = find_checkpoint(o.checkpoint, o.best);
    LanguageModel model(load_config(checkpoint));
    // Reading the weights shows that they fit the configuration.
    ParamStore params([&](ParamVisitor& v) { model.visit(v); }, DType::f32, false);
    load_parameters(checkpoint, model, params);
    ShapeList tensors;
    model.visit(tensors);
    Json json = {{"checkpoint", checkpoint}, {"parameters", tensors.count}};
    std::error_code ignored;
    if (std::filesystem::exists(checkpoint + "/run.json", ignored)) {
        const bool is_run = checkpoint != o.checkpoint && std::filesystem::exists(o.checkpoint + "/run.json", ignored);
        const std::string from = is_run ? o.checkpoint : checkpoint;
        try {
            add_training(json, checkpoint, load_run(from), is_run && !o.best);
        } catch (const nlohmann::json::exception& e) {
            fail("{}/run.json: not what `adder train` writes: {}", from, e.what());
        }
    }
    json["config"] = to_json(model.config());
    json["tensors"] = tensors.shapes;
    return json;
}

std::string as_lines(const Json& json, const std::string& prefix = "") {
    std::string text;
    for (const auto& [key, value] : json.items()) {
        if (value.is_object())
            text += as_lines(value, prefix + key + ".");
        else
            text += fmt::format("{:<24} {}\n", prefix + key, value.is_string() ? value.get<std::string>() : value.dump());
    }
    return text;
}

}  // namespace

void run_info(App& app, const std::vector<std::string>& args) {
    InfoOptions o;
    OptionList list = o.list();
    const CommandLine line = parse_command_line(kText, args, list);
    if (line.help) return void(app.results = help_text(kText, list));
    if (line.print_config) return void(app.results = config_text(list));
    if (o.checkpoint.best && o.checkpoint.checkpoint.empty()) throw UsageError("--best: needs --checkpoint");
    const Json json = o.checkpoint.checkpoint.empty() ? describe_program() : describe_checkpoint(o.checkpoint);
    app.results = o.json ? json_text(json) + '\n' : as_lines(json);
}

}  // namespace adder
