// The --out folder of a run: refuses a used one, finds what to go on from, and records what the run is.
#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "apps/machine.h"
#include "core/options.h"
#include "io/file.h"
#include "pipelines/domain.h"

namespace adder {

class RunFolder {
  public:
    // A run to go on with is held for this process from here on. Throws Error when `path` is a file, or holds something
    // and neither flag is set, or --overwrite names a folder that is not a run, or another process trains there.
    RunFolder(const std::string& path, bool resume, bool overwrite);

    const std::string& path() const { return path_; }
    // run.json of the run that goes on; null for a new one.
    const nlohmann::json& stored() const { return stored_; }
    // The checkpoint to go on from; empty = from the beginning.
    const std::string& checkpoint() const { return checkpoint_; }
    // Throws Error when the data is not that of the run.
    void check_data(const Dataset& data) const;
    // Makes the folder and holds it for this process; removes with --overwrite the run that is there and what eval and
    // probe said of it, else what a killed run left; writes run.json.
    void prepare(const nlohmann::json& record);

  private:
    std::string path_, checkpoint_;
    bool overwrite_;
    std::unique_ptr<FolderLock> lock_;
    nlohmann::json stored_;
};

// Who writes a file in the folder of a run: the run itself, what measures its model, or what generates with it.
enum class RunFileBy { run, measuring, generating };
struct RunFile {
    const char* name;
    RunFileBy by;
};
// The files that have a meaning there, each of them optional; checkpoints and event files are not among them.
std::span<const RunFile> run_files();

// Whether an entry of this name in the folder of a run was written by it: its record, numbers, checkpoints, results.
bool is_of_run(std::string_view name);
// Whether --overwrite removes an entry of this name: what is of the run, and what was measured of it.
bool goes_with_run(std::string_view name);

// run.json: options, program, machine, data. The tile decides the bits of a run, so it is recorded even where it was
// chosen to fit the memory.
nlohmann::json run_record(const OptionList& options, const Dataset& data, int64_t tile, Machine& machine);
// What of the machine is other than in the run that goes on, so that its bits are too: "device: was cpu, is cuda"; empty =
// nothing is.
std::string machine_change(const nlohmann::json& was, const nlohmann::json& now);

}  // namespace adder
