// The two records of a run that people and programs read while it goes on: metrics.jsonl and TensorBoard event files.
// Neither is needed to resume; both are cut back to the checkpoint from which a run goes on.
#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace adder {

struct StepMetrics {
    int64_t step = 0;  // from 1
    double loss = 0;   // nats per token
    double grad_norm = 0;  // before the clip
    double lr = 0;
    int64_t tokens = 0;  // read by the run so far
    double tokens_per_s = 0;
};

struct EvalMetrics {
    int64_t step = 0;  // 0: before the first
    double valid_loss = 0;  // nats per token, of a classifier per record
    // Of a classifier; NaN = there are no classes.
    double accuracy = std::numeric_limits<double>::quiet_NaN(), macro_f1 = 0, mcc = 0;
    bool of_classes() const { return accuracy == accuracy; }
};

// A file that only grows; one write a call. Errors name the path and the reason.
class AppendFile {
  public:
    // Creates `path` or opens it at its end; throws when another process holds it open this way.
    explicit AppendFile(std::string path);
    ~AppendFile();
    AppendFile(const AppendFile&) = delete;
    AppendFile& operator=(const AppendFile&) = delete;

    const std::string& path() const { return path_; }
    void append(std::string_view bytes);
    void cut(int64_t bytes);  // to this length
    void sync();              // to the disk

  private:
    std::string path_;
    int fd_ = -1;
};

// Appends to FOLDER/metrics.jsonl, one JSON object a line. Step rows have the keys of StepMetrics; evaluation rows
// `step, valid_loss, valid_bits_per_token`, of a classifier `step, valid_loss, valid_accuracy, valid_macro_f1, valid_mcc`.
// Numbers have the shortest text that reads back as the same double; one that
// is not finite is null. A row is one write: a kill leaves at most a torn last line, which the next opening cuts.
class MetricsLog {
  public:
    // Keeps the rows with step <= `last_step`, byte for byte, and cuts the file after them; 0 without an evaluation keeps
    // none and starts over. Rows of a step belong before its checkpoint: those that a kill kept from being written are not made up for
    // (a warning says so). Throws Error naming file and line when a row before the cut is damaged, or when writing fails.
    // Evaluation rows after `evaluated_step` are cut too.
    MetricsLog(const std::string& folder, int64_t last_step, int64_t evaluated_step);
    void write(const StepMetrics& m);
    void write(const EvalMetrics& m);
    // Makes all rows so far survive a power cut; a checkpoint is complete only after it.
    void sync() { file_.sync(); }

  private:
    AppendFile file_;
};

// Writes FOLDER/events.out.tfevents.*: tags loss/train, grad_norm, lr, tokens_per_s and loss/valid. Every start of a run
// opens a new file, named to sort after those there, which begins with the mark that makes TensorBoard drop what older
// files say about later steps.
class EventFile {
  public:
    EventFile(const std::string& folder, int64_t last_step);
    void write(const StepMetrics& m);
    void write(const EvalMetrics& m);

  private:
    AppendFile file_;
};

}  // namespace adder
