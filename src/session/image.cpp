// A session that goes on in another process. What is kept of it is what its client has said, not
// what this process has made of that: the other one may know better.
#include "dwspool/session/image.h"

#include <utility>

#include "dwspool/sql/quote.h"
#include "dwspool/wire/cursor.h"
#include "dwspool/wire/writer.h"

#include "dwspool/session/session.h"

namespace dwspool::session {
namespace {

enum Flag : std::uint8_t {
  read_only = 1,
  read_only_by_startup = 2,
  may_commit_by_name = 4,
  has_unnamed = 8,
};

enum StatementFlag : std::uint8_t { alone = 1, described = 2 };

void append_statement(std::string& out, const SessionImage::Statement& statement) {
  wire::append_counted(out, statement.name);
  out += static_cast<char>((statement.alone ? alone : 0) | (statement.described ? described : 0));
  wire::append_counted(out, statement.query);
  wire::append_counted(out, statement.types);
}

SessionImage::Statement take_statement(wire::Cursor& in) {
  SessionImage::Statement statement;
  statement.name = in.counted();
  const std::uint8_t flags = in.u8();
  statement.alone = (flags & alone) != 0;
  statement.described = (flags & described) != 0;
  statement.query = in.counted();
  statement.types = in.counted();
  return statement;
}

void append_settings(std::string& out, const SettingSet& settings) {
  wire::append_u32(out, static_cast<std::uint32_t>(settings.entries().size()));
  for (const SettingSet::Entry& entry : settings.entries()) {
    wire::append_counted(out, entry.name);
    wire::append_counted(out, entry.value);
  }
}

SettingSet take_settings(wire::Cursor& in) {
  SettingSet settings;
  for (std::uint32_t left = in.u32(); left > 0 && in.ok(); --left) {
    const std::string_view name = in.counted();
    settings.set(name, in.counted());
  }
  return settings;
}

// What the client has written: see substitute_for.
std::string original_query(std::string_view query, const SpecialPtr& special) {
  const bool replaced = special && special->kind == sql::StatementKind::deallocate;
  return replaced ? "DEALLOCATE " + sql::quote_identifier(special->name) : std::string(query);
}

}  // namespace

std::string encode(const SessionImage& image) {
  std::string out;
  append_settings(out, image.startup);
  append_settings(out, image.wanted);
  wire::append_u32(out, static_cast<std::uint32_t>(image.told.entries().size()));
  for (const auto& [name, value] : image.told.entries()) {
    wire::append_counted(out, name);
    wire::append_counted(out, value);
  }
  out += static_cast<char>(image.dialect);
  out += static_cast<char>(
      (image.read_only ? read_only : 0) | (image.read_only_by_startup ? read_only_by_startup : 0) |
      (image.may_commit_by_name ? may_commit_by_name : 0) | (image.unnamed ? has_unnamed : 0));
  wire::append_u32(out, static_cast<std::uint32_t>(image.statements.size()));
  for (const SessionImage::Statement& each : image.statements) append_statement(out, each);
  if (image.unnamed) append_statement(out, *image.unnamed);
  wire::append_u32(out, static_cast<std::uint32_t>(image.sql_statements.size()));
  for (const SqlStatement& each : image.sql_statements) {
    wire::append_counted(out, each.name);
    wire::append_counted(out, each.text);
    wire::append_counted(out, each.scope);
  }
  return out;
}

std::optional<SessionImage> decode_session_image(std::string_view bytes) {
  wire::Cursor in(bytes);
  SessionImage image;
  image.startup = take_settings(in);
  image.wanted = take_settings(in);
  for (std::uint32_t left = in.u32(); left > 0 && in.ok(); --left) {
    const std::string_view name = in.counted();
    image.told.set(name, in.counted());
  }
  const std::uint8_t dialect = in.u8();
  if (dialect > static_cast<std::uint8_t>(Dialect::dws)) return std::nullopt;
  image.dialect = static_cast<Dialect>(dialect);
  const std::uint8_t flags = in.u8();
  image.read_only = (flags & read_only) != 0;
  image.read_only_by_startup = (flags & read_only_by_startup) != 0;
  image.may_commit_by_name = (flags & may_commit_by_name) != 0;
  for (std::uint32_t left = in.u32(); left > 0 && in.ok(); --left) {
    image.statements.push_back(take_statement(in));
  }
  if ((flags & has_unnamed) != 0) image.unnamed = take_statement(in);
  for (std::uint32_t left = in.u32(); left > 0 && in.ok(); --left) {
    SqlStatement statement;
    statement.name = in.counted();
    statement.text = in.counted();
    statement.scope = in.counted();
    image.sql_statements.push_back(std::move(statement));
  }
  if (!in.finished_cleanly()) return std::nullopt;
  return image;
}

std::optional<SessionImage> Session::image() const {
  const bool bound = backend_ != nullptr || pins_ != 0 || read_only_.block != ReadOnly::Block::none;
  if (!told_ || bound || draining_ || found_loss_ || !at_rest()) return std::nullopt;
  SessionImage image;
  image.startup = *startup_;
  image.wanted = *wanted_;
  image.told = *told_;
  image.read_only = read_only_.on;
  image.read_only_by_startup = read_only_.by_startup;
  image.may_commit_by_name = may_commit_by_name_;
  bool outdated = false;
  if (statements_) {
    const std::string scope = shared_scope();
    statements_->for_each([&](std::string_view name, const PreparedPtr& statement) {
      outdated = outdated || statement->outdated;
      image.statements.push_back(
          {std::string(name), statement->scope != scope, statements_->is_described(*statement),
           original_query(statement->query, statement->special), statement->types});
    });
  }
  if (sql_statements()) image.sql_statements = sql_statements()->entries();
  // Its next use has to fail, as long as the client does not know better.
  if (outdated) return std::nullopt;
  if (!unnamed_.empty()) {
    const auto message = wire::read_parse(std::string_view(unnamed_).substr(wire::header_size));
    if (!message) return std::nullopt;
    image.unnamed = SessionImage::Statement{{},
                                            false,
                                            false,
                                            original_query(message->query, unnamed_special_),
                                            std::string(message->types)};
  }
  return image;
}

Session::Session(SessionContext& context, std::uint64_t number, const SessionImage& image,
                 wire::KeyData key)
    : context_(&context),
      number_(number),
      startup_(context.settings.intern(image.startup)),
      wanted_(context.settings.intern(image.wanted)),
      key_(std::move(key)),
      state_(SessionState::idle) {
  set_told(context.reported.intern(image.told));
  read_only_.on = image.read_only;
  read_only_.by_startup = image.read_only_by_startup;
  may_commit_by_name_ = image.may_commit_by_name;
  SqlStatementsPtr prepared;
  for (const SqlStatement& each : image.sql_statements) prepared = with(prepared, each);
  if (prepared) statements().set_sql(std::move(prepared));
  const std::string scope = shared_scope();
  const std::string own = "session " + std::to_string(number_) + "/taken over ";
  for (const SessionImage::Statement& each : image.statements) {
    PreparedPtr statement =
        context.statements.intern(each.alone ? own + each.name : scope, each.query, each.types,
                                  [this](std::string_view query) { return recognize(query); });
    const std::uint64_t id = statement->id;
    statements().set(each.name, std::move(statement));
    statements().settle();
    if (each.described) statements().note_described(id);
  }
  if (!image.unnamed) return;
  const sql::Statement seen = recognize(image.unnamed->query);
  unnamed_special_ = special_of(seen, image.unnamed->query);
  unnamed_effects_ = effects_of(seen, unnamed_special_);
  wire::append_parse(unnamed_, "", substitute_for(image.unnamed->query, unnamed_special_),
                     image.unnamed->types);
  unnamed_serial_ = 1;
}

}  // namespace dwspool::session
