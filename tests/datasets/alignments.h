// SAM text as BAM and CRAM files for the tests, written with htslib.
#pragma once
#include <htslib/hts.h>
#include <htslib/sam.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "tests/io/scratch.h"

namespace adder {

// mode: "w" SAM, "wz" SAM in bgzip, "wb" BAM, "wc" CRAM, which needs `reference`, a FASTA file, or "no_ref".
inline std::string write_alignments(const Scratch& w, const std::string& name, std::string_view sam,
                                    const char* mode, const std::string& reference = "") {
    const std::string from = w.put(name + ".source", sam), to = w.path(name);
    struct Close {
        void operator()(htsFile* f) const { hts_close(f); }
        void operator()(sam_hdr_t* h) const { sam_hdr_destroy(h); }
        void operator()(bam1_t* b) const { bam_destroy1(b); }
    };
    const auto check = [&](bool ok) {
        if (!ok) throw std::runtime_error("cannot write " + to);
    };
    const std::unique_ptr<htsFile, Close> in(hts_open(from.c_str(), "r"));
    std::unique_ptr<htsFile, Close> out(hts_open(to.c_str(), mode));
    check(in && out);
    if (reference == "no_ref") {
        check(hts_set_opt(out.get(), CRAM_OPT_NO_REF, 1) == 0);
    } else if (!reference.empty()) {
        check(hts_set_opt(out.get(), CRAM_OPT_REFERENCE, reference.c_str()) == 0);
    }
    const std::unique_ptr<sam_hdr_t, Close> header(sam_hdr_read(in.get()));
    const std::unique_ptr<bam1_t, Close> record(bam_init1());
    check(header && sam_hdr_write(out.get(), header.get()) == 0);
    int rc;
    while ((rc = sam_read1(in.get(), header.get(), record.get())) >= 0)
        check(sam_write1(out.get(), header.get(), record.get()) >= 0);
    check(rc == -1 && hts_close(out.release()) == 0);
    return to;
}

}  // namespace adder
