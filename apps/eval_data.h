// What `eval` scores: the input, by default in the parts that the run of the checkpoint was trained and
// chosen with.
#pragma once
#include <set>
#include <span>
#include <string>

#include "apps/console.h"
#include "apps/setup.h"

namespace adder {

// Reads and reports the input. Of the data of the checkpoint's run (by its digest) it takes that run's split
// where no option in `given` names one, and says so; where it is split otherwise, as by a store that brings
// its parts, it warns. Errors: those of
// reading.
Dataset load_evaluation(const LoadedModel& loaded, const DataOptions& reading,
                        const OptionList& command, const std::set<std::string>& given, Console& console);

// The segments of `part`, train, valid, test or all; "" = valid, or all where nothing is split. Throws Error
// for a part of what is not split, and for one that is empty.
std::vector<Segment> evaluated_part(const Dataset& data, const std::string& part);

}  // namespace adder
