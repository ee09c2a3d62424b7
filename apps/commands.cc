#include "apps/app.h"
#include "apps/cmd_bench.h"
#include "apps/cmd_embed.h"
#include "apps/cmd_eval.h"
#include "apps/cmd_finetune.h"
#include "apps/cmd_generate.h"
#include "apps/cmd_info.h"
#include "apps/cmd_plan.h"
#include "apps/cmd_prepare.h"
#include "apps/cmd_predict.h"
#include "apps/cmd_probe.h"
#include "apps/cmd_report.h"
#include "apps/cmd_selftest.h"
#include "apps/cmd_train.h"

namespace adder {

const std::vector<Command>& commands() {
    static const char* const train_less =
        "another --memory, a smaller --batch or --length, or a smaller model";
    static const std::vector<Command> table = {
        {"train", kTrainSummary, run_train, train_less},
        {"eval", kEvalSummary, run_eval, "a smaller --tile"},
        {"generate", kGenerateSummary, run_generate, "a smaller --batch or --tile"},
        {"embed", kEmbedSummary, run_embed, "a smaller --tile"},
        {"prepare", kPrepareSummary, run_prepare},
        {"finetune", kFinetuneSummary, run_finetune, "another --memory or a smaller --batch"},
        {"predict", kPredictSummary, run_predict, "a smaller --batch"},
        {"probe", kProbeSummary, run_probe},
        {"report", kReportSummary, run_report},
        {"plan", kPlanSummary, run_plan, train_less},
        {"info", kInfoSummary, run_info},
        {"bench", kBenchSummary, run_bench},
        {"selftest", kSelftestSummary, run_selftest},
    };
    return table;
}

}  // namespace adder
