#include "train/loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <map>

#include "io/file.h"
#include "io/safetensors.h"
#include "tests/io/scratch.h"
#include "tests/model/toy.h"

namespace adder {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// A run of a toy model on random batches, from the beginning or from the last checkpoint of `folder`.
struct ToyLoop {
    explicit ToyLoop(const std::string& folder, bool resume = false)
        : toy("mamba2", DType::f32), pool(1), plan(plan_training(toy.model, {}, {2, 24, 8, 1})),
          trainer(toy.model, toy.params, {}, {.pool = &pool}, plan) {
        fs::create_directories(folder);
        options.steps = 8;
        options.folder = folder;
        options.run = {{"options", {{"steps", 8}}}, {"data", nlohmann::json::object()}};
        hooks.lr = [](int64_t) { return 1e-2; };
        hooks.plan = [this](int64_t) -> const MemoryPlan& { return plan; };
        hooks.fill = [this](int64_t step, int64_t micro, Batch& batch) { fill(step, micro, batch); };
        hooks.evaluate = [this](bool) {
            evaluated.push_back(state.step);
            // Best in the middle of the run.
            const double loss = 1 + std::abs(static_cast<double>(state.step - 4)) / 10;
            return HeldOut{{loss * 7, 7}, {loss * 7, 7}};
        };
        hooks.on_step = [this](const StepRow& r) { losses.push_back(r.loss); };
        hooks.on_valid = [](const ValidRow&) {};
        hooks.on_word = [this](const std::string& word) { words.push_back(word); };
        if (!resume) return;
        const std::string from = find_checkpoint(folder, false);
        load_parameters(from, toy.model, toy.params);
        state = load_trainer(from, toy.params, trainer.optimizer());
    }

    void fill(int64_t step, int64_t micro, Batch& batch) const {
        const Batch made = toy_batch(batch.B, batch.L, {0, 9}, static_cast<uint64_t>(100 * step + micro));
        copy(made.ids, batch.ids);
        copy(made.targets, batch.targets);
        copy(made.weights, batch.weights);
        copy(made.start, batch.start);
        if (step >= bad_from && step < bad_to)
            batch.weights.ref().ptr<float>("w")[3] = std::numeric_limits<float>::infinity();
    }

    LoopEnd run() { return run_training(toy.model, toy.params, trainer, state, options, hooks); }

    ToyModel toy;
    ThreadPool pool;
    MemoryPlan plan;
    Trainer trainer;
    TrainerState state;
    LoopOptions options;
    LoopHooks hooks;
    int64_t bad_from = 99, bad_to = 99;
    std::vector<double> losses;
    std::vector<int64_t> evaluated;
    std::vector<std::string> words;
};

std::vector<int64_t> steps_of(const std::string& folder, CheckpointKind kind) {
    std::vector<int64_t> steps;
    for (const CheckpointEntry& e : list_checkpoints(folder, kind)) steps.push_back(e.step);
    return steps;
}

template <class F>
std::string error_of(F f) {
    try {
        f();
    } catch (const Error& e) {
        return e.what();
    }
    return "no error";
}

TEST(Loop, resume_is_bit_exact_wherever_it_stopped) {
    Scratch scratch;
    ToyLoop whole(scratch.path("whole"));
    EXPECT_EQ(whole.run(), LoopEnd::finished);
    const std::string model = read_file(find_checkpoint(scratch.path("whole"), false) + "/model.safetensors");
    const std::string trainer = read_file(find_checkpoint(scratch.path("whole"), false) + "/trainer.safetensors");
    for (int64_t stop = 1; stop < 8; ++stop) {
        const std::string folder = scratch.path("stop" + std::to_string(stop));
        ToyLoop first(folder);
        first.options.stop_after = stop;
        EXPECT_EQ(first.run(), LoopEnd::stopped);
        EXPECT_EQ(first.state.step, stop);
        ToyLoop second(folder, true);
        EXPECT_EQ(second.run(), LoopEnd::finished);
        EXPECT_EQ(read_file(find_checkpoint(folder, false) + "/model.safetensors"), model) << stop;
        EXPECT_EQ(read_file(find_checkpoint(folder, false) + "/trainer.safetensors"), trainer) << stop;
        std::vector<double> losses = first.losses;
        losses.insert(losses.end(), second.losses.begin(), second.losses.end());
        EXPECT_EQ(losses, whole.losses);
    }
}

TEST(Loop, an_evaluation_that_was_interrupted_is_made_up_for) {
    Scratch scratch;
    ToyLoop whole(scratch.path("whole"));
    whole.options.eval_every = 2;
    whole.run();
    EXPECT_THAT(whole.evaluated, ElementsAre(2, 4, 6, 8));
    for (int64_t at : {2, 4, 8}) {
        const std::string folder = scratch.path("at" + std::to_string(at));
        ToyLoop first(folder);
        first.options.eval_every = 2;
        const auto evaluate = first.hooks.evaluate;
        first.hooks.evaluate = [&](bool all) {
            if (first.state.step == at) throw Interrupted{};
            return evaluate(all);
        };
        EXPECT_EQ(first.run(), LoopEnd::stopped);
        ToyLoop second(folder, true);
        second.options.eval_every = 2;
        EXPECT_EQ(second.run(), LoopEnd::finished);
        EXPECT_EQ(second.evaluated.front(), at);
        EXPECT_EQ(second.state.best_step, 4);
        EXPECT_EQ(read_file(find_checkpoint(folder, false) + "/trainer.safetensors"),
                  read_file(find_checkpoint(scratch.path("whole"), false) + "/trainer.safetensors"));
    }
}

// All of a run's checkpoints: name and content of each file.
std::map<std::string, std::string> files_of(const std::string& folder) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder))
        if (entry.is_regular_file()) files[fs::relative(entry.path(), folder)] = read_file(entry.path());
    return files;
}

// Killed where the best of an evaluation was saved and the step, if it is saved at all, was not.
TEST(Loop, a_run_that_left_its_best_checkpoint_last_goes_on_from_it_bit_for_bit) {
    for (const int64_t at : {2, 4, 8}) {
        Scratch scratch;
        const auto begin = [&](ToyLoop& loop) {
            loop.options.eval_every = 2;
            loop.options.save_every = 4;
            // Always better, so that the last one is the best.
            loop.hooks.evaluate = [&](bool) {
                const double loss = 2 - static_cast<double>(loop.state.step) / 10;
                return HeldOut{{loss * 7, 7}, {loss * 7, 7}};
            };
        };
        ToyLoop whole(scratch.path("whole"));
        begin(whole);
        EXPECT_EQ(whole.run(), LoopEnd::finished);

        ToyLoop killed(scratch.path("killed"));
        begin(killed);
        int64_t saves = 0;
        killed.hooks.on_save = [&] {
            // The best of step 2; the best of step 4, then its own; the best of 6; the best of 8, then its own.
            const std::map<int64_t, int64_t> last = {{2, 1}, {4, 2}, {8, 5}};
            if (++saves > last.at(at)) fail("killed");
        };
        if (at == 2) killed.hooks.on_step = [](const StepRow& r) { if (r.step == 3) fail("killed"); };
        EXPECT_EQ(error_of([&] { killed.run(); }), "killed");
        const std::string best = scratch.path("killed/") + checkpoint_name(CheckpointKind::best, at);
        EXPECT_EQ(last_checkpoint(scratch.path("killed")), best);
        EXPECT_EQ(find_checkpoint(scratch.path("killed"), false), best);
        EXPECT_EQ(find_resumable(scratch.path("killed")), best);

        ToyLoop rest(scratch.path("killed"), true);
        begin(rest);
        EXPECT_EQ(rest.state.step, at);
        EXPECT_EQ(rest.run(), LoopEnd::finished);
        EXPECT_EQ(rest.losses, std::vector<double>(whole.losses.begin() + at, whole.losses.end()));
        EXPECT_EQ(files_of(scratch.path("killed")), files_of(scratch.path("whole"))) << at;
    }
}

TEST(Loop, a_run_stopped_at_once_after_its_best_saves_the_step) {
    Scratch scratch;
    ToyLoop first(scratch.path("run"));
    first.options.eval_every = 4;
    first.hooks.on_step = [](const StepRow& r) { if (r.step == 5) fail("killed"); };
    EXPECT_EQ(error_of([&] { first.run(); }), "killed");
    ToyLoop second(scratch.path("run"), true);
    second.options.stop_after = 4;
    EXPECT_EQ(second.run(), LoopEnd::stopped);
    EXPECT_EQ(last_checkpoint(scratch.path("run")), scratch.path("run/step-00000004"));
}

// Who keeps the best for its weights may have thrown its moments away.
TEST(Checkpoint, a_best_without_a_trainers_state_is_not_gone_on_from) {
    Scratch scratch;
    ToyLoop loop(scratch.path("run"));
    loop.options.steps = 2;
    loop.options.stop_after = 2;
    loop.run();
    fs::copy(scratch.path("run/step-00000002"), scratch.path("run/best-00000005"), fs::copy_options::recursive);
    EXPECT_EQ(find_resumable(scratch.path("run")), scratch.path("run/best-00000005"));
    fs::remove(scratch.path("run/best-00000005/trainer.safetensors"));
    EXPECT_EQ(find_resumable(scratch.path("run")), scratch.path("run/step-00000002"));
    EXPECT_EQ(find_checkpoint(scratch.path("run"), false), scratch.path("run/best-00000005"));
}

TEST(Loop, keeps_the_last_two_checkpoints_and_the_best) {
    Scratch scratch;
    ToyLoop loop(scratch.path("run"));
    loop.options.save_every = 1;
    loop.options.eval_every = 1;
    loop.run();
    EXPECT_THAT(steps_of(scratch.path("run"), CheckpointKind::step), ElementsAre(7, 8));
    EXPECT_THAT(steps_of(scratch.path("run"), CheckpointKind::best), ElementsAre(4));
    EXPECT_THAT(find_checkpoint(scratch.path("run"), true), HasSubstr("best-00000004"));
    fs::remove(find_checkpoint(scratch.path("run"), false) + "/DONE");
    EXPECT_THAT(find_checkpoint(scratch.path("run"), false), HasSubstr("step-00000007"));
    remove_incomplete_checkpoints(scratch.path("run"));
    EXPECT_FALSE(fs::exists(scratch.path("run/step-00000008")));
}

TEST(Checkpoint, a_name_that_only_begins_like_one_is_none) {
    EXPECT_TRUE(is_checkpoint_name("step-00000012") && is_checkpoint_name("best-123456789"));
    for (const char* name : {"step-", "step-12", "step-0000000012", "step--0000001", "step-00000012.old", "step-plots",
                             "best-notes.txt", "last-00000012", "step-99999999999999999999"})
        EXPECT_FALSE(is_checkpoint_name(name)) << name;
}

TEST(Loop, one_non_finite_gradient_is_skipped_and_named) {
    Scratch scratch;
    ToyLoop loop(scratch.path("run"));
    loop.bad_from = 3;
    loop.bad_to = 5;
    EXPECT_EQ(loop.run(), LoopEnd::finished);
    EXPECT_EQ(loop.losses.size(), 8u);
    EXPECT_EQ(loop.trainer.optimizer().updates(), 6);
    ASSERT_EQ(loop.words.size(), 2u);
    EXPECT_THAT(loop.words[1], HasSubstr("step 5: the gradient of backbone.embedding.weight is not finite"));
}

TEST(Loop, three_non_finite_gradients_in_a_row_stop_the_run_with_the_last_good_checkpoint) {
    Scratch scratch;
    ToyLoop loop(scratch.path("run"));
    loop.options.save_every = 2;
    loop.bad_from = 5;
    EXPECT_THAT(error_of([&] { loop.run(); }), HasSubstr("three steps in a row"));
    EXPECT_THAT(steps_of(scratch.path("run"), CheckpointKind::step), ElementsAre(2, 4));
}

// Whatever the device was doing: computing, evaluating or handing over what is saved.
TEST(Loop, after_the_device_failed_the_error_names_the_last_checkpoint_and_nothing_is_saved) {
    Scratch scratch;
    ToyLoop loop(scratch.path("run"));
    loop.options.save_every = 2;
    loop.options.eval_every = 3;
    loop.hooks.evaluate = [](bool) -> HeldOut { throw DeviceError("CUDA: work on the GPU failed"); };
    EXPECT_EQ(error_of([&] { loop.run(); }), "step 4: CUDA: work on the GPU failed; the last checkpoint is " +
                                                 scratch.path("run/step-00000002"));
    EXPECT_THAT(steps_of(scratch.path("run"), CheckpointKind::step), ElementsAre(2));

    ToyLoop saving(scratch.path("saving"));
    saving.options.save_every = 2;
    saving.hooks.on_save = [] { throw DeviceError("CUDA: copy"); };
    EXPECT_EQ(error_of([&] { saving.run(); }), "step 3: CUDA: copy; there is no checkpoint yet");
}

TEST(Loop, where_memory_ran_out_in_a_step_the_error_names_the_last_checkpoint_and_nothing_is_saved) {
    Scratch scratch;
    ToyLoop loop(scratch.path("run"));
    loop.options.save_every = 2;
    loop.options.eval_every = 3;
    loop.hooks.evaluate = [](bool) -> HeldOut { throw OutOfMemory("out of GPU memory: preparing a graph"); };
    EXPECT_THROW(loop.run(), OutOfMemory);  // which the command adds a remedy to
    EXPECT_THAT(steps_of(scratch.path("run"), CheckpointKind::step), ElementsAre(2));
    EXPECT_EQ(error_of([&] { loop.run(); }), "step 4: out of GPU memory: preparing a graph; the last checkpoint is " +
                                                 scratch.path("run/step-00000002"));
}

TEST(Loop, an_error_of_the_data_is_said_as_it_is) {
    Scratch scratch;
    ToyLoop loop(scratch.path("run"));
    loop.options.save_every = 1;
    const FillBatch good = loop.hooks.fill;
    loop.hooks.fill = [&](int64_t step, int64_t micro, Batch& batch) {
        if (step == 2) fail("genome.fa: cannot be read");
        good(step, micro, batch);
    };
    EXPECT_EQ(error_of([&] { loop.run(); }), "genome.fa: cannot be read");
}

TEST(Checkpoint, a_file_that_does_not_fit_is_refused_with_every_mismatch) {
    Scratch scratch;
    ToyLoop loop(scratch.path("run"));
    loop.options.steps = 1;
    loop.run();
    const std::string checkpoint = find_checkpoint(scratch.path("run"), false);
    ToyModel wider("mamba2", DType::f32, 16), other("mamba1", DType::f32);
    const std::string shapes = error_of([&] { load_parameters(checkpoint, wider.model, wider.params); });
    EXPECT_THAT(shapes, HasSubstr("model.safetensors"));
    EXPECT_THAT(shapes, HasSubstr("backbone.embedding.weight: expected f32 (16,16), got F32 (16,8)"));
    EXPECT_THAT(shapes, HasSubstr("backbone.layers.1.mixer.out_proj.weight: expected"));
    const std::string names = error_of([&] { load_parameters(checkpoint, other.model, other.params); });
    EXPECT_THAT(names, HasSubstr("backbone.layers.0.mixer.x_proj.weight is missing"));
    EXPECT_THAT(names, HasSubstr("backbone.layers.0.mixer.dt_bias is unexpected"));

    const std::string file = checkpoint + "/model.safetensors", bytes = read_file(file);
    for (size_t size : {size_t{0}, size_t{4}, size_t{100}, bytes.size() - 1}) {
        write_file(file, std::string_view(bytes).substr(0, size));
        EXPECT_THAT(error_of([&] { load_parameters(checkpoint, loop.toy.model, loop.toy.params); }),
                    HasSubstr("model.safetensors"))
            << size;
    }
}

TEST(Checkpoint, config_round_trips_and_refuses_what_it_does_not_know) {
    for (const std::string& mixer : model_names())
        for (Discretization d : {Discretization::euler, Discretization::zoh}) {
            LanguageModel model(ToyModel::config(mixer, 8, 2, d));
            const nlohmann::json json = to_json(model.config());
            EXPECT_EQ(to_json(model_config_from_json(json, "c")), json);
        }
    nlohmann::json json = to_json(LanguageModel(ToyModel::config("mamba1", 8, 2, Discretization::euler)).config());
    json["ssm_cfg"]["spline"] = 1;
    EXPECT_THAT(error_of([&] { model_config_from_json(json, "c.json"); }),
                HasSubstr("c.json: ssm_cfg: unknown field \"spline\""));
    json["ssm_cfg"].erase("spline");
    json["attn_layer_idx"] = {1};
    EXPECT_THAT(error_of([&] { model_config_from_json(json, "c.json"); }), HasSubstr("attn_layer_idx"));
    json["attn_layer_idx"] = nlohmann::json::array();
    for (const char* value : {"16.9", "1e30", "18446744073709551615", "true", "\"8\"", "[8]"})
        for (const char* key : {"d_model", "n_layer", "d_conv"}) {
            nlohmann::json other = json;
            (key[2] == 'c' ? other["ssm_cfg"] : other)[key] = nlohmann::json::parse(value);
            EXPECT_THAT(error_of([&] { model_config_from_json(other, "c.json"); }),
                        HasSubstr(fmt::format("\"{}\" has the wrong type: ", key)))
                << value;
        }
    nlohmann::json unet = json;
    unet["backbone"] = "unet";
    unet["stage_pools"] = {2, 2.5};
    EXPECT_THAT(error_of([&] { model_config_from_json(unet, "c.json"); }), HasSubstr("\"stage_pools\" has the wrong type"));
    // As upstream's config.json of mamba-130m states it.
    const auto upstream = nlohmann::json::parse(R"({"d_model": 768, "n_layer": 24, "vocab_size": 50277, "ssm_cfg": {},
        "rms_norm": true, "residual_in_fp32": true, "fused_add_norm": true, "pad_vocab_size_multiple": 8})");
    const ModelConfig c = model_config_from_json(upstream, "upstream");
    EXPECT_EQ(c.mixer, "mamba1");
    EXPECT_EQ(c.dt_rank, 48);
    EXPECT_EQ(c.padded_vocab(), 50280);
}

// tests/ckpt/vN is a checkpoint of layout N, written when that layout was the present one: it must go on loading.
TEST(Checkpoint, every_layout_so_far_is_read) {
    for (int64_t layout = 1; layout <= kCheckpointLayout; ++layout) {
        const std::string path = std::string(ADDER_SOURCE_DIR) + "/tests/ckpt/v" + std::to_string(layout);
        const std::string checkpoint = find_checkpoint(path, false);
        LanguageModel model(load_config(checkpoint));
        ParamStore params([&](ParamVisitor& v) { model.visit(v); }, DType::f32, true);
        load_parameters(checkpoint, model, params);
        Optimizer optimizer(params, {});
        const TrainerState state = load_trainer(checkpoint, params, optimizer);
        EXPECT_EQ(state.step, 2);
        EXPECT_EQ(state.tokens, 128);
        EXPECT_EQ(optimizer.updates(), 2);
        EXPECT_EQ(load_run(checkpoint)["options"]["seed"], 3);
        EXPECT_NE(ToyModel::get(optimizer.tensors()[0].v, 7 * 8), 0);
    }
}

TEST(Checkpoint, a_damaged_record_of_a_run_is_refused_by_file_and_key) {
    Scratch scratch;
    const auto good = nlohmann::json::parse(
        read_file(std::string(ADDER_SOURCE_DIR) + "/tests/ckpt/v" + std::to_string(kCheckpointLayout) + "/run.json"));
    const auto refused = [&](const char* pointer, nlohmann::json value) {
        nlohmann::json run = good;
        run[nlohmann::json::json_pointer(pointer)] = std::move(value);
        scratch.put("run.json", run.dump());
        return error_of([&] { load_run(scratch.folder()); });
    };
    EXPECT_THAT(refused("/data/files", 3), AllOf(HasSubstr(scratch.path("run.json")), HasSubstr("\"files\": expected a list")));
    EXPECT_THAT(refused("/data/files", {"a", 3}), HasSubstr("\"files\""));
    EXPECT_THAT(refused("/data/digest", nullptr), HasSubstr("\"digest\": expected text, got null"));
    EXPECT_THAT(refused("/tile", "x"), HasSubstr("\"tile\": expected a whole number, got \"x\""));
    EXPECT_THAT(refused("/options/domain", 3), HasSubstr("\"domain\""));
    for (const nlohmann::json& layout : {nlohmann::json(kCheckpointLayout + 1), nlohmann::json("1")})
        EXPECT_THAT(refused("/layout", layout), HasSubstr("checkpoint layout " + layout.dump() + "; this program reads"));
}

TEST(Model, parameter_counts_and_names_are_those_of_state_spaces_mamba) {
    auto names = [](LanguageModel& model) {
        std::vector<std::string> all;
        const ParamStore params([&](ParamVisitor& v) { model.visit(v); }, DType::f32, false);
        for (const auto& e : params.entries()) all.push_back(e.spec.name);
        return std::pair{all, params.count()};
    };
    ModelConfig c;
    c.vocab_size = 50277;
    c.mixer = "mamba1";
    c.d_model = 768;
    c.n_layer = 24;
    LanguageModel mamba1(c);
    const auto [names1, count1] = names(mamba1);
    EXPECT_EQ(count1, 129135360);  // mamba-130m
    EXPECT_EQ(names1.front(), "backbone.embedding.weight");
    EXPECT_EQ(names1.back(), "backbone.norm_f.weight");
    EXPECT_THAT(names1, testing::IsSupersetOf({"backbone.layers.23.norm.weight", "backbone.layers.0.mixer.A_log",
                                               "backbone.layers.0.mixer.dt_proj.bias", "backbone.layers.0.mixer.conv1d.weight"}));
    c.mixer = "mamba2";
    c.pad_vocab_size_multiple = 16;
    LanguageModel mamba2(c);
    EXPECT_EQ(names(mamba2).second, 128989632);  // mamba2-130m
}

}  // namespace
}  // namespace adder
