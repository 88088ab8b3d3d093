// The status page: one document with everything in it, which asks /status.json for what it shows.
// It is the same for everybody; what clients call themselves gets into it as text only, by the
// script, never as markup.
#pragma once

#include <string>

namespace dwspool::admin {

struct StatusPage {
  std::string html;
  // For Content-Security-Policy: nothing but the script and the style of this one copy, and no
  // address but where it came from.
  std::string policy;
};

// Throws std::runtime_error when the system has no random bytes.
StatusPage make_status_page();

}  // namespace dwspool::admin
