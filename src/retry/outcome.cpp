#include "dwspool/retry/outcome.h"

#include "dwspool/wire/sqlstate.h"

namespace dwspool::retry {

Outcome judge(const LostWork& work) {
  if (!work.sent) return Outcome::not_sent;
  const bool nothing_yet = work.in_transaction || work.commits_nothing;
  if (nothing_yet && !work.may_have_committed) return Outcome::open_transaction_lost;
  return Outcome::in_doubt;
}

wire::ErrorReport describe(Outcome outcome, std::string_view cause) {
  wire::ErrorReport report;
  report.detail = cause;
  switch (outcome) {
    case Outcome::not_sent:
      report.sqlstate = wire::sqlstate::connection_failure;
      report.message = "the statement was not run: the connection to the database server was lost";
      report.hint = "Nothing of it was sent. It can be run again.";
      break;
    case Outcome::open_transaction_lost:
      report.sqlstate = wire::sqlstate::connection_failure;
      report.message = "the transaction was lost with the connection to the database server";
      report.hint = "Nothing of it was committed. Roll back, then run the transaction again.";
      break;
    case Outcome::in_doubt:
      report.sqlstate = wire::sqlstate::transaction_resolution_unknown;
      report.message =
          "the connection to the database server was lost before it answered: whether the "
          "statement took effect is unknown";
      report.hint = "Check its effect before you run it again.";
      break;
  }
  return report;
}

std::string said_by_server(const wire::ErrorFields& fields) {
  std::string text = "The server said: ";
  text.append(fields.message);
  if (!fields.sqlstate.empty()) text.append(" (SQLSTATE ").append(fields.sqlstate).append(")");
  return text;
}

}  // namespace dwspool::retry
