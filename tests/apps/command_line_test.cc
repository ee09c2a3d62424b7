#include "apps/command_line.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/presets.h"
#include "apps/run_options.h"
#include "apps/train_options.h"
#include "core/error.h"
#include "io/file.h"
#include "tests/io/scratch.h"

namespace adder::cli {
namespace {

using testing::HasSubstr;

constexpr CommandText kText = {"train", "trains", "adder train --domain dna --input genome.fa --out run"};

template <class Options>
CommandLine parse(Options& options, const std::vector<std::string>& args) {
    OptionList list = options.list();
    return parse_command_line(kText, args, list);
}

std::string usage_error(const std::vector<std::string>& args) {
    TrainOptions options;
    try {
        parse(options, args);
    } catch (const UsageError& e) {
        return e.what();
    }
    return "(nothing thrown)";
}

TEST(CommandLine, options_are_long_and_take_values_both_ways) {
    TrainOptions o;
    const CommandLine line = parse(o, {"--domain", "dna", "--input=a.fa", "--input", "-", "--lr", "1e-4", "--resume"});
    EXPECT_EQ(o.data.domain, "dna");
    EXPECT_EQ(o.data.input, (std::vector<std::string>{"a.fa", "-"}));
    EXPECT_EQ(o.optimizer.lr, 1e-4);
    EXPECT_TRUE(o.resume);
    EXPECT_EQ(line.given, (std::set<std::string>{"domain", "input", "lr", "resume"}));
}

TEST(CommandLine, defaults_are_those_of_the_documented_recipe) {
    TrainOptions o;
    OptionList list = o.list();
    o.machine.device = "cpu";
    o.resolve();
    o.machine.show();
    const auto json = to_json(list);
    const nlohmann::ordered_json expected = {
        {"mixer", "mamba2"}, {"d-state", nullptr}, {"headdim", nullptr}, {"dt-rank", nullptr}, {"expand", 2},
        {"d-conv", 4}, {"ngroups", 1}, {"discretization", "euler"}, {"dtype", "f32"}, {"beta1", 0.9},
        {"beta2", 0.95}, {"eps", 1e-8}, {"weight-decay", 0.1}, {"clip", 1.0}, {"lr", 1e-3}, {"warmup", 0.1},
        {"lr-final", 0.1}, {"length-warmup", nullptr}, {"accumulation", 1}, {"valid-fraction", 0.0}, {"gap", 0},
        {"device", "cpu"}, {"save-every", nullptr}, {"tile", nullptr}, {"memory", nullptr}};
    for (const auto& [name, value] : expected.items()) EXPECT_EQ(json.at(name), value) << name;
}

TEST(CommandLine, help_says_what_each_domain_sets) {
    TrainOptions o;
    const std::string help = help_text(kText, o.list());
    for (const char* option : {"length", "batch"}) {
        for (const char* domain : {"dna", "audio"}) {
            TrainOptions set;
            OptionList list = set.list();
            parse_command_line(kText, {"--domain", domain}, list);
            apply_defaults(set, list, {"domain"});
            const std::string value = to_json(*list.find(option)).dump();
            EXPECT_THAT(help, testing::ContainsRegex(fmt::format("--{} [^]]*[ ]{} for {}[],]", option, value, domain)));
        }
    }
}

TEST(CommandLine, unknown_options_name_the_nearest) {
    EXPECT_EQ(usage_error({"--d_model", "64"}), "train: unknown option '--d_model'; the nearest is --d-model");
    EXPECT_EQ(usage_error({"--stpes=3"}), "train: unknown option '--stpes'; the nearest is --steps");
    EXPECT_EQ(usage_error({"--d-mod", "64"}), "train: unknown option '--d-mod'; the nearest is --d-model");
    EXPECT_EQ(usage_error({"--hlep"}), "train: unknown option '--hlep'; the nearest is --help");
    EXPECT_THAT(usage_error({"-n", "3"}), HasSubstr("-n"));
    EXPECT_THAT(usage_error({"genome.fa"}), HasSubstr("unexpected argument 'genome.fa'"));
}

TEST(CommandLine, repeated_missing_and_surplus_values_are_usage_errors) {
    EXPECT_EQ(usage_error({"--lr", "1", "--lr", "2"}), "--lr: given twice");
    EXPECT_EQ(usage_error({"--resume", "--resume"}), "--resume: given twice");
    EXPECT_EQ(usage_error({"--lr"}), "--lr: a value is missing");
    EXPECT_EQ(usage_error({"--lr", "--resume"}), "--lr: a value is missing before --resume");
    EXPECT_EQ(usage_error({"--lr="}), "--lr: a value is missing");
    EXPECT_EQ(usage_error({"--resume=yes"}), "--resume: takes no value");
    EXPECT_EQ(usage_error({"--lr", "fast"}), "--lr: expected a number above 0, got 'fast'");
    EXPECT_EQ(usage_error({"--lr", "-1"}), "--lr: expected a number above 0, got '-1'");
    EXPECT_EQ(usage_error({"--d-conv", "9"}), "--d-conv: expected a whole number from 2 to 8, got '9'");
}

TEST(CommandLine, missing_required_options_are_named) {
    TrainOptions o;
    OptionList list = o.list();
    parse_command_line(kText, {"--domain", "dna"}, list);
    try {
        require_all(list);
        FAIL() << "nothing thrown";
    } catch (const UsageError& e) {
        EXPECT_THAT(e.what(), HasSubstr("--input PATH is missing"));
    }
}

class ConfigFile : public testing::Test {
  protected:
    ConfigFile() {
        std::string pattern = (std::filesystem::temp_directory_path() / "config_XXXXXX").string();
        if (!mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp");
        folder_ = pattern;
    }
    ~ConfigFile() override { std::filesystem::remove_all(folder_); }
    std::string write(const std::string& text) {
        std::ofstream(folder_ + "/c.json") << text;
        return folder_ + "/c.json";
    }
    std::string folder_;
};

TEST_F(ConfigFile, the_printed_configuration_is_a_configuration) {
    TrainOptions a, b;
    parse(a, {"--lr", "3e-4", "--memory", "2GiB", "--input", "x", "--input", "y", "--tile", "512"});
    OptionList la = a.list();
    const std::string text = config_text(la);
    OptionList lb = b.list();
    const CommandLine line = parse_command_line(kText, {"--config", write(text)}, lb);
    EXPECT_EQ(config_text(lb), text);
    EXPECT_TRUE(line.given.count("lr"));
}

TEST_F(ConfigFile, the_command_line_wins) {
    TrainOptions o;
    parse(o, {"--steps", "5", "--config", write(R"({"steps": 7, "batch": 3})")});
    EXPECT_EQ(o.optimizer.steps, 5);
    EXPECT_EQ(o.tiles.batch, 3);
}

TEST_F(ConfigFile, what_is_not_a_configuration_is_an_error_but_not_of_usage) {
    const auto error_of = [&](const std::string& path) -> std::string {
        TrainOptions o;
        try {
            parse(o, {"--config", path});
        } catch (const UsageError&) {
            return "usage";
        } catch (const Error& e) {
            return e.what();
        }
        return "nothing";
    };
    EXPECT_THAT(error_of("/nonexistent.json"), HasSubstr("/nonexistent.json: No such file"));
    EXPECT_THAT(error_of(write("{\"steps\": ")), HasSubstr("not JSON"));
    EXPECT_THAT(error_of(write(R"({"stepz": 1})")), HasSubstr("the nearest is \"steps\""));
    EXPECT_THAT(error_of(folder_), HasSubstr(folder_));
}

TEST(TrainOptions, ways_of_holding_out_exclude_each_other) {
    TrainOptions o;
    o.data.valid_fraction = 0.1;
    o.data.valid_contigs = "chr1";
    EXPECT_THROW(o.resolve(), UsageError);
    o.data.valid_contigs = "";
    o.data.gap = 5;
    EXPECT_NO_THROW(o.resolve());
    o.data.valid_fraction = 0;
    EXPECT_THROW(o.resolve(), UsageError);
}

TEST(TrainOptions, length_warm_up_is_a_list_of_stages) {
    TrainOptions o;
    o.tiles.length = 2048;
    o.tiles.batch = 2;
    o.tiles.length_warmup = "10:256,30:1024";
    const auto stages = o.tiles.stages();
    ASSERT_EQ(stages.size(), 3u);
    EXPECT_EQ(stages[0], (LengthStage{10, 256, 16}));
    EXPECT_EQ(stages[1], (LengthStage{30, 1024, 4}));
    for (const char* bad : {"10", "10:", ":3", "10:256,", "10:x", "10:256;20:512", "10:300", "10:256,10:512", "5:0"}) {
        o.tiles.length_warmup = bad;
        EXPECT_THROW(o.resolve(), UsageError) << bad;
    }
}

TEST(TrainOptions, only_those_of_one_invocation_may_differ_on_resume) {
    TrainOptions o;
    std::set<std::string> any;
    OptionList list = o.list();
    for (const Option& option : list.all())
        if (option.on_resume == OnResume::any) any.insert(option.name);
    EXPECT_EQ(any, (std::set<std::string>{"stop-after", "save-every", "threads", "device", "memory", "keep", "isa",
                                          "out", "resume", "overwrite", "profile"}));
    EXPECT_EQ(list.find("steps")->on_resume, OnResume::grow);
}

// What `train ARGS` says of options that mean nothing there.
std::string scope_error(const std::vector<std::string>& args) {
    TrainOptions o;
    OptionList list = o.list();
    const CommandLine line = parse_command_line(kText, args, list);
    try {
        o.check_scopes(list, line.chosen);
    } catch (const UsageError& e) {
        return e.what();
    }
    return "";
}

TEST(TrainOptions, those_of_another_mixer_backbone_or_domain_are_refused_with_their_own) {
    EXPECT_EQ(scope_error({"--mixer", "mamba1", "--headdim", "32"}), "--headdim: of --mixer mamba2, not of mamba1");
    EXPECT_EQ(scope_error({"--mixer", "mamba1", "--ngroups", "1"}), "--ngroups: of --mixer mamba2, not of mamba1");
    EXPECT_EQ(scope_error({"--dt-rank", "2"}), "--dt-rank: of --mixer mamba1, not of mamba2");
    EXPECT_EQ(scope_error({"--pool", "4,4"}), "--pool: of --backbone unet, not of flat");
    EXPECT_EQ(scope_error({"--stage-mixers", "mamba1"}), "--stage-mixers: of --backbone unet, not of flat");
    EXPECT_EQ(scope_error({"--domain", "dna", "--kmer", "6"}), "--kmer: of --tokenizer kmer, not of char");
    EXPECT_EQ(scope_error({"--domain", "audio", "--kmer", "6"}), "--kmer: of --domain dna, not of audio");
    EXPECT_EQ(scope_error({"--domain", "audio", "--min-quality", "7"}), "--min-quality: of --domain dna, not of audio");
    EXPECT_EQ(scope_error({"--domain", "dna", "--strict"}), "--strict: of --domain audio, not of dna");
}

TEST(TrainOptions, those_of_a_mixer_may_be_given_where_one_stage_has_it) {
    const std::vector<std::string> stages = {"--backbone", "unet", "--stage-mixers", "mamba1,mamba1,mamba2"};
    for (const char* own : {"headdim", "ngroups", "dt-rank"}) {
        std::vector<std::string> args = stages;
        args.insert(args.end(), {std::string("--") + own, "1"});
        EXPECT_EQ(scope_error(args), "") << own;
    }
    EXPECT_EQ(scope_error({"--backbone", "unet", "--stage-mixers", "mamba1,mamba1,mamba1", "--headdim", "8"}),
              "--headdim: of --mixer mamba2, not of mamba1");
}

TEST_F(ConfigFile, options_of_other_models_may_stand_in_it_as_they_are_by_default) {
    for (const char* domain : {"dna", "audio"}) {
        for (const char* mixer : {"mamba1", "mamba2"}) {
            TrainOptions o;
            OptionList list = o.list();
            o.data.domain = domain;
            o.model.mixer = mixer;
            EXPECT_EQ(scope_error({"--config", write(config_text(list))}), "") << domain << mixer;
        }
    }
    EXPECT_EQ(scope_error({"--config", write(R"({"mixer": "mamba1", "headdim": 32})")}),
              "--headdim: of --mixer mamba2, not of mamba1");
    // Each option means something somewhere: no scope is of an option or a value that is not there.
    TrainOptions o;
    OptionList list = o.list();
    for (const Option& option : list.all())
        for (const OptionScope& s : option.scopes)
            for (const std::string& value : s.values) set_from_text(*list.find(s.of), value);
}

TEST(Machine, cuda_is_refused_where_there_is_no_usable_gpu) {
    if (gpu_problem().empty()) GTEST_SKIP() << "skipped: there is a GPU";
    MachineOptions o;
    o.device = "cuda";
    Console console(-1, false);
    try {
        Machine machine(o, console);
        FAIL() << "nothing thrown";
    } catch (const UsageError&) {
        FAIL() << "the command line is right";
    } catch (const Error& e) {
        EXPECT_EQ(e.what(), "--device cuda: " + gpu_problem());
    }
}

TEST(Machine, says_why_an_open_device_is_not_the_gpu_that_the_program_was_built_for) {
    if (gpu_problem().empty()) GTEST_SKIP() << "skipped: there is a GPU";
    for (const char* device : {"", "cpu"}) {
        Scratch scratch;
        const std::string path = scratch.path("log");
        const int fd = ::open(path.c_str(), O_CREAT | O_WRONLY, 0600);
        Console console(fd, false);
        MachineOptions o;
        o.device = device;
        const Machine machine(o, console);
        ::close(fd);
        const bool tells = *device == 0 && !gpu_architectures().empty();
        EXPECT_EQ(read_file(path), tells ? "device cpu (" + gpu_problem() + ")\n" : "");
    }
}

TEST(Machine, the_device_decides_the_type_unless_it_is_asked_for) {
    Console console(-1, false);
    MachineOptions o;
    o.device = "cpu";
    EXPECT_EQ(Machine(o, console).compute().storage, DType::f32);
    EXPECT_EQ(o.dtype, "");  // so that a run takes the type of the device on which it goes on
    o.dtype = "bf16";
    EXPECT_THROW(Machine(o, console), UsageError);
    MachineOptions open;
    Machine machine(open, console);
    EXPECT_EQ(machine.device() == Device::cuda, gpu_problem().empty());
    EXPECT_EQ(machine.compute().storage, machine.device() == Device::cuda ? DType::bf16 : DType::f32);
}

TEST(EvalOptions, baselines_are_orders) {
    EvalOptions o;
    o.baselines = "2,6";
    EXPECT_EQ(o.baseline_orders(), (std::vector<int64_t>{2, 6}));
    EXPECT_NO_THROW(o.check());
    for (const char* bad : {"2,,6", "2;6", "13", "-1", "x"}) {
        o.baselines = bad;
        EXPECT_THROW(o.check(), UsageError) << bad;
    }
}

TEST(BenchOptions, those_of_whole_models_are_refused_for_an_op) {
    for (const char* name : {"--mixer=mamba1", "--d-model=8", "--tile=8", "--keep=1", "--memory=1GB"}) {
        BenchOptions o;
        parse(o, {"scan", name});
        EXPECT_THROW(o.check(), UsageError) << name;
    }
    BenchOptions model;
    parse(model, {"train_step", "--tile=8"});
    EXPECT_NO_THROW(model.check());
}

TEST(BenchOptions, the_op_needs_no_name) {
    BenchOptions o;
    parse(o, {"scan", "--repeats", "3"});
    EXPECT_EQ(o.op, "scan");
    BenchOptions twice;
    EXPECT_THROW(parse(twice, {"scan", "ssd"}), UsageError);
}

TEST(Help, lists_every_option_with_its_default_and_an_example) {
    TrainOptions o;
    OptionList list = o.list();
    const std::string text = help_text(kText, list);
    for (const std::string& name : list.names()) EXPECT_THAT(text, HasSubstr("--" + name));
    EXPECT_THAT(text, HasSubstr("[default: 0.001]"));
    EXPECT_THAT(text, HasSubstr("[default: 16 for mamba1, 128 for"));
    EXPECT_THAT(text, HasSubstr("example:\n  adder train --domain dna"));
}

}  // namespace
}  // namespace adder::cli
