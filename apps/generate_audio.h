// The part of `generate` that is for domains whose records are signals.
#pragma once
#include "apps/app.h"
#include "apps/run_options.h"
#include "apps/setup.h"
#include "model/generate.h"

namespace adder {

// Rules of drawing; `offset`: tokens of a record before those of its first sample.
SamplerOptions sampler_options(const cli::GenerateOptions& options, const LoadedModel& loaded,
                               int64_t offset);

// Makes what `options` ask for and writes it as it is drawn. Errors: those of the prompt and of the output,
// an unknown class, a prompt longer than the record.
void generate_audio(App& app, const cli::GenerateOptions& options, LoadedModel& loaded,
                    const Compute& compute);

}  // namespace adder
