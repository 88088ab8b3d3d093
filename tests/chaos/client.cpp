// A client of the ledger on plain libpq: parameters, prepared statements and pipelines, which
// Python's drivers do not use. The format of its log, and what its tables hold, are described in
// history.py and ledger.py; the fates are those of fate.py.
//
// usage: dwspool_chaos_client NUMBER NAME CONNINFO LOG SECONDS SEED PAUSE_MS

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <libpq-fe.h>

namespace {

using Clock = std::chrono::steady_clock;
using Values = std::vector<std::string>;

struct ResultDeleter {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, ResultDeleter>;

struct ConnectionDeleter {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using Connection = std::unique_ptr<PGconn, ConnectionDeleter>;

double now() {
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text.substr(0, 300)) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else {
      out += static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e ? ' ' : c;
    }
  }
  return out + '"';
}

std::string joined(const std::vector<std::string>& parts) {
  std::string out = "[";
  for (const std::string& part : parts) {
    if (out.size() > 1) out += ',';
    out += part;
  }
  return out + ']';
}

// What PostgreSQL or libpq said when a step failed.
struct Failure {
  std::string state;
  std::string text;
};

class Client {
 public:
  Client(std::int64_t number, std::string name, std::string conninfo, const char* log, double until,
         unsigned seed, int pause_ms)
      : number_(number),
        name_(std::move(name)),
        conninfo_(std::move(conninfo)),
        log_(log),
        until_(until),
        random_(seed),
        pause_ms_(pause_ms),
        ids_(number * 1'000'000'000) {
    log_ << std::fixed;
    line(R"("event":"client","driver":"libpq","client":)" + std::to_string(number_));
  }

  void run() {
    while (now() < until_) {
      if (!connection_ && !connect()) continue;
      one_operation();
      std::this_thread::sleep_for(std::chrono::milliseconds(below(2 * pause_ms_ + 1)));
    }
  }

 private:
  int below(int limit) { return std::uniform_int_distribution<int>(0, limit - 1)(random_); }

  void line(const std::string& fields) { log_ << '{' << fields << '}' << std::endl; }

  std::string new_id() { return std::to_string(++ids_); }

  std::string new_row() {
    recent_.push_back(new_id());
    if (recent_.size() > 30) recent_.erase(recent_.begin());
    return recent_.back();
  }

  bool connect() {
    prepared_.clear();
    connection_.reset(PQconnectdb(conninfo_.c_str()));
    PQsetNoticeProcessor(
        connection_.get(), [](void*, const char*) {}, nullptr);
    if (PQstatus(connection_.get()) == CONNECTION_OK) return true;
    line(R"("event":"connect_failed","state":"","time":)" + std::to_string(now()) + R"(,"text":)" +
         quoted(PQerrorMessage(connection_.get())));
    connection_.reset();
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + below(130)));
    return false;
  }

  // Logs an operation around its steps. A step throws Failure.
  void operation(const std::string& kind, const std::vector<std::string>& effects,
                 const std::function<void()>& steps) {
    ++operations_;
    may_have_committed_ = false;
    seen_.clear();
    const std::string op = R"(,"op":)" + std::to_string(operations_);
    line(R"("event":"begin")" + op + R"(,"kind":)" + quoted(kind) + R"(,"time":)" +
         std::to_string(now()) + R"(,"effects":)" + joined(effects));
    Failure failure;
    std::string fate = "ok";
    try {
      steps();
    } catch (const Failure& thrown) {
      failure = thrown;
      fate = judge(thrown);
    }
    line(R"("event":"end")" + op + R"(,"fate":)" + quoted(fate) + R"(,"time":)" +
         std::to_string(now()) + R"(,"seen":)" + joined(seen_) + R"(,"state":)" +
         quoted(failure.state) + R"(,"text":)" + quoted(failure.text));
    if (fate != "ok") recover();
  }

  // As in fate.py.
  std::string judge(const Failure& failure) const {
    if (!may_have_committed_) return "failed";
    if (failure.state.empty() || failure.state == "08007" || failure.state == "08000") {
      return "unknown";
    }
    const bool speaks_of_commit = failure.text.find("COMMIT") != std::string::npos;
    return failure.state.starts_with("08") && speaks_of_commit ? "unknown" : "failed";
  }

  void recover() {
    if (PQpipelineStatus(connection_.get()) != PQ_PIPELINE_OFF) {
      connection_.reset();  // simpler than to find its end
      return;
    }
    if (PQtransactionStatus(connection_.get()) != PQTRANS_IDLE) {
      const Result result(PQexec(connection_.get(), "rollback"));
      if (PQresultStatus(result.get()) != PGRES_COMMAND_OK) connection_.reset();
    }
    if (connection_ && PQstatus(connection_.get()) != CONNECTION_OK) connection_.reset();
  }

  Result checked(PGresult* raw) {
    Result result(raw);
    const ExecStatusType status = PQresultStatus(raw);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return result;
    fail(raw);
  }

  [[noreturn]] void fail(const PGresult* result) {
    const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    throw Failure{state ? state : "", PQerrorMessage(connection_.get())};
  }

  static std::vector<const char*> pointers(const Values& values) {
    std::vector<const char*> out;
    for (const std::string& value : values) out.push_back(value.c_str());
    return out;
  }

  Result execute(const char* sql, const Values& values = {}) {
    return checked(PQexecParams(connection_.get(), sql, static_cast<int>(values.size()), nullptr,
                                pointers(values).data(), nullptr, nullptr, 0));
  }

  Result prepared(const char* name, const char* sql, const Values& values) {
    if (below(8) == 0) {
      execute("deallocate all");
      prepared_.clear();
    }
    if (!prepared_.contains(name)) {
      checked(PQprepare(connection_.get(), name, sql, 0, nullptr));
      prepared_.insert(name);
    }
    may_have_committed_ = PQtransactionStatus(connection_.get()) == PQTRANS_IDLE;
    return checked(PQexecPrepared(connection_.get(), name, static_cast<int>(values.size()),
                                  pointers(values).data(), nullptr, nullptr, 0));
  }

  void command(const char* sql) { checked(PQexec(connection_.get(), sql)); }

  void commit() {
    if (below(6) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(below(40)));
    may_have_committed_ = true;
    const Result result = checked(PQexec(connection_.get(), "commit"));
    // A COMMIT that rolls back is not an error to libpq.
    if (std::string_view(PQcmdStatus(result.get())) != "COMMIT") {
      throw Failure{"40000", "COMMIT was answered with ROLLBACK"};
    }
  }

  void one_operation() {
    switch (below(8)) {
      case 0:
        return insert();
      case 1:
        return insert_prepared();
      case 2:
        return insert_many();
      case 3:
        return pipeline(false);
      case 4:
        return below(3) == 0 ? pipeline(true) : pipeline(false);
      case 5:
        return transfer();
      case 6:
        return count();
      default:
        return read();
    }
  }

  static std::string effect(const char* kind, const Values& values) {
    return std::string("[\"") + kind + "\"," + joined(values).substr(1);
  }

  void insert() {
    const std::string row = new_row();
    operation("insert", {effect("row", {row})}, [&] {
      may_have_committed_ = true;
      execute("insert into ledger_rows values ($1, $2)", {row, std::to_string(number_)});
    });
  }

  void insert_prepared() {
    const std::string row = new_row();
    operation("insert_prepared", {effect("row", {row})}, [&] {
      prepared("put", "insert into ledger_rows values ($1, $2)", {row, std::to_string(number_)});
    });
  }

  void insert_many() {
    const Values rows = {new_row(), new_row(), new_row()};
    const Values effects = {effect("row", {rows[0]}), effect("row", {rows[1]}),
                            effect("row", {rows[2]})};
    operation("insert_many", effects, [&] {
      command("begin");
      for (const std::string& row : rows) {
        prepared("put", "insert into ledger_rows values ($1, $2)", {row, std::to_string(number_)});
      }
      read_own(rows);
      commit();
    });
  }

  // Two rows in one implicit transaction, up to a Sync; only the Sync's answer acknowledges. One
  // that is refused fails behind the tags of its statements.
  void pipeline(bool refused) {
    const Values rows = {new_row(), new_row()};
    const Values effects = {effect("row", {rows[0]}), effect("row", {rows[1]})};
    operation(refused ? "pipeline_refused" : "pipeline", effects, [&] {
      PGconn* connection = connection_.get();
      PQenterPipelineMode(connection);
      for (const std::string& row : rows) {
        const Values values = {row, std::to_string(number_), refused ? "t" : "f"};
        PQsendQueryParams(connection, "insert into ledger_rows values ($1, $2, $3)", 3, nullptr,
                          pointers(values).data(), nullptr, nullptr, 0);
      }
      may_have_committed_ = true;
      PQpipelineSync(connection);
      until_sync();
      PQexitPipelineMode(connection);
    });
  }

  void until_sync() {
    for (int ends = 0;;) {
      const Result result(PQgetResult(connection_.get()));
      if (!result) {
        // A null ends each statement's results; many of them are the end of the connection.
        if (++ends > 8) throw Failure{"", "the pipeline does not end"};
        continue;
      }
      const ExecStatusType status = PQresultStatus(result.get());
      if (status == PGRES_PIPELINE_SYNC) return;
      if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) fail(result.get());
    }
  }

  void transfer() {
    const std::string identity = new_id();
    const int source = 1 + below(20);
    const int target = 1 + (source + below(19)) % 20;
    const std::string amount = std::to_string(1 + below(20));
    const Values values = {identity, std::to_string(source), std::to_string(target), amount};
    operation("transfer", {effect("transfer", values)}, [&] {
      const char* add = "update ledger_accounts set balance = balance + $1 where id = $2";
      const auto take = [&] { execute(add, {"-" + amount, std::to_string(source)}); };
      command("begin");
      if (source < target) take();
      execute(add, {amount, std::to_string(target)});
      if (source > target) take();
      execute("insert into ledger_transfers values ($1, $2, $3, $4)", values);
      commit();
    });
  }

  void count() {
    const std::string counter = std::to_string(1 + below(8));
    operation("count", {effect("count", {counter, "1"})}, [&] {
      const Result result = prepared("count",
                                     "update ledger_counters set value = value + 1 "
                                     "where id = $1::int returning value",
                                     {counter});
      seen_.push_back(effect("counter", {counter, PQgetvalue(result.get(), 0, 0), "1"}));
    });
  }

  void read() {
    operation("read", {}, [&] {
      read_own({});
      const std::string token = std::to_string(below(1 << 30));
      const Result result =
          prepared("echo", "select $1::bigint, current_setting('application_name')", {token});
      Values got;
      for (int i = 0; i < PQntuples(result.get()); ++i) {
        got.push_back(
            joined({PQgetvalue(result.get(), i, 0), quoted(PQgetvalue(result.get(), i, 1))}));
      }
      seen_.push_back(effect("echo", {joined({joined({token, quoted(name_)})}), joined(got)}));
    });
  }

  void read_own(const Values& pending) {
    const std::string low = recent_.empty() ? std::to_string(ids_) : recent_.front();
    const Result result =
        execute("select id from ledger_rows where client = $1::int and id >= $2::bigint",
                {std::to_string(number_), low});
    Values rows;
    for (int i = 0; i < PQntuples(result.get()); ++i) {
      rows.emplace_back(PQgetvalue(result.get(), i, 0));
    }
    seen_.push_back(effect("own", {low, joined(rows), joined(pending)}));
  }

  std::int64_t number_;
  std::string name_;  // its application_name
  std::string conninfo_;
  std::ofstream log_;
  double until_;
  std::mt19937 random_;
  int pause_ms_;
  std::int64_t ids_;
  int operations_ = 0;
  bool may_have_committed_ = false;  // what was given to libpq so far, of this operation
  Connection connection_;
  std::set<std::string> prepared_;
  Values recent_;
  Values seen_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) {
    std::fputs("usage: dwspool_chaos_client NUMBER NAME CONNINFO LOG SECONDS SEED PAUSE_MS\n",
               stderr);
    return 2;
  }
  Client(std::atoi(argv[1]), argv[2], argv[3], argv[4], now() + std::atof(argv[5]),
         static_cast<unsigned>(std::atoi(argv[6])), std::atoi(argv[7]))
      .run();
  return 0;
}
