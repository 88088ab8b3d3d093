#include "admin/status_page.h"

#include <array>
#include <stdexcept>
#include <string_view>

#include <sys/random.h>

#include "dwspool/base/text.h"

#include "admin/status_script.h"

namespace dwspool::admin {
namespace {

// NONCE stands where that of the copy goes.
constexpr std::string_view head = R"html(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>dwspool</title>
<style nonce="NONCE">
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --paper: #fff; --line: #dde2e8;
  --card: #f5f7f9; --good: #1a7f4b; --warn: #a35a00; --bad: #b3261e; --bar: #3b73c4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ee; --soft: #9aa5b3; --paper: #14181e;
  --line: #2d343d; --card: #1c2229; --good: #58c48a; --warn: #e0a04a; --bad: #f2837b;
  --bar: #6d9be0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem; max-width: 78rem; background: var(--paper);
  color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: baseline; }
h1 { font-size: 1.3rem; margin: 0; }
h2 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
.soft { color: var(--soft); }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
#trouble { margin: .8rem 0 0; padding: .5rem .8rem; border-left: 4px solid var(--bad);
  background: var(--card); }
#tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.6rem, 1fr)); gap: .6rem;
  margin-top: 1rem; }
.tile { background: var(--card); border-radius: 6px; padding: .5rem .8rem; }
.tile b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: .85rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
meter { width: 6rem; }
footer { margin-top: 2rem; font-size: .85rem; }
a { color: inherit; }
</style>
</head>
<body>
<header>
<h1>dwspool</h1>
<span id="state"></span>
<span id="version" class="soft"></span>
<span id="time" class="soft"></span>
</header>
<p id="trouble" role="alert" hidden></p>
<noscript><p>This page needs its script. The numbers are in <a href="metrics">metrics</a>.</p></noscript>
<div id="tiles"></div>
<main>
<section><h2>Pools</h2><div id="pools" class="scroll"></div></section>
<section><h2>Databases</h2><div id="databases" class="scroll"></div></section>
<section><h2>Coordinators</h2><div id="coordinators" class="scroll"></div></section>
<section><h2>Replay</h2><div id="replay" class="scroll"></div></section>
<section><h2>Sessions that keep their backend</h2><div id="pins" class="scroll"></div></section>
</main>
<footer class="soft"><a href="status.json">status.json</a> · <a href="metrics">metrics</a> ·
<a href="healthz">healthz</a> · <a href="readyz">readyz</a></footer>
<script nonce="NONCE">
)html";

constexpr std::string_view tail = "</script>\n</body>\n</html>\n";

void append_with(std::string& out, std::string_view text, std::string_view nonce) {
  constexpr std::string_view mark = "NONCE";
  for (std::size_t at = text.find(mark); at != std::string_view::npos; at = text.find(mark)) {
    out += text.substr(0, at);
    out += nonce;
    text.remove_prefix(at + mark.size());
  }
  out += text;
}

std::string random_nonce() {
  std::array<char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw std::runtime_error("no random bytes");
  }
  return hex_encode({bytes.data(), bytes.size()});
}

}  // namespace

StatusPage make_status_page() {
  const std::string nonce = random_nonce();
  StatusPage page;
  page.html.reserve(head.size() + status_script.size() + tail.size() + 128);
  append_with(page.html, head, nonce);
  page.html += status_script;
  page.html += tail;
  page.policy = "default-src 'none'; script-src 'nonce-" + nonce + "'; style-src 'nonce-" + nonce +
                "'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
                "frame-ancestors 'none'";
  return page;
}

}  // namespace dwspool::admin
