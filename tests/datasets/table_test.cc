#include "datasets/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "datasets/labels.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string joined(const Table& t) {
    std::string s;
    for (const std::string& c : t.columns()) s += c + "|";
    for (int64_t row = 0; row < t.n_rows(); ++row) {
        s += " " + std::to_string(t.line(row)) + ":";
        for (size_t c = 0; c < t.columns().size(); ++c) s += t.at(row, static_cast<int64_t>(c)) + "|";
    }
    return s;
}

TEST(Table, tabs_commas_semicolons_and_json_lines_say_the_same) {
    Scratch w;
    const std::string want = "name|label| 2:a|x| 3:b|y z|";
    for (const char* text : {"name\tlabel\na\tx\nb\ty z\n", "name,label\na,x\nb,y z", "name;label\r\na;x\r\nb;y z\r\n",
                             "\xEF\xBB\xBFname,label\na,x\nb,y z\n", " name , label \n a , x\nb,\"y z\"\n",
                             "\"name\"\t\"label\"\n\"a\"\t\"x\"\n\"b\"\t\"y z\"\n", "#name\tlabel\na\tx\nb\ty z\n",
                             "# name,label\na,x\nb,y z\n"})
        EXPECT_EQ(joined(Table(w.put("t", text), {"name"})), want) << text;
    EXPECT_EQ(
        joined(Table(w.put("t", "\n{\"name\": \"a\", \"label\": \"x\"}\n{\"label\": \"y z\", \"name\": \"b\"}\n"))),
        want);
}

TEST(Table, quoted_fields_hold_separators_quotes_and_line_breaks) {
    Scratch w;
    EXPECT_EQ(joined(Table(w.put("t", "name,label\n\"a,b\",\"say \"\"x\"\"\"\n\"c\nd\",y\ne,\"\"\n"))),
              "name|label| 2:a,b|say \"x\"| 3:c\nd|y| 5:e||");
    EXPECT_THAT(error_of([&] { Table(w.put("t", "name,label\na,x\n\"b,y\nc,z\n")); }),
                AllOf(HasSubstr("line 3"), HasSubstr("does not end")));
    EXPECT_THAT(error_of([&] { Table(w.put("t", "name,label\n\"a\"b,x\n")); }),
                AllOf(HasSubstr("line 2"), HasSubstr("after the closing quote")));
}

TEST(Table, blank_lines_and_comments_are_skipped_and_lines_counted) {
    Scratch w;
    EXPECT_EQ(
        joined(Table(w.put("t", "# made by hand, twice\n\nname\tlabel\n\n# a word\na\tx\n\t\nb\ty\n\n"), {"name"})),
        "name|label| 6:a|x| 8:b|y|");
    EXPECT_THAT(error_of([&] { Table(w.put("t", "name\tlabel\na\tx\n#b\ty\n"), {"name"}); }),
                AllOf(HasSubstr("line 3"), HasSubstr("a comment or a row")));
    EXPECT_EQ(joined(Table(w.put("t", "name\tlabel\n\"#b\"\ty\n"))), "name|label| 2:#b|y|");
}

TEST(Table, json_values_become_text_and_missing_keys_empty) {
    Scratch w;
    EXPECT_EQ(joined(Table(w.put("t", "{\"name\":1,\"x\":0.5}\n{\"name\":true,\"label\":null,\"y\":\"\\u00e4\"}\n"))),
              "name|x|label|y| 1:1|0.5||| 2:true|||\xC3\xA4|");
    EXPECT_THAT(error_of([&] { Table(w.put("t", "{\"name\":1}\n{\"name\":[1]}\n")); }),
                AllOf(HasSubstr("line 2"), HasSubstr("'name' is no text")));
    EXPECT_THAT(error_of([&] { Table(w.put("t", "{\"name\":1}\nname\n")); }),
                AllOf(HasSubstr("line 2"), HasSubstr("no JSON")));
    EXPECT_THAT(error_of([&] { Table(w.put("t", "{\"name\":1}\n[1]\n")); }),
                AllOf(HasSubstr("line 2"), HasSubstr("no JSON object")));
}

TEST(Table, what_is_wrong_is_named_with_file_line_and_remedy) {
    Scratch w;
    const auto error = [&](std::string_view text) { return error_of([&] { Table(w.put("file.tsv", text)); }); };
    EXPECT_THAT(error("name\tlabel\na\tx\nb\n"),
                AllOf(HasSubstr("file.tsv: line 3: 1 field where the header has 2"), HasSubstr("tabs")));
    EXPECT_THAT(error("name,label\na,x,1\n"), AllOf(HasSubstr("line 2: 3 fields"), HasSubstr("commas")));
    EXPECT_THAT(error("name,label,name\na,x,1\n"), HasSubstr("line 1: two columns are named 'name'"));
    EXPECT_THAT(error(""), HasSubstr("is empty"));
    EXPECT_THAT(error(" \n\n"), HasSubstr("is empty"));
    EXPECT_THAT(error("name\tlabel\n"), HasSubstr("has no rows"));
    EXPECT_THAT(error("name\tlabel\ra\tx\r"), HasSubstr("\\r alone"));
    EXPECT_THAT(error(std::string_view("name\tlabel\na\t\0\n", 15)), HasSubstr("no text"));
    EXPECT_THAT(error("\x1F\x8B\x08"), HasSubstr("gunzip"));
    EXPECT_THAT(error("\xFF\xFEn"), HasSubstr("UTF-8"));
    EXPECT_THAT(error(">a\nACGT\n"), HasSubstr("FASTA"));
    EXPECT_THAT(error("[{\"name\": 1}]"), HasSubstr("JSON array"));
    EXPECT_THAT(error_of([&] { Table(w.path("none.tsv")); }), HasSubstr("none.tsv"));
    EXPECT_THAT(error_of([&] { Table(w.put("t.tsv", "name label\na x\n")).require("label"); }),
                AllOf(HasSubstr("no column 'label'"), HasSubstr("name label"), HasSubstr("tabs")));
}

TEST(Table, manifests_are_told_from_other_files) {
    Scratch w;
    for (const char* text : {"path\tlabel\n", "# a word\nlabel,sequence\n", "{\"path\": \"a.wav\"}\n", "#path\tlabel\n",
                             "\xEF\xBB\xBF\"label\",\"path\"\n"})
        EXPECT_TRUE(looks_like_manifest(w.put("m", text))) << text;
    for (const char* text :
         {"name\tlabel\n", ">path\nACGT\n", "@path\nACGT\n", "", "RIFF\0\0", "{\"name\": 1}\n", "a\npath\tx\n"})
        EXPECT_FALSE(looks_like_manifest(w.put("m", text))) << text;
    EXPECT_FALSE(looks_like_manifest(w.path("none")));
    EXPECT_FALSE(looks_like_manifest(w.folder()));
}

TEST(Labels, name_label_split_and_group_are_read) {
    Scratch w;
    const LabelTable t =
        read_labels(w.put("t", "extra\tlabel\tname\tsplit\tgroup\n1\tx\ta\ttrain\tg\n2\ty\tb\ttest\th\n"));
    ASSERT_EQ(t.rows.size(), 2u);
    EXPECT_TRUE(t.has_split && t.has_group);
    EXPECT_EQ(t.rows[1].name + t.rows[1].label + t.rows[1].group, "byh");
    EXPECT_EQ(t.rows[0].split, SplitPart::train);
    EXPECT_EQ(t.rows[1].split, SplitPart::test);
    EXPECT_EQ(t.rows[1].line, 3);
    const LabelTable by_extra = read_labels(w.path("t"), "extra");
    EXPECT_EQ(by_extra.rows[1].group, "2");
    const LabelTable plain = read_labels(w.put("u", "name,label\na,x\n"));
    EXPECT_FALSE(plain.has_split || plain.has_group);
    EXPECT_EQ(plain.rows[0].split, SplitPart::none);
}

TEST(Labels, bad_rows_are_named) {
    Scratch w;
    const auto error = [&](const char* text, const char* group = "") {
        return error_of([&] { read_labels(w.put("labels.tsv", text), group); });
    };
    EXPECT_THAT(error("name\tlabel\na\tx\nb\ty\na\tz\n"),
                AllOf(HasSubstr("labels.tsv: line 4"), HasSubstr("line 2 too")));
    EXPECT_THAT(error("name\tclass\na\tx\n"), AllOf(HasSubstr("no column 'label'"), HasSubstr("name, class")));
    EXPECT_THAT(error("id\tlabel\na\tx\n"), HasSubstr("no column 'name'"));
    EXPECT_THAT(error("name\tlabel\na\t\n"), AllOf(HasSubstr("line 2"), HasSubstr("'label' is empty")));
    EXPECT_THAT(error("name\tlabel\n\tx\n"), HasSubstr("'name' is empty"));
    EXPECT_THAT(error("name\tlabel\tsplit\na\tx\tTrain\n"),
                AllOf(HasSubstr("line 2"), HasSubstr("train, valid or test")));
    EXPECT_THAT(error("name\tlabel\tgroup\na\tx\t\n"), HasSubstr("'group' is empty"));
    EXPECT_THAT(error("name\tlabel\na\tx\n", "speaker"), HasSubstr("no column 'speaker'"));
    EXPECT_THAT(error("name\tlabel\tsplit\tgroup\na\tx\ttrain\tg\nb\tx\ttest\th\nc\tx\ttest\tg\n"),
                AllOf(HasSubstr("line 4: group 'g' is in train on line 2 and in test here")));
}

TEST(Labels, every_name_needs_its_label_and_every_label_its_name) {
    Scratch w;
    const LabelTable t = read_labels(w.put("labels.tsv", "name\tlabel\na\tx\nb\ty\nc\tx\nd\ty\n"));
    EXPECT_THAT(match_labels(t, std::vector<std::string>{"d", "a", "c", "b"}, "e.h5"), ElementsAre(3, 0, 2, 1));
    const std::string e = error_of([&] {
        match_labels(t, std::vector<std::string>{"a", "q", "r", "s", "t", "b"}, "e.h5");
    });
    EXPECT_THAT(e, AllOf(HasSubstr("not in " + w.path("labels.tsv") + ": 4 (q, r, s, ...) of 6"),
                         HasSubstr("not in e.h5: 2 (c, d) of 4")));
    EXPECT_THAT(error_of([&] {
                    match_labels(t, std::vector<std::string>{"a", "b", "c", "d", "a"}, "e.h5");
                }),
                HasSubstr("more than once: 1 (a)"));
    EXPECT_THAT(
        error_of([&] {
            match_labels(t, std::vector<std::string>{"a", "x.fa:b", "y.fa:b", "c", "d"}, "the input");
        }),
        AllOf(HasSubstr(
                  "labels.tsv: line 3: 'b' is the name of several records of the input: 2 (x.fa:b, y.fa:b)"),
              HasSubstr("write file:name")));
}

TEST(Manifest, files_and_sequences_have_names_parts_and_labels) {
    Scratch w;
    const Manifest m =
        read_manifest(w.put("m.csv", "path,label,start,end\nx/a.wav,one,0.5,2\n/abs/b.wav,two,,\n"), true);
    EXPECT_EQ(m.rows[0].path, w.folder() + "/x/a.wav");
    EXPECT_EQ(m.rows[0].name, "x/a.wav");
    EXPECT_EQ(m.rows[0].start, 0.5);
    EXPECT_EQ(m.rows[0].end, 2.0);
    EXPECT_EQ(m.rows[1].path, "/abs/b.wav");
    EXPECT_FALSE(m.rows[1].start || m.rows[1].end);
    const Manifest s = read_manifest(w.put("m.tsv", "sequence\tname\nACGT\tq\nGG\tr\n"), false);
    EXPECT_EQ(s.rows[0].sequence + s.rows[1].name, "ACGTr");
    EXPECT_EQ(read_manifest(w.put("m.tsv", "sequence\nACGT\nGG\n"), false).rows[1].name, "row2");
}

TEST(Manifest, bad_rows_are_named) {
    Scratch w;
    const auto error = [&](const char* text) { return error_of([&] { read_manifest(w.put("m.tsv", text), true); }); };
    EXPECT_THAT(error("path\tsequence\tlabel\na\tA\tx\n"), HasSubstr("has one of them"));
    EXPECT_THAT(error("name\tlabel\na\tx\n"), HasSubstr("no column 'path' or 'sequence'"));
    EXPECT_THAT(error("path\nx\n"), HasSubstr("no column 'label'"));
    EXPECT_THAT(error("path\tlabel\na\tx\n\ty\n"), AllOf(HasSubstr("line 3"), HasSubstr("'path' is empty")));
    EXPECT_THAT(error("path\tlabel\tstart\na\tx\t-1\n"), HasSubstr("start '-1'"));
    EXPECT_THAT(error("path\tlabel\tstart\tend\na\tx\t2\t1.5\n"), HasSubstr("line 2: end 1.5 is not after start 2"));
    EXPECT_THAT(error("name\tpath\tlabel\na\tp\tx\na\tq\tx\n"), HasSubstr("line 2 too"));
}

TEST(Labels, classes_are_sorted_and_different) {
    EXPECT_THAT(classes_of(std::vector<std::string>{"b", "a", "b", "10", "9"}), ElementsAre("10", "9", "a", "b"));
}

}  // namespace
}  // namespace adder
