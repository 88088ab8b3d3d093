// What a session at rest is, apart from the process that it is in: another one can go on with it
// (doc/service.md, Taking over). Made by Session::image(), made into a session by its constructor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dwspool/base/pool_mode.h"

#include "dwspool/session/settings.h"
#include "dwspool/session/sql_statements.h"

namespace dwspool::session {

struct SessionImage {
  struct Statement {
    std::string name;  // the client's; empty: the unnamed one
    // Prepared under other settings than the session's present ones: it shares it with nobody.
    bool alone = false;
    bool described = false;  // see ClientStatements::is_described
    std::string query;       // as the client has written it
    std::string types;       // raw: count and OIDs
  };
  SettingSet startup;
  SettingSet wanted;
  ReportedSet told;
  Dialect dialect = Dialect::unknown;
  bool read_only = false;  // see ReadOnly
  bool read_only_by_startup = false;
  bool may_commit_by_name = false;
  std::vector<Statement> statements;
  std::optional<Statement> unnamed;
  std::vector<SqlStatement> sql_statements;
};

std::string encode(const SessionImage& image);
// Nothing when these are not the bytes of one.
std::optional<SessionImage> decode_session_image(std::string_view bytes);

}  // namespace dwspool::session
