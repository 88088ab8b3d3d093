// What a simulated application may come to send.
#include <algorithm>
#include <utility>

#include "dwspool/wire/messages.h"
#include "dwspool/wire/writer.h"

#include "sim/client.h"

namespace dwspool::sim {

class Script {
 public:
  explicit Script(Client& client) : c_(client), random_(client.context_.random) {}

  // The next request, and its bytes.
  std::string next() {
    if (c_.options_.plain) return plain();
    if (random_.chance(4)) return copy();
    if (random_.chance(40)) return extended();
    if (random_.chance(10)) return texts();
    add_simple(statement());
    return query();
  }

  // A batch whose end is never asked for.
  std::string half() {
    request_.simple = false;
    std::string bytes;
    const std::size_t count = random_.between(1, 3);
    for (std::size_t i = 0; i < count; ++i) {
      add_extended(random_.chance(75) ? insert() : "select " + number(), bytes, true);
      if (random_.chance(20)) wire::MessageWriter(bytes, 'H').end();
    }
    return bytes;
  }

  std::string only(const std::string& text) {
    add_simple(text);
    return query();
  }

  Request take() { return std::move(request_); }

 private:
  std::string plain() {
    if (!c_.planned_block_) {
      add_simple(begin());
    } else if (random_.chance(40)) {
      c_.planned_block_ = false;
      add_simple(random_.chance(90) ? "commit" : "rollback");
    } else if (random_.chance(10)) {
      add_simple(set());
    } else {
      add_simple(random_.chance(70) ? insert() : statement());
    }
    return query();
  }

  std::uint64_t new_number() { return c_.number_ * 1000 + ++c_.last_row_; }

  std::string number() { return std::to_string(new_number()); }

  bool stateful() const { return c_.options_.mode != PoolMode::transaction; }

  std::string insert() {
    const std::uint64_t row = new_number();
    request_.numbers.push_back(row);
    c_.my_rows_.push_back(row);
    const bool doomed = random_.chance(6);
    if (!doomed && random_.chance(10)) return "select put(" + std::to_string(row) + ")";
    return (doomed ? "insert into doomed values (" : "insert into t values (") +
           std::to_string(row) + ")";
  }

  std::string setting() {
    static constexpr const char* names[] = {"work_mem", "lock_timeout", "search_path", "TimeZone",
                                            "application_name"};
    return names[random_.below(std::size(names))];
  }

  std::string set() {
    const std::string name = setting();
    const bool may_reset = !c_.planned_block_ && c_.requests_.empty();
    switch (random_.below(may_reset ? 10 : 7) + (may_reset ? 0 : 3)) {
      case 0:
        return "RESET " + name;
      case 1:
        return "SET " + name + " TO DEFAULT";
      case 2:
        return random_.chance(50) ? "reset all" : "reset " + name;
      case 9:
        if (c_.planned_block_) return "SET LOCAL " + name + " TO 'local'";
        [[fallthrough]];
      default:
        return (random_.chance(50) ? "SET " : "set ") + name + " TO 'v" +
               std::to_string(random_.below(4)) + "'";
    }
  }

  // In one text with others, and in the extended protocol, RESET goes behind the settings of the
  // start-up packet until the transaction is over; and a RESET in front of a SET of the same
  // reported parameter, in one transaction, is taken to come behind it.
  bool goes_behind(Op op) const { return op == Op::reset || op == Op::reset_all; }

  // Things that stay with the session; what they do to it is up to the pool mode.
  std::string state() {
    switch (random_.below(8)) {
      case 0: {
        const std::string lock = number();
        return "select pg_advisory_lock(" + lock + ")";
      }
      case 1:
        return "create temp table tmp" + number() + " ()";
      case 2: {
        const std::string name = "sql" + number();
        c_.sql_names_.push_back(name);
        return "prepare " + name + " as select " + number();
      }
      case 3:
        if (!c_.sql_names_.empty()) {
          return "execute " + c_.sql_names_[random_.below(c_.sql_names_.size())];
        }
        return "select session_state()";
      case 4:
        return "select pg_advisory_unlock_all()";
      case 5:
        if (!c_.options_.gauss && !c_.planned_block_) {
          c_.planned_.clear();
          return "discard all";
        }
        return "select session_state()";
      case 6:
        if (random_.chance(40)) {
          c_.planned_.clear();
          return "deallocate all";
        }
        return "select session_state()";
      default:
        return "select session_state()";
    }
  }

  std::string savepoint() {
    const std::string name = "s" + std::to_string(random_.below(2));
    switch (random_.below(4)) {
      case 0:
        return "rollback to " + name;
      case 1:
        return "release " + name;
      default:
        return "savepoint " + name;
    }
  }

  std::string begin() {
    c_.planned_block_ = true;
    static constexpr const char* texts[] = {"begin", "BEGIN", "start transaction",
                                            "begin isolation level read committed"};
    return texts[random_.below(std::size(texts))];
  }
  std::string end() {
    c_.planned_block_ = false;
    if (random_.chance(25)) return random_.chance(50) ? "rollback" : "ABORT";
    return random_.chance(50) ? "commit" : "END";
  }

  // One statement.
  std::string statement() {
    if (c_.planned_block_ && random_.chance(20)) return end();
    if (!c_.planned_block_ && random_.chance(25)) return begin();
    if (c_.planned_block_ && random_.chance(12)) return savepoint();
    switch (random_.below(20)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
      case 5:
        return insert();
      case 6:
      case 7:
      case 8:
        return set();
      case 9:
      case 10:
      case 11:
        return "SHOW " + setting();
      case 12:
        return "select fail(" + number() + ")";
      case 13:
        return "select pg_sleep(" + number() + ")";
      case 14:
        if (const std::uint64_t row = c_.ledger_.any(random_); row != 0) {
          return "select id from t where id = " + std::to_string(row);
        }
        [[fallthrough]];
      case 15:
        if (!c_.my_rows_.empty()) {
          return "select id from t where id = " +
                 std::to_string(c_.my_rows_[random_.below(c_.my_rows_.size())]);
        }
        return "select " + number();
      case 16:
        if (stateful()) return state();
        return "select " + number();
      case 17:
        return random_.chance(20) ? "" : "select " + number();
      default:
        return "select " + number();
    }
  }

  void add_simple(const std::string& text) {
    if (!text_.empty()) text_ += "; ";
    text_ += text;
    for (const std::string_view part : split_statements(text)) {
      Piece piece;
      piece.kind = PieceKind::simple;
      piece.statement = read_statement(part);
      piece.text = part;
      request_.pieces.push_back(std::move(piece));
    }
    if (request_.pieces.empty()) request_.pieces.emplace_back();
  }

  std::string query() {
    c_.plans_unnamed_ = false;
    std::string bytes;
    wire::append_query(bytes, text_);
    return bytes;
  }

  // Several in one text.
  std::string texts() {
    const std::size_t count = random_.between(2, 4);
    for (std::size_t i = 0; i < count; ++i) {
      std::string text = statement();
      const Op op = read_statement(text).op;
      // What must stand alone, or what the model of implicit transactions does not cover.
      if (op == Op::discard_all || op == Op::empty || op == Op::set_local || goes_behind(op)) {
        text = "select 5";
      }
      add_simple(text);
    }
    return query();
  }

  std::string copy() {
    request_.simple = random_.chance(70);
    request_.copy_fails = random_.chance(15);
    const std::size_t count = random_.between(1, 3);
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t row = new_number();
      request_.copy.push_back(row);
      request_.numbers.push_back(row);
      c_.my_rows_.push_back(row);
    }
    static const std::string text = "copy t from stdin";
    if (request_.simple) {
      add_simple(text);
      return query();
    }
    std::string bytes;
    add_extended(text, bytes, true);
    wire::append_sync(bytes);
    return bytes;
  }

  void add(PieceKind kind, const std::string& name, const std::string& text,
           std::uint64_t parameter, const Statement& statement = {}) {
    Piece piece;
    piece.kind = kind;
    piece.name = name;
    piece.text = text;
    piece.parameter = parameter;
    piece.statement = statement;
    request_.pieces.push_back(std::move(piece));
  }

  // Parse, Bind, Describe, Execute; some of them may be missing where that makes sense.
  void add_extended(const std::string& text, std::string& bytes, bool plain = false) {
    std::string name;
    std::string query = text;
    std::uint64_t parameter = 0;
    bool parse = true;
    if (plain) {
      // Unnamed, and new.
    } else if (random_.chance(60) && c_.requests_.empty()) {
      if (!c_.planned_.empty() && random_.chance(60)) {
        auto known = c_.planned_.begin();
        std::advance(known, static_cast<std::ptrdiff_t>(random_.below(c_.planned_.size())));
        name = known->first;
        query = known->second;
        parse = random_.chance(4);
      } else {
        name = "p" + std::to_string(random_.below(4));
        if (random_.chance(5)) parse = false;  // 26000, perhaps
        if (random_.chance(60)) {
          query = random_.chance(50) ? "insert into t values ($1)" : "select $1";
        }
        if (query.find("$1") == std::string::npos && read_statement(query).number != 0) {
          query = "select $1";  // rows have numbers of their own, each time
          drop_last_number(text);
        }
      }
    } else if (c_.plans_unnamed_ && c_.requests_.empty() && random_.chance(60)) {
      parse = false;
      query = c_.unnamed_text_;
    }
    if (query != text) drop_last_number(text);
    // The same text under two names of one client may be prepared once, so that an error of the
    // one is an error of the other.
    if (parse && !name.empty()) {
      query.append((c_.number_ + static_cast<std::size_t>(name.back() - '0')) % 4, ' ');
    }
    Statement statement = read_statement(query);
    if (statement.parameter) {
      parameter = new_number();
      statement.number = parameter;
      if (statement.op == Op::insert) {
        request_.numbers.push_back(parameter);
        c_.my_rows_.push_back(parameter);
      }
    } else if (!parse && (statement.op == Op::insert || statement.op == Op::insert_by_call)) {
      parse = true;  // never the same row twice
      query = "select 6";
      statement = read_statement(query);
    }
    if (parse) {
      static constexpr std::string_view no_types("\0\0", 2);
      wire::append_parse(bytes, name, query, no_types);
      add(PieceKind::parse, name, query, 0);
      if (name.empty()) {
        c_.plans_unnamed_ =
            statement.parameter || statement.op == Op::show || statement.op == Op::select_echo;
        c_.unnamed_text_ = query;
      } else {
        c_.planned_[name] = query;
      }
    }
    if (random_.chance(15)) {
      wire::MessageWriter(bytes, 'D').u8('S').cstring(name).end();
      add(PieceKind::describe_statement, name, query, 0);
    }
    append_bind(bytes, name, statement.parameter ? std::to_string(parameter) : std::string());
    add(PieceKind::bind, name, query, parameter);
    if (random_.chance(60)) {
      wire::MessageWriter(bytes, 'D').u8('P').cstring("").end();
      add(PieceKind::describe_portal, {}, query, 0);
    }
    wire::append_execute(bytes);
    add(PieceKind::execute, name, query, parameter, statement);
  }

  // The statement was not used after all.
  void drop_last_number(const std::string& text) {
    const Statement statement = read_statement(text);
    std::erase(request_.numbers, statement.number);
    std::erase(c_.my_rows_, statement.number);
  }

  static void append_bind(std::string& bytes, const std::string& name,
                          const std::string& parameter) {
    wire::MessageWriter writer(bytes, 'B');
    writer.cstring("").cstring(name).u16(0);
    if (parameter.empty()) {
      writer.u16(0);
    } else {
      writer.u16(1).u32(static_cast<std::uint32_t>(parameter.size())).bytes(parameter);
    }
    writer.u16(0).end();
  }

  std::string extended() {
    request_.simple = false;
    std::string bytes;
    const std::size_t count = random_.chance(70) ? 1 : random_.between(2, 4);
    for (std::size_t i = 0; i < count; ++i) {
      if (random_.chance(8) && !c_.planned_.empty() && c_.requests_.empty()) {
        const std::string name = c_.planned_.begin()->first;
        wire::append_close(bytes, 'S', name);
        add(PieceKind::close, name, "close", 0);
        c_.planned_.erase(name);
        continue;
      }
      std::string text = statement();
      const Op op = read_statement(text).op;
      if (op == Op::discard_all || op == Op::empty || op == Op::set_local || op == Op::deallocate ||
          op == Op::deallocate_all || goes_behind(op)) {
        text = "select " + number();
      }
      add_extended(text, bytes);
      if (random_.chance(10)) wire::MessageWriter(bytes, 'H').end();
    }
    wire::append_sync(bytes);
    return bytes;
  }

  Client& c_;
  Random& random_;
  Request request_;
  std::string text_;
};

void Client::act(bool winding_up) {
  if (confused_ || dying_) {
    context_.note([&] { return "client " + std::to_string(number_) + " hangs up"; });
    plug_.close();
    end(false);
    return;
  }
  Script script(*this);
  std::string bytes;
  if (winding_up && model_.in_block()) {
    bytes = script.only(context_.random.chance(50) ? "commit" : "rollback");
  } else if (winding_up || requests_left_ == 0) {
    if (!options_.plain && context_.random.chance(25)) {
      bytes = script.half();
      leave_half_asked(bytes, script.take().numbers);
      return;
    }
    context_.note([&] { return "client " + std::to_string(number_) + " says goodbye"; });
    std::string goodbye;
    wire::append_terminate(goodbye);
    send(goodbye);
    leaving_ = true;
    if (context_.random.chance(60)) {
      plug_.close();
      end(false);
    }
    return;
  } else {
    --requests_left_;
    bytes = script.next();
  }
  requests_.push_back(script.take());
  Request& request = requests_.back();
  for (Piece& piece : request.pieces) {
    if (piece.statement.op == Op::select_row) piece.there = rows_.contains(piece.statement.number);
  }
  for (const std::uint64_t row : request.numbers) {
    ledger_.write(row);
    open_writes_.insert(row);
  }
  context_.note([&] {
    std::string line = "client " + std::to_string(number_) + " sends " + message_types(bytes) + ":";
    for (const Piece& piece : request.pieces) {
      if (piece.kind == PieceKind::simple || piece.kind == PieceKind::execute) {
        line += " [" + piece.text + (piece.name.empty() ? "]" : "] by " + piece.name);
      }
    }
    return line;
  });
  send(bytes);
}

// Of what nobody has asked to be ended nothing may become durable.
void Client::leave_half_asked(const std::string& bytes, const std::vector<std::uint64_t>& rows) {
  context_.note([&] {
    return "client " + std::to_string(number_) + " sends " + message_types(bytes) + ", and leaves";
  });
  std::string last = bytes;
  if (context_.random.chance(50)) wire::append_terminate(last);
  send(last);
  for (const std::uint64_t row : rows) ledger_.set(row, Fate::failed);
  leaving_ = true;
  plug_.close();
  end(false);
}

}  // namespace dwspool::sim
