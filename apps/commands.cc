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
    static const std::vector<Command> table = {
        {"train", kTrainSummary, run_train},
        {"eval", kEvalSummary, run_eval},
        {"generate", kGenerateSummary, run_generate},
        {"embed", kEmbedSummary, run_embed},
        {"prepare", kPrepareSummary, run_prepare},
        {"finetune", kFinetuneSummary, run_finetune},
        {"predict", kPredictSummary, run_predict},
        {"probe", kProbeSummary, run_probe},
        {"report", kReportSummary, run_report},
        {"plan", kPlanSummary, run_plan},
        {"info", kInfoSummary, run_info},
        {"bench", kBenchSummary, run_bench},
        {"selftest", kSelftestSummary, run_selftest},
    };
    return table;
}

}  // namespace adder
