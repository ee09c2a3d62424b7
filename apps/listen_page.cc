#include "apps/listen_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "apps/clip_player.h"
#include "apps/html.h"
#include "core/error.h"
#include "datasets/audio.h"
#include "io/file.h"

namespace adder {

namespace {

constexpr const char* kStyle = R"(
.clips{display:grid;grid-template-columns:repeat(auto-fill,minmax(19rem,1fr));gap:.6rem 1.4rem}
.clip h3{margin:.2em 0}#blind{background:var(--panel);padding:.8em 1em;border-radius:6px}#blind h2{margin-top:0}#blind audio{width:100%}
#blind .pair{display:grid;grid-template-columns:1fr 1fr;gap:1rem}#blind button{font:inherit;margin:.6em .6em .2em 0;padding:.3em .9em}
#votes{width:100%;min-height:7em;font:.8rem ui-monospace,monospace}
@media print{#blind,audio{display:none}}
)";

// Pairs are of one label and, where there are several, of two groups; which is A is drawn anew every time,
// and nothing says which clip it is before the vote.
constexpr const char* kScript = R"(
'use strict';
const clips=[...document.querySelectorAll('.clip')].map(e=>({id:e.dataset.id,name:e.dataset.name,group:e.dataset.group,label:e.dataset.label,src:e.querySelector('audio').src}));
const groups=new Set(clips.map(c=>c.group)),pairs=[];
clips.forEach((a,i)=>clips.slice(i+1).forEach(b=>{if(a.label===b.label&&(groups.size<2||a.group!==b.group))pairs.push([a,b]);}));
const at=id=>document.getElementById(id),rows=[['trial','a','a_group','b','b_group','label','choice']];
let now=null,left=[];
function show(){at('votes').value=rows.map(r=>r.join('\t')).join('\n')+'\n';at('count').textContent=(rows.length-1)+' of '+pairs.length+' pairs judged';
  const save=at('save');URL.revokeObjectURL(save.href);save.href=URL.createObjectURL(new Blob([at('votes').value],{type:'text/plain'}));
  if(groups.size<2)return;
  const wins={};for(const g of groups)wins[g]=0;let ties=0;
  for(const r of rows.slice(1)){if(r[6]==='a')wins[r[2]]++;else if(r[6]==='b')wins[r[4]]++;else ties++;}
  at('tally').textContent=Object.entries(wins).map(([g,n])=>g+': '+n).join(', ')+', equal: '+ties;}
function next(){if(!left.length)left=pairs.map(p=>[Math.random(),p]).sort((p,q)=>p[0]-q[0]).map(p=>p[1]);
  now=left.pop();if(Math.random()<.5)now=[now[1],now[0]];at('a').src=now[0].src;at('b').src=now[1].src;}
function vote(choice){at('a').pause();at('b').pause();rows.push([rows.length,now[0].name,now[0].group,now[1].name,now[1].group,now[0].label,choice]);show();next();}
if(pairs.length){at('blind').hidden=false;for(const c of ['a','b','equal'])at('choose-'+c).addEventListener('click',()=>vote(c));show();next();}
document.addEventListener('play',e=>{for(const p of document.querySelectorAll('audio'))if(p!==e.target)p.pause();},true);
)";

constexpr std::string_view kMark = "<section id=\"clips\" data-files=\"";

constexpr const char* kBlind = R"(<section id="blind" hidden>
<h2>Blind comparison</h2>
<p>Two clips, in an order drawn by chance; what they are is shown nowhere before you have chosen.</p>
<div class="pair"><div><b>A</b><audio id="a" controls></audio></div><div><b>B</b><audio id="b" controls></audio></div></div>
<button id="choose-a">A is better</button><button id="choose-b">B is better</button><button id="choose-equal">equal</button>
<span class="soft" id="count"></span>
<details><summary>results</summary><p id="tally"></p><textarea id="votes" readonly></textarea>
<p><a id="save" download="ratings.tsv" href="#">save as ratings.tsv</a></p></details>
</section>
)";

// Seconds to which clips are cut: as many as fit. `bytes` of each clip's file whole.
double seconds_that_fit(std::span<const Clip> clips, std::span<const int64_t> bytes, int64_t room) {
    std::vector<std::pair<double, double>> clips_s;  // length, bytes a second
    for (size_t i = 0; i < clips.size(); ++i) {
        const double s = static_cast<double>(clips[i].samples.size()) / static_cast<double>(clips[i].rate_hz);
        clips_s.emplace_back(s, static_cast<double>(bytes[i]) / s);
    }
    std::sort(clips_s.begin(), clips_s.end());
    // The shortest ones stay whole while what is left, shared among the others, is more than their length.
    auto left = static_cast<double>(room);
    for (size_t i = 0; i < clips_s.size(); ++i) {
        double rates = 0;
        for (size_t j = i; j < clips_s.size(); ++j) rates += clips_s[j].second;
        if (left / rates < clips_s[i].first) return std::max(left / rates, 0.0);
        left -= clips_s[i].first * clips_s[i].second;
    }
    return clips_s.back().first;
}

struct Fitted {
    PlayableClip player;
    std::span<const float> samples;  // what the player plays
};

std::span<const float> beginning(const Clip& clip, double seconds) {
    const auto most =
        static_cast<size_t>(std::max(1.0, std::floor(seconds * static_cast<double>(clip.rate_hz))));
    return std::span(clip.samples).first(std::min(clip.samples.size(), most));
}

// `share`: of kMostPageBytes that players may take. Says in `cut_s` to how many seconds clips were cut; 0 =
// none was.
std::vector<Fitted> fit(std::span<const Clip> clips, double share, double& cut_s) {
    // Pictures and words of a clip, and the page around them.
    constexpr int64_t kBesides = 18'000, kAround = 20'000;
    // base64 makes four bytes of three.
    const int64_t room = static_cast<int64_t>(
        share * 0.75 *
        static_cast<double>(kMostPageBytes - kAround - kBesides * static_cast<int64_t>(clips.size())));
    std::vector<Fitted> fitted;
    std::vector<int64_t> bytes;
    int64_t sum = 0;
    for (const Clip& clip : clips) {
        const auto samples = beginning(clip, kMostClipSeconds);
        fitted.push_back({playable(samples, clip.rate_hz), samples});
        bytes.push_back(static_cast<int64_t>(fitted.back().player.bytes.size()) *
                        static_cast<int64_t>(clip.samples.size()) / static_cast<int64_t>(samples.size()));
        sum += static_cast<int64_t>(fitted.back().player.bytes.size());
    }
    cut_s = 0;
    if (sum <= room) return fitted;
    cut_s = seconds_that_fit(clips, bytes, room);
    for (size_t i = 0; i < clips.size(); ++i)
        if (const auto samples = beginning(clips[i], cut_s); samples.size() < fitted[i].samples.size())
            fitted[i] = {playable(samples, clips[i].rate_hz), samples};
    return fitted;
}

std::string clip_html(const Clip& clip, size_t i, const Fitted& fitted) {
    const double shown = static_cast<double>(fitted.samples.size()) / static_cast<double>(clip.rate_hz);
    const double whole =
        std::max(clip.whole_s, static_cast<double>(clip.samples.size()) / static_cast<double>(clip.rate_hz));
    std::string html = fmt::format(
        "<figure class=\"clip\" data-id=\"clip-{}\" data-name=\"{}\" data-group=\"{}\" "
        "data-label=\"{}\">\n<h3>{}</h3>\n",
        i, html_text(clip.name), html_text(clip.group), html_text(clip.label), html_text(clip.name));
    html += clip_player(fmt::format("clip-{}", i), fitted.player, fitted.samples, clip.rate_hz);
    std::string words = html_text(clip.group);
    for (const std::string& text :
         {html_text(clip.label), html_text(clip.settings),
          whole > shown + 0.005 ? fmt::format("the first {:.2f} of {:.2f} s", shown, whole) : std::string()})
        if (!text.empty()) words += (words.empty() ? "" : " \xC2\xB7 ") + text;
    return html + fmt::format("<figcaption>{}</figcaption>\n</figure>\n", words);
}

std::string page_with(const ListenPage& page, std::span<const Clip> clips, double share) {
    double cut_s = 0;
    const std::vector<Fitted> fitted = fit(clips, share, cut_s);
    std::string body = fmt::format("<h1>{}</h1>\n", html_text(page.title));
    if (!page.settings.empty()) {
        body += "<table>";
        for (const auto& [name, value] : page.settings)
            body += fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", html_text(name), html_text(value));
        body += "</table>\n";
    }
    const int64_t n_clips = std::max(page.n_clips, std::ssize(page.clips));
    if (std::ssize(clips) < n_clips)
        body += fmt::format(
            "<p class=\"problem\">The first {} of {} clips are here; the others are in their files.</p>\n",
            clips.size(), n_clips);
    if (cut_s > 0)
        body += fmt::format(
            "<p class=\"problem\">So that the page stays below {} MB, clips are cut to their first {:.2f} s; "
            "their files are whole.</p>\n",
            kMostPageBytes / 1'000'000, cut_s);
    body += kBlind;
    body += fmt::format("{}{}\">\n", kMark, page.n_files);
    body += "<h2>Clips</h2>\n<div class=\"clips\">\n";
    for (size_t i = 0; i < clips.size(); ++i) body += clip_html(clips[i], i, fitted[i]);
    body += "</div>\n</section>\n";
    return html_page({page.title, body, std::string(kClipStyle) + kStyle, clips.size() > 1 ? kScript : ""});
}

}  // namespace

std::string listen_page(const ListenPage& page) {
    const std::span<const Clip> clips =
        std::span(page.clips).first(std::min(page.clips.size(), static_cast<size_t>(kMostClips)));
    if (clips.empty()) fail("[listen] {}: there are no clips", page.title);
    for (const Clip& clip : page.clips) {
        if (clip.samples.empty()) fail("[listen] {}: the clip has no samples", clip.name);
        if (clip.rate_hz < kLowestRateHz || clip.rate_hz > kHighestRateHz)
            fail("[listen] {}: a sample rate of {} Hz", clip.name, clip.rate_hz);
    }
    // Compressed audio is not equally dense everywhere, so a cut may keep more bytes than its share.
    for (double share = 1; share > 0.3; share *= 0.9)
        if (std::string html = page_with(page, clips, share);
            static_cast<int64_t>(html.size()) <= kMostPageBytes)
            return html;
    fail("[listen] {}: {} clips do not fit on a page of {} bytes; hint: give it fewer", page.title,
         clips.size(), kMostPageBytes);
}

std::optional<int64_t> generated_clips(const std::string& folder) {
    std::error_code ignored;
    const std::string path = folder + "/" + kListenPage;
    if (!std::filesystem::is_regular_file(path, ignored)) return std::nullopt;
    const std::string html = read_file(path);
    const size_t at = html.find(kMark);
    if (at == html.npos || html.find(kGenerator) == html.npos) return std::nullopt;
    int64_t n = 0;
    const char* begin = html.data() + at + kMark.size();
    if (std::from_chars(begin, html.data() + html.size(), n).ec != std::errc()) return std::nullopt;
    return n;
}

}  // namespace adder
