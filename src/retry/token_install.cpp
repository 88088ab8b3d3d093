// The table of tokens and its functions, as PostgreSQL and as DWS want them.
//
// Everybody may write a token and ask for the outcome of one; nobody may read the table, so that a
// token is known to its own client alone.
#include "dwspool/retry/commit_token.h"

namespace dwspool::retry {
namespace {

// How long outcome() answers for a token that is not there, and when the rows go. The day between
// makes up for clocks that differ.
constexpr std::string_view check_key =
    "  IF key IS NULL OR key !~ '^[0-9a-f]{32}/[0-9]{1,12}/[0-9]{1,19}$' THEN\n"
    "    RAISE EXCEPTION 'not a token of dwspool' USING ERRCODE = '22023';\n"
    "  END IF;\n"
    "  IF to_timestamp(split_part(key, '/', 2)::bigint) < now() - interval '1 day' THEN\n"
    "    SELECT t.kind INTO found FROM dwspool.commit_token t WHERE t.token = key;\n"
    "    RETURN CASE found WHEN 'C' THEN 'committed' WHEN 'A' THEN 'aborted' ELSE 'unknown' END;\n"
    "  END IF;\n";

std::string table(Dialect dialect) {
  std::string sql =
      "CREATE TABLE dwspool.commit_token (\n"
      "  token text NOT NULL PRIMARY KEY,\n"
      "  kind varchar(1) NOT NULL DEFAULT 'C',\n"
      "  at timestamp with time zone NOT NULL DEFAULT now()\n"
      ")";
  if (dialect == Dialect::dws) {
    sql += " WITH (ORIENTATION = ROW) DISTRIBUTE BY HASH (token)";
  }
  return sql;
}

// The row is written either way, so that the verdict waits for the standby as a COMMIT does.
std::string settle(Dialect dialect) {
  if (dialect != Dialect::dws) {
    return "  INSERT INTO dwspool.commit_token AS t (token, kind) VALUES (key, 'A')\n"
           "    ON CONFLICT (token) DO UPDATE SET kind = t.kind RETURNING t.kind INTO found;\n";
  }
  return "  BEGIN\n"
         "    INSERT INTO dwspool.commit_token (token, kind) VALUES (key, 'A');\n"
         "    RETURN 'aborted';\n"
         "  EXCEPTION WHEN unique_violation THEN\n"
         "    UPDATE dwspool.commit_token SET kind = kind WHERE token = key;\n"
         "    SELECT t.kind INTO found FROM dwspool.commit_token t WHERE t.token = key;\n"
         "  END;\n";
}

}  // namespace

std::vector<std::string> install_statements(Dialect dialect) {
  return {
      "CREATE SCHEMA dwspool",
      "GRANT USAGE ON SCHEMA dwspool TO PUBLIC",
      table(dialect),
      "REVOKE ALL ON dwspool.commit_token FROM PUBLIC",
      "GRANT INSERT (token) ON dwspool.commit_token TO PUBLIC",
      "CREATE OR REPLACE FUNCTION dwspool.outcome(key text) RETURNS text\n"
      "LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$\n"
      "DECLARE\n"
      "  found text;\n"
      "BEGIN\n" +
          std::string(check_key) + settle(dialect) +
          "  RETURN CASE found WHEN 'C' THEN 'committed' WHEN 'A' THEN 'aborted' ELSE 'unknown' "
          "END;\n"
          "END $body$",
      "CREATE OR REPLACE FUNCTION dwspool.purge() RETURNS bigint\n"
      "LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$\n"
      "DECLARE\n"
      "  purged bigint;\n"
      "BEGIN\n"
      "  DELETE FROM dwspool.commit_token WHERE at < now() - interval '2 days';\n"
      "  GET DIAGNOSTICS purged = ROW_COUNT;\n"
      "  RETURN purged;\n"
      "END $body$",
      "REVOKE ALL ON FUNCTION dwspool.purge() FROM PUBLIC",
      "GRANT EXECUTE ON FUNCTION dwspool.outcome(text) TO PUBLIC",
  };
}

bool exists_already(std::string_view sqlstate) {
  return sqlstate == "42P06" || sqlstate == "42P07";
}

std::string purge_statement() {
  return "SELECT dwspool.purge()";
}

}  // namespace dwspool::retry
