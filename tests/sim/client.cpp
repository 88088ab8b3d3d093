#include "sim/client.h"

#include <algorithm>

#include "dwspool/wire/cursor.h"
#include "dwspool/wire/frame.h"
#include "dwspool/wire/startup.h"
#include "dwspool/wire/writer.h"

namespace dwspool::sim {

namespace be = wire::backend;

Client::Client(Context& context, Ledger& ledger, const Rows& rows, std::uint64_t number,
               const ClientOptions& options, Plug plug)
    : context_(context),
      ledger_(ledger),
      rows_(rows),
      number_(number),
      options_(options),
      plug_(std::move(plug)),
      startup_(server_defaults()),
      model_(rows, {}),
      requests_left_(context.random.between(1, options.requests)) {
  plug_.attach(*this);
  wire::StartupMessage startup;
  startup.version = wire::protocol_3_0;
  startup.parameters = {{"user", std::string("app")}, {"database", "db"}};
  for (const std::string_view name : {"application_name", "work_mem", "timezone"}) {
    if (!context.random.chance(25)) continue;
    const std::string value = "start" + std::to_string(context.random.below(3));
    startup.parameters.emplace_back(name, value);
    startup_[std::string(name)] = value;
  }
  model_ = SessionModel(rows, startup_);
  send(wire::write_startup_message(startup));
}

void Client::complain(const std::string& what) {
  context_.violate("client " + std::to_string(number_) + ": " + what);
}

void Client::send(const std::string& bytes) {
  static_cast<void>(plug_.send(context_, bytes));
}

void Client::vanish() {
  context_.note([&] { return "client " + std::to_string(number_) + " vanishes"; });
  plug_.reset(context_);
  end(false);
}

std::optional<std::string> Client::cancel_packet() {
  if (!ready_ || gone_) return std::nullopt;
  cancelled_ = true;
  return wire::write_cancel_request(key_.pid, key_.secret);
}

void Client::on_end(bool clean) {
  if (clean && !leaving_ && !dying_ && !options_.faults) complain("was cut off for no reason");
  end(false);
}

void Client::on_bytes(std::string_view bytes) {
  in_ += bytes;
  std::string_view rest = in_;
  while (!gone_) {
    const wire::FrameView view = wire::peek_frame(rest);
    if (view.status == wire::FrameStatus::bad) complain("got bytes that are no message");
    if (view.status != wire::FrameStatus::complete) break;
    const wire::Frame frame = wire::take_frame(rest, view);
    on_message(frame.type, frame.body(), frame.bytes);
  }
  in_.erase(0, in_.size() - rest.size());
}

void Client::on_message(char type, std::string_view body, std::string_view /*frame*/) {
  if (type == be::notice_response) return;
  if (type == be::parameter_status) {
    on_parameter(body);
    return;
  }
  if (!ready_) {
    on_login_message(type, body);
  } else if (confused_) {
    return;
  } else {
    on_answer_message(type, body);
  }
}

void Client::on_parameter(std::string_view body) {
  const auto status = wire::read_parameter_status(body);
  if (!status) complain("got a malformed ParameterStatus");
  const std::string name = status->name == "TimeZone" ? "timezone" : std::string(status->name);
  told_[name] = status->value;
}

void Client::on_login_message(char type, std::string_view body) {
  switch (type) {
    case be::authentication:
      return;
    case be::backend_key_data:
      key_ = *wire::read_key_data(body);
      return;
    case be::ready_for_query:
      ready_ = true;
      for (const auto& [name, value] : startup_) {
        if (is_reported(name) && told_[name] != value) {
          complain("asked for " + name + " " + value + " and was told " + told_[name]);
        }
      }
      context_.note([&] { return "client " + std::to_string(number_) + " is logged in"; });
      return;
    case be::error_response: {
      const wire::ErrorFields fields = wire::read_error(body);
      const bool refused = options_.refusals && fields.sqlstate.starts_with("28");
      if (!refused &&
          !(options_.faults && (fields.sqlstate == "57P03" || fields.sqlstate == "08006" ||
                                fields.sqlstate == "57P01"))) {
        complain("could not log in: " + std::string(fields.sqlstate) + ' ' +
                 std::string(fields.message));
      }
      dying_ = true;
      return;
    }
    default:
      complain(std::string("got a message of type ") + type + " in its log-in");
  }
}

Piece& Client::piece(const char* what) {
  if (requests_.empty()) complain(std::string("got an answer and had not asked: ") + what);
  Request& request = requests_.front();
  if (request.failed) complain(std::string("got more behind an error: ") + what);
  if (request.at >= request.pieces.size()) {
    complain(std::string("got one answer too many: ") + what);
  }
  return request.pieces[request.at];
}

void Client::on_answer_message(char type, std::string_view body) {
  switch (type) {
    case be::parse_complete: {
      const Piece& parsed = piece("ParseComplete");
      if (parsed.kind != PieceKind::parse) complain("got ParseComplete out of turn");
      const Answer answer = model_.parse(parsed.name, parsed.text);
      // In a transaction that has failed, dwspool may have answered before it could know; what
      // comes behind the Parse will be refused. And a name that is free again may not be, should
      // the Close turn out to have been skipped.
      if (answer.sqlstate == "25P02" || answer.sqlstate == "42P05") {
        model_.parse_anyway(parsed.name, parsed.text);
      } else if (!answer.ok()) {
        complain("a Parse should have failed");
      }
      ++requests_.front().at;
      return;
    }
    case be::bind_complete: {
      const Piece& bound = piece("BindComplete");
      if (bound.kind != PieceKind::bind) complain("got BindComplete out of turn");
      if (!model_.bind(bound.name, bound.parameter).ok()) complain("a Bind should have failed");
      ++requests_.front().at;
      return;
    }
    case be::close_complete: {
      const Piece& closed = piece("CloseComplete");
      if (closed.kind != PieceKind::close) complain("got CloseComplete out of turn");
      model_.close_statement(closed.name);
      ++requests_.front().at;
      return;
    }
    case be::parameter_description:
      if (piece("ParameterDescription").kind != PieceKind::describe_statement) {
        complain("got ParameterDescription out of turn");
      }
      return;
    case be::row_description:
      on_row_description();
      return;
    case be::no_data:
      on_no_data();
      return;
    case be::data_row: {
      const Piece& running = piece("DataRow");
      if (running.kind != PieceKind::simple && running.kind != PieceKind::execute) {
        complain("got a row out of turn");
      }
      wire::Cursor cursor(body);
      cursor.u16();
      const std::string value(cursor.bytes(cursor.u32()));
      if (!cursor.ok() || requests_.front().row) complain("got a row too many: " + value);
      requests_.front().row = value;
      return;
    }
    case be::command_complete:
      on_complete(wire::read_command_tag(body));
      return;
    case be::empty_query_response:
      on_complete({});
      return;
    case be::copy_in_response:
      on_copy_in();
      return;
    case be::error_response:
      on_error(body);
      return;
    case be::ready_for_query:
      on_ready(body);
      return;
    default:
      complain(std::string("got a message of type ") + type);
  }
}

void Client::on_row_description() {
  Piece& current = piece("RowDescription");
  Request& request = requests_.front();
  if (current.kind == PieceKind::simple) {
    if (request.described) complain("got two descriptions of one result");
    request.described = true;
    return;
  }
  if (current.kind != PieceKind::describe_statement && current.kind != PieceKind::describe_portal) {
    complain("got RowDescription out of turn");
  }
  if (!next_answer().row) complain("got a description of rows for something that has none");
  ++request.at;
}

void Client::on_no_data() {
  const Piece& current = piece("NoData");
  if (current.kind != PieceKind::describe_statement && current.kind != PieceKind::describe_portal) {
    complain("got NoData out of turn");
  }
  const Answer answer = next_answer();
  if (!answer.ok() || answer.row) complain("got NoData for something that has rows");
  ++requests_.front().at;
}

// What a direct connection would say next.
Answer Client::next_answer() {
  Request& request = requests_.front();
  const Piece& current = request.pieces[request.at];
  const bool alone = request.pieces.size() == 1;
  switch (current.kind) {
    case PieceKind::simple:
      if (request.at == 0) model_.drop_unnamed();
      return model_.run(current.statement, alone);
    case PieceKind::parse:
      return model_.parse(current.name, current.text);
    case PieceKind::bind:
      return model_.bind(current.name, current.parameter);
    case PieceKind::describe_statement:
      return model_.describe_statement(current.name);
    case PieceKind::describe_portal:
      return model_.describe_portal();
    case PieceKind::execute: {
      const Statement* portal = model_.portal();
      if (portal == nullptr) {
        Answer none;
        none.sqlstate = "34000";
        return none;
      }
      const Statement statement = *portal;
      return model_.run(statement, true);
    }
    case PieceKind::close:
      break;
  }
  return {};
}

void Client::on_complete(std::string_view tag) {
  const Piece& current = piece("CommandComplete");
  Request& request = requests_.front();
  if (current.kind != PieceKind::simple && current.kind != PieceKind::execute) {
    complain("got CommandComplete out of turn: " + std::string(tag));
  }
  const Answer expected = request.copying ? model_.copied(request.copy) : next_answer();
  if (!expected.ok()) {
    complain("got " + std::string(tag) + " where " + expected.sqlstate + " was due");
  }
  if (expected.copy_in) complain("got " + std::string(tag) + " before its COPY had begun");
  request.copied = request.copied || request.copying;
  request.copying = false;
  if (expected.tag != tag) complain("got " + std::string(tag) + ", expected " + expected.tag);
  // A row in doubt may come into being at any time.
  const Statement* portal = current.kind == PieceKind::execute ? model_.portal() : nullptr;
  const Statement& run = portal != nullptr ? *portal : current.statement;
  const bool own_business =
      ((options_.mode == PoolMode::transaction || settings_unclear_) && run.op == Op::show) ||
      (locks_unclear_ && run.op == Op::session_state);
  const bool in_doubt = run.op == Op::select_row && depends_on_others(run);
  if (expected.row.has_value() != request.row.has_value() ||
      (expected.row && *expected.row != *request.row && !own_business && !in_doubt)) {
    complain("got the row '" + request.row.value_or("(none)") + "', expected '" +
             expected.row.value_or("(none)") + "'");
  }
  if (current.kind == PieceKind::simple && request.described != expected.row.has_value()) {
    complain("got no description of its row");
  }
  if (run.op == Op::select_row) on_shown(current, run, *request.row);
  request.row.reset();
  request.described = false;
  ++request.at;
  take_committed();
}

void Client::on_copy_in() {
  piece("CopyInResponse");
  Request& request = requests_.front();
  if (!next_answer().copy_in) complain("was asked for the data of a COPY that it had not begun");
  request.copying = true;
  std::string bytes;
  for (const std::uint64_t row : request.copy) {
    wire::MessageWriter(bytes, 'd').bytes(std::to_string(row) + "\n").end();
  }
  if (request.copy_fails) {
    wire::MessageWriter(bytes, 'f').cstring("no").end();
  } else {
    wire::MessageWriter(bytes, 'c').end();
  }
  if (!request.simple) wire::append_sync(bytes);
  send(bytes);
}

// Whether an error of this kind would be seen on a direct connection, too. It has happened then.
bool Client::expects_error(const std::string& sqlstate) {
  Request& request = requests_.front();
  if (sqlstate == "57014" && cancelled_) return false;
  if (request.copying) return sqlstate == "57014" && request.copy_fails;
  if (request.at < request.pieces.size()) {
    const Piece& current = request.pieces[request.at];
    const bool was_failed = model_.failed();
    const Answer answer = next_answer();
    const Op op = read_statement(current.text).op;
    const bool ends = op == Op::commit || op == Op::rollback;
    const bool named = !current.name.empty();
    if (options_.faults && sqlstate == "26000" && current.name.empty() &&
        current.kind != PieceKind::parse) {
      return true;  // the unnamed statement goes with a backend that is lost
    }
    const bool refused = sqlstate == "25P02" || (named && sqlstate == "26000");
    if (was_failed && refused && (!ends || named)) {
      return true;  // it may have to be prepared on another backend first, which is refused
    }
    if (!answer.ok()) {
      // Without a backend dwspool does not look at what exactly is wrong.
      return answer.sqlstate == sqlstate || (model_.failed() && sqlstate == "25P02");
    }
    // What is left to fail is the commit behind the last statement of a text.
    if (!request.simple || request.at + 1 < request.pieces.size()) return false;
  }
  return model_.finish().sqlstate == sqlstate;
}

void Client::on_error(std::string_view body) {
  const wire::ErrorFields fields = wire::read_error(body);
  const std::string sqlstate(fields.sqlstate);
  if (fields.is_fatal()) {
    const bool lost = sqlstate == "57P01" || sqlstate == "57P02";
    if (!options_.faults || !lost) {
      complain("was thrown out: " + sqlstate + ' ' + std::string(fields.message));
    }
    dying_ = true;
    confused_ = true;
    return;
  }
  if (requests_.empty()) complain("got an error and had not asked: " + sqlstate);
  Request& request = requests_.front();
  if (request.failed) complain("got two errors for one request: " + sqlstate);
  request.failed = true;
  plans_unnamed_ = false;
  context_.note([&] {
    return "client " + std::to_string(number_) + " gets " + sqlstate + ' ' +
           std::string(fields.message);
  });
  if (sqlstate == "42P05" && request.at < request.pieces.size()) {
    planned_.erase(request.pieces[request.at].name);  // it stands for something else
  }
  if (on_trouble(fields.message)) return;
  const SessionModel before = model_;
  if (expects_error(sqlstate)) {
    if (sqlstate == "26000") model_.close_statement("");
    model_.fail();
    return;
  }
  model_ = before;
  const bool cancel = sqlstate == "57014" && cancelled_;
  const bool refused = options_.refusals && sqlstate.starts_with("28");
  const bool changed =
      sqlstate == "40001" && options_.replayed && (others_seen_ || context_.was_read_only);
  const bool lost = changed || sqlstate == "08006" || sqlstate == "08007" || sqlstate == "57P01";
  if (!cancel && !refused && !(options_.faults && lost)) {
    complain("got the error " + sqlstate + " (" + std::string(fields.message) + ") for " +
             (request.at < request.pieces.size() ? request.pieces[request.at].text : "the end"));
  }
  request.by_dwspool = !cancel;
  request.unknown = sqlstate == "08007";
  // What a COMMIT in the middle of it has made of the settings is as unknown as all else.
  // The same goes for one whose request has begun another transaction: dwspool carries settings
  // when no transaction is open.
  settings_unclear_ = settings_unclear_ || chained_ || (request.unknown && request.at > 0);
  if (sqlstate == "57P01") dying_ = true;
  if (request.copying && !request.simple) {
    // How many ReadyForQuery follow nobody can tell: the Sync behind Execute may have been read
    // in COPY mode or behind it. The connection is of no use any more.
    confused_ = true;
  }
  // COMMIT of a transaction that was lost while nobody asked: said once, and it is over.
  const bool own = request.by_dwspool || !fields.detail.empty();
  const bool at_commit = own && request.simple && request.pieces.size() == 1 &&
                         request.pieces.front().statement.op == Op::commit;
  if (request.unknown || at_commit) {
    give_up_transaction();
  } else if (cancel && fields.detail.empty()) {
    model_.fail();
  } else {
    model_.lose();
  }
}

void Client::on_ready(std::string_view body) {
  if (requests_.empty()) complain("got ReadyForQuery and had not asked");
  const Request request = requests_.front();
  const auto status = wire::read_ready_for_query(body);
  if (!status) complain("got a malformed ReadyForQuery");
  if (!request.failed && request.at < request.pieces.size()) {
    complain("got ReadyForQuery in place of an answer to " + request.pieces[request.at].text);
  }
  if (!request.failed) {
    if (!model_.finish().ok()) complain("a commit should have failed");
    take_committed();
  }
  context_.note([&] {
    return "client " + std::to_string(number_) + " is ready, status " + static_cast<char>(*status) +
           (request.failed ? ", failed" : "");
  });
  if (options_.faults && model_.failed() && *status == wire::TxStatus::idle && request.failed) {
    // The transaction had failed, and is now gone with its connection: what was sent behind this
    // request gets 08007, since it may have been a COMMIT.
    model_.abort();
  }
  if (request.unknown && failed_instead_ && *status == wire::TxStatus::failed) {
    model_ = *failed_instead_;
  }
  failed_instead_.reset();
  if (*status != model_.status() && !(dying_ || request.by_dwspool)) {
    complain(std::string("is told status ") + static_cast<char>(*status) + ", expected " +
             static_cast<char>(model_.status()));
  }
  if (*status != model_.status() && request.by_dwspool && !dying_) {
    // After 08006 a transaction that was open has failed; without one there is none.
    complain(std::string("is told status ") + static_cast<char>(*status) +
             " with an error of dwspool's, expected " + static_cast<char>(model_.status()));
  }
  const bool in_block_after = model_.in_block();
  others_seen_ = others_seen_ && in_block_after;
  settle_writes(request);
  requests_.pop_front();
  committed_.clear();
  for (const Piece& sent : request.pieces) {
    chained_ = in_block_after && (chained_ || sent.statement.op == Op::commit);
  }
  in_block_ = in_block_after;
  if (requests_.empty()) planned_block_ = in_block_;
}

bool Client::can_act(bool winding_up) const {
  if (gone_ || leaving_) return false;
  if (confused_ || dying_) return true;
  if (!ready_) return false;
  if (winding_up || options_.plain) return requests_.empty();
  return requests_.size() < 3 && (requests_.empty() || requests_.back().copy.empty());
}

}  // namespace dwspool::sim
