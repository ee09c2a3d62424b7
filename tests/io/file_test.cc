#include "io/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "io/sha256.h"
#include "tests/io/scratch.h"

namespace adder {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// Limits the size of files for as long as it lives: what a full disk looks like to a process.
class FileSizeLimit {
  public:
    explicit FileSizeLimit(rlim_t bytes) {
        old_handler_ = ::signal(SIGXFSZ, SIG_IGN);
        ::getrlimit(RLIMIT_FSIZE, &old_);
        const rlimit now{bytes, old_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &now);
    }
    ~FileSizeLimit() {
        ::setrlimit(RLIMIT_FSIZE, &old_);
        ::signal(SIGXFSZ, old_handler_);
    }

  private:
    rlimit old_{};
    void (*old_handler_)(int);
};

TEST(AtomicFile, the_target_is_untouched_until_commit_and_complete_after) {
    Scratch w;
    w.put("a", "old");
    {
        AtomicFile file(w.path("a"));
        file.write("new ");
        file.write(std::string(200'000, 'x'));
        file.write("end");
        EXPECT_EQ(w.get("a"), "old");
        file.commit();
    }
    EXPECT_EQ(w.get("a"), "new " + std::string(200'000, 'x') + "end");
    EXPECT_EQ(w.n_files(), 1);
}

TEST(AtomicFile, without_commit_nothing_is_left) {
    Scratch w;
    {
        AtomicFile file(w.path("a"));
        file.write(std::string(100'000, 'x'));
        EXPECT_EQ(w.n_files(), 1);
    }
    EXPECT_EQ(w.n_files(), 0);
}

TEST(AtomicFile, a_full_disk_names_path_reason_and_remedy_and_leaves_nothing) {
    Scratch w;
    const FileSizeLimit limit(100'000);
    for (const size_t n : {size_t{300'000}, size_t{60'000}}) {  // in write(), and in commit()
        const std::string what = error_of([&] {
            AtomicFile file(w.path("a"));
            for (int i = 0; i < 3; ++i) file.write(std::string(n, 'x'));
            file.commit();
        });
        EXPECT_THAT(what, AllOf(HasSubstr(w.path("a")), HasSubstr("File too large"), HasSubstr("hint: ")));
        EXPECT_EQ(w.n_files(), 0);
    }
}

TEST(AtomicFile, folders_devices_and_missing_folders_are_errors) {
    Scratch w;
    EXPECT_THAT(error_of([&] { AtomicFile f(w.folder()); }), HasSubstr("is a folder"));
    EXPECT_THAT(error_of([&] { AtomicFile f("/dev/null"); }), HasSubstr("a device"));
    EXPECT_THAT(error_of([&] { AtomicFile f(w.path("no/such/a")); }), HasSubstr("no/such does not exist"));
    EXPECT_THAT(error_of([&] { AtomicFile f(""); }), HasSubstr("empty"));
    EXPECT_THAT(error_of([&] { AtomicFile f(w.path("new/")); }), HasSubstr("is the name of a folder"));
    w.put("file", "");
    EXPECT_THAT(error_of([&] { AtomicFile f(w.path("file/a")); }), HasSubstr("Not a directory"));
}

TEST(AtomicFile, an_unwritable_folder_is_an_error) {
    Scratch w;
    ASSERT_EQ(::chmod(w.folder().c_str(), 0555), 0);
    if (::access(w.folder().c_str(), W_OK) == 0) GTEST_SKIP() << "this user may write anywhere";
    EXPECT_THAT(error_of([&] { AtomicFile f(w.path("a")); }), HasSubstr("Permission denied"));
    ::chmod(w.folder().c_str(), 0755);
}

TEST(AtomicFile, what_a_killed_process_left_is_no_obstacle_and_can_be_removed) {
    Scratch w;
    const std::string name = temporary_name();
    const size_t number = name.rfind('-') + 1;
    for (int i = 1; i <= 1000; ++i)
        w.put(name.substr(0, number) + std::to_string(std::stoi(name.substr(number)) + i), "left");
    write_file(w.path("a"), "x");
    AtomicFolder folder(w.path("b"));
    folder.commit();
    w.put("adder-tmp-1", "kept");
    remove_leftovers(w.folder());
    EXPECT_EQ(w.get("a"), "x");
    EXPECT_EQ(w.n_files(), 3);
}

TEST(AtomicFile, what_a_killed_process_left_goes_and_what_is_being_written_stays) {
    Scratch w;
    const pid_t child = ::fork();
    if (child == 0) {
        AtomicFile file(w.path("a"));
        AtomicFolder folder(w.path("b"));
        w.put(std::filesystem::path(folder.temporary()).filename().string() + "/0000.wav", "left");
        ::raise(SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(w.n_files(), 2);
    AtomicFile ours(w.path("c"));
    const std::string elsewhere = w.put(".adder-tmp-0-1-0", "of another machine");
    remove_abandoned(w.path("a"));
    EXPECT_EQ(w.n_files(), 2);
    EXPECT_TRUE(std::filesystem::exists(elsewhere));
    ours.write("x");
    ours.commit();
    EXPECT_EQ(w.get("c"), "x");
}

TEST(AtomicFile, a_link_stays_and_what_it_leads_to_is_written) {
    Scratch w;
    std::filesystem::create_directory(w.path("elsewhere"));
    w.put("elsewhere/a", "old");
    std::filesystem::create_symlink("elsewhere/a", w.path("second"));
    std::filesystem::create_symlink(w.path("second"), w.path("first"));
    std::filesystem::create_symlink("elsewhere/none", w.path("new"));
    write_file(w.path("first"), "new");
    write_file(w.path("new"), "too");
    for (const char* link : {"first", "second", "new"})
        EXPECT_TRUE(std::filesystem::is_symlink(w.path(link))) << link;
    EXPECT_EQ(w.get("elsewhere/a") + w.get("elsewhere/none"), "newtoo");
}

TEST(AtomicFile, the_longest_legal_name_can_be_written) {
    Scratch w;
    const std::string name(255, 'n');
    write_file(w.path(name), "x");
    EXPECT_EQ(w.get(name), "x");
}

TEST(AtomicFolder, appears_complete_or_not_at_all) {
    Scratch w;
    {
        AtomicFolder lost(w.path("lost"));
        write_file(lost.temporary() + "/a", "1");
    }
    EXPECT_EQ(w.n_files(), 0);
    AtomicFolder folder(w.path("kept/"));
    write_file(folder.temporary() + "/a", "1");
    std::filesystem::create_directory(folder.temporary() + "/sub");
    write_file(folder.temporary() + "/sub/b", "2");
    EXPECT_FALSE(std::filesystem::exists(w.path("kept")));
    folder.commit();
    EXPECT_EQ(w.get("kept/a") + w.get("kept/sub/b"), "12");
    EXPECT_EQ(w.n_files(), 1);
}

// As a file system without the exchange answers.
int no_exchange(const char*, const char*) {
    errno = EINVAL;
    return -1;
}

// Puts a new folder in the place of one that holds "old".
void replace_folder(const Scratch& w, const std::string& name, ExchangeNames exchange) {
    std::filesystem::create_directory(w.path(name));
    w.put(name + "/a", "old");
    AtomicFolder folder(w.path(name), true, exchange);
    write_file(folder.temporary() + "/a", "new");
    EXPECT_EQ(w.get(name + "/a"), "old");
    folder.commit();
}

TEST(AtomicFolder, replaces_with_and_without_the_exchange_of_names) {
    for (const ExchangeNames exchange : {exchange_names, no_exchange}) {
        Scratch w;
        replace_folder(w, "a", exchange);
        EXPECT_EQ(w.get("a/a"), "new");
        EXPECT_EQ(w.n_files(), 1);
    }
}

TEST(AtomicFolder, another_failure_of_the_exchange_leaves_the_old_one) {
    Scratch w;
    EXPECT_THAT(error_of([&] { replace_folder(w, "a", [](const char*, const char*) { return errno = EACCES, -1; }); }),
                AllOf(HasSubstr(w.path("a")), HasSubstr("Permission denied")));
    EXPECT_EQ(w.get("a/a"), "old");
    EXPECT_EQ(w.n_files(), 1);
}

TEST(AtomicFolder, that_cannot_take_the_name_gives_it_back) {
    Scratch w;
    // The new folder is lost, so that the old one steps aside for nothing.
    const auto lose = [](const char* fresh, const char*) {
        std::filesystem::remove_all(fresh);
        return errno = ENOSYS, -1;
    };
    EXPECT_THAT(error_of([&] { replace_folder(w, "a", lose); }), HasSubstr("No such file"));
    EXPECT_EQ(w.get("a/a"), "old");
    EXPECT_EQ(w.n_files(), 1);
}

TEST(AtomicFolder, that_a_kill_left_aside_gets_its_name_back) {
    for (const bool by_leftovers : {false, true})
        for (const bool successor : {false, true}) {
            Scratch w;
            std::filesystem::create_directory(w.path(".adder-tmp-old-a"));
            w.put(".adder-tmp-old-a/x", "old");
            if (successor) {
                std::filesystem::create_directory(w.path("a"));
                w.put("a/x", "new");
            }
            if (by_leftovers)
                remove_leftovers(w.folder());
            else
                AtomicFolder(w.path("a"), true);
            EXPECT_EQ(w.get("a/x"), successor ? "new" : "old");
            EXPECT_EQ(w.n_files(), 1);
        }
}

TEST(AtomicFolder, never_replaces_what_exists) {
    Scratch w;
    w.put("file", "old");
    EXPECT_THAT(error_of([&] { AtomicFolder f(w.path("file")); }), HasSubstr("File exists"));
    AtomicFolder late(w.path("late"));
    std::filesystem::create_directory(w.path("late"));
    w.put("late/a", "old");
    EXPECT_THAT(error_of([&] { late.commit(); }), HasSubstr("Directory not empty"));
    AtomicFolder other(w.path("other"));
    w.put("other", "old");
    EXPECT_THAT(error_of([&] { other.commit(); }), HasSubstr("Not a directory"));
    EXPECT_EQ(w.get("late/a") + w.get("other"), "oldold");
    EXPECT_THAT(error_of([&] { AtomicFolder f(w.path("no/such")); }), HasSubstr("No such file"));
}

TEST(AtomicFolder, takes_the_place_of_an_empty_folder) {
    Scratch w;
    std::filesystem::create_directory(w.path("empty"));
    AtomicFolder folder(w.path("empty/"));
    write_file(folder.temporary() + "/a", "new");
    folder.commit();
    EXPECT_EQ(w.get("empty/a"), "new");
    EXPECT_EQ(w.n_files(), 1);
}

TEST(AtomicFolder, a_link_stays_and_the_folder_behind_it_is_replaced) {
    Scratch w;
    std::filesystem::create_directories(w.path("elsewhere/clips"));
    w.put("elsewhere/clips/old", "old");
    std::filesystem::create_directory_symlink("elsewhere/clips/", w.path("link"));
    EXPECT_THAT(error_of([&] { AtomicFolder f(w.path("link")); }), HasSubstr("File exists"));
    {
        AtomicFolder folder(w.path("link"), true);
        write_file(folder.temporary() + "/new", "new");
        folder.commit();
    }
    EXPECT_TRUE(std::filesystem::is_symlink(w.path("link")));
    EXPECT_EQ(w.get("elsewhere/clips/new"), "new");
    EXPECT_FALSE(std::filesystem::exists(w.path("elsewhere/clips/old")));
    EXPECT_EQ(w.n_files(), 2);
}

TEST(MappedFile, shows_the_bytes_and_survives_a_move) {
    Scratch w;
    MappedFile a(w.put("a", "hello"));
    MappedFile b(std::move(a));
    EXPECT_EQ(b.bytes().size(), 5u);
    EXPECT_EQ(static_cast<char>(b.bytes()[4]), 'o');
    EXPECT_TRUE(MappedFile(w.put("empty", "")).bytes().empty());
    EXPECT_EQ(read_file(w.path("a")), "hello");
}

TEST(MappedFile, missing_files_folders_and_devices_are_errors) {
    Scratch w;
    EXPECT_THAT(error_of([&] { MappedFile f(w.path("none")); }),
                AllOf(HasSubstr("none"), HasSubstr("No such file")));
    EXPECT_THAT(error_of([&] { MappedFile f(w.folder()); }), HasSubstr("is a folder"));
    EXPECT_THAT(error_of([&] { MappedFile f("/dev/null"); }), HasSubstr("not a regular file"));
}

// FIPS 180-4 example values: CSRC.NIST.GOV, SHA256.pdf (one block, two blocks), and the million 'a' of FIPS
// 180-2.
TEST(Sha256, gives_the_standard_test_values) {
    auto hash = [](std::string_view text) {
        Sha256 h;
        h.update(text);
        return h.hex();
    };
    EXPECT_EQ(hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    EXPECT_EQ(hash(std::string(1'000'000, 'a')),
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, does_not_depend_on_how_the_stream_is_cut) {
    std::string text;
    for (int i = 0; i < 400; ++i) text += static_cast<char>(i * 7);
    Sha256 whole;
    whole.update(text);
    const std::string want = whole.hex();
    for (const size_t step : {1u, 3u, 55u, 56u, 63u, 64u, 65u, 127u, 129u}) {
        Sha256 parts;
        for (size_t i = 0; i < text.size(); i += step) parts.update(std::string_view(text).substr(i, step));
        EXPECT_EQ(parts.hex(), want) << step;
    }
}

}  // namespace
}  // namespace adder
