#include "pipelines/dna/dna.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "core/error.h"
#include "datasets/fasta.h"
#include "pipelines/dna/context_model.h"
#include "pipelines/dna/load.h"
#include "pipelines/dna/tokenizer.h"

namespace adder::dna {

namespace {

nlohmann::json defaults() {
    return {{"length", 1024}, {"batch", 8}};
}

std::unique_ptr<const Tokenizer> tokenizer_of(const DataOptions& options) { return make_tokenizer(options.dna); }

// How much a token counts whose bases are all of lower case.
double lower_weight(const Tokenizer& tokenizer) {
    const std::vector<uint8_t> bases(static_cast<size_t>(tokenizer.width()), kBaseA | kLower);
    uint16_t id = 0;
    float weight = 0;
    tokenizer.write(bases, 0, 1, false, &id, &weight);
    return weight;
}

std::vector<Baseline> evaluate(const Dataset& data, std::span<const Segment> on, std::span<const int64_t> orders,
                               const Tokenizer& of_model) {
    if (orders.empty()) return {};
    std::vector<std::span<const uint8_t>> train;
    for (const Segment& s : data.train) train.push_back(member_of(data.records, s).symbols);
    const ContextModel model(static_cast<int>(*std::max_element(orders.begin(), orders.end())), train,
                             lower_weight(of_model));
    std::vector<BitCount> totals(static_cast<size_t>(model.longest()) + 1);
    for (const Segment& s : on) model.score(member_of(data.records, s).symbols, *data.tokenizer, totals);
    std::vector<Baseline> rows;
    const auto width = static_cast<double>(data.tokenizer->width());
    for (const int64_t order : orders) {
        const BitCount& total = totals[static_cast<size_t>(order)];
        rows.push_back({fmt::format("order_{}", order), width * total.per_base(), total.bases / width});
    }
    return rows;
}

// The letters of a prompt and where they are from, for messages.
std::pair<std::string, std::string> prompt_letters(const std::string& text_or_file) {
    std::error_code ignored;
    if (text_or_file != "-" && !std::filesystem::exists(text_or_file, ignored)) {
        if (text_or_file.empty())
            fail("[dna] prompt: is empty; hint: give bases or a FASTA file, or leave it out");
        return {text_or_file, "prompt (text, no file of this name)"};
    }
    FastaReader reader(text_or_file);
    FastaRecord record, second;
    reader.next(record);
    if (reader.next(second))
        fail("[dna] {}: expected one record as prompt, got several ({}, {}, ...); hint: give a file with one",
             text_or_file, record.name, second.name);
    return {record.sequence, fmt::format("{}: record {}", text_or_file, record.name)};
}

std::vector<uint16_t> read_prompt(const std::string& text_or_file, const DataOptions& options) {
    const auto [letters, from] = prompt_letters(text_or_file);
    std::vector<uint8_t> symbols;
    BaseCounts counts;
    encode(letters, symbols, counts);
    if (counts.other > 0) {
        // A prompt is short and typed by hand: nothing in it is taken for N in silence.
        size_t at = 0;
        for (BaseCounts one; one.other == 0; ++at) encode(letters.substr(at, 1), symbols, one);
        fail("[dna] {}, position {}: expected a nucleotide code (A C G T U N or IUPAC), got '{}'; hint: replace it with N",
             from, at, letters[at - 1]);
    }
    const auto tokenizer = make_tokenizer(options.dna);
    const int64_t n = static_cast<int64_t>(symbols.size()), count = tokenizer->n_tokens(n);
    if (count * tokenizer->width() != n)
        fail("[dna] {}: {} bases are not a whole number of {}s; hint: leave out the first {}", from, n,
             tokenizer->token(), n % tokenizer->width());
    std::vector<uint16_t> ids(static_cast<size_t>(count));
    std::vector<float> ignored(ids.size());
    tokenizer->write(symbols, 0, count, false, ids.data(), ignored.data());
    return ids;
}

std::vector<uint16_t> alphabet(const DataOptions& options, bool every_letter, int64_t) {
    const int64_t end = make_tokenizer(options.dna)->vocabulary() - (every_letter ? 0 : 1);  // N is the last one
    std::vector<uint16_t> ids;
    for (int64_t id = kA; id < end; ++id) ids.push_back(static_cast<uint16_t>(id));
    return ids;
}

void append_sample(std::string& out, std::string_view header, std::span<const uint16_t> ids, const DataOptions& options) {
    append_fasta(out, header, decode(ids, options.dna));
}

double reverse(const DataOptions& options) { return options.dna.rc_augment; }

nlohmann::json symbol_settings(const DataOptions& options) { return options.dna.symbol_settings(); }

constexpr PackedAlphabet kPacked{{kBaseA, kBaseC, kBaseG, kBaseT}, kLower};

}  // namespace

constinit const Domain kDomain{
    .name = "dna",
    .defaults = defaults,
    .make_tokenizer = tokenizer_of,
    .load = load,
    .evaluate = evaluate,
    .read_prompt = read_prompt,
    .alphabet = alphabet,
    .append_sample = append_sample,
    .signal = nullptr,
    .reverse = reverse,
    .symbol_settings = symbol_settings,
    .packed = &kPacked,
};

}  // namespace adder::dna
