// What a client and a backend are known to hold, while answers are under way.
#include "dwspool/session/prepared.h"

#include <doctest/doctest.h>

namespace dwspool::session {
namespace {

PreparedPtr intern(PreparedTable& table, std::string_view query, std::string_view scope = "") {
  return table.intern(scope, query, "", [](std::string_view text) { return sql::recognize(text); });
}

}  // namespace

TEST_CASE("statements of the same text and scope are one") {
  PreparedTable table;
  const PreparedPtr one = intern(table, "select 1");
  CHECK(intern(table, "select 1") == one);
  CHECK(intern(table, "select 2") != one);
  CHECK(intern(table, "select 1", "timezone='UTC'") != one);
  one->outdated = true;
  CHECK(intern(table, "select 1") != one);
}

TEST_CASE("what is outdated is made anew once for all, and a client's name goes over to it") {
  PreparedTable table;
  const PreparedPtr old = intern(table, "select 1");
  old->outdated = true;
  const PreparedPtr fresh = table.renew(*old);
  CHECK(fresh != old);
  CHECK_FALSE(fresh->outdated);
  CHECK(fresh->query == "select 1");
  CHECK(table.renew(*old) == fresh);
  CHECK(intern(table, "select 1") == fresh);

  ClientStatements names;
  names.set("s", old);
  names.note_described(old->id);
  CHECK(names.is_described(*old));
  names.replace("s", fresh);
  CHECK(*names.find("s") == fresh);
  CHECK_FALSE(names.is_described(*fresh));
  names.undo(1);  // the Parse of the old one was skipped: there is no such name
  CHECK(names.find("s") == nullptr);
}

TEST_CASE("what a client was told is forgotten with the statement, and in time") {
  PreparedTable table;
  ClientStatements names;
  const PreparedPtr kept = intern(table, "select 'kept'");
  names.set("kept", kept);
  names.note_described(kept->id);
  for (int i = 0; i < 100; ++i) {
    const PreparedPtr passing = intern(table, "select " + std::to_string(i));
    names.set("passing", passing);
    names.note_described(passing->id);
    names.settle_all();
    names.erase("passing");
  }
  CHECK(names.is_described(*kept));
  names.set("again", kept);
  CHECK_FALSE(names.is_described(*kept));
}

TEST_CASE("a client's changes are undone in the order that makes them undone") {
  PreparedTable table;
  const PreparedPtr one = intern(table, "select 1");
  const PreparedPtr two = intern(table, "select 2");
  ClientStatements names;
  names.set("s", one);
  names.settle();
  names.erase("s");
  names.set("s", two);
  names.undo(2);
  REQUIRE(names.find("s") != nullptr);
  CHECK(*names.find("s") == one);

  names.erase("s");
  names.set("s", two);
  names.settle();
  names.undo(1);  // Close was answered, Parse was not
  CHECK(names.find("s") == nullptr);

  // A name that something later has taken is left alone.
  names.set("t", one);
  names.settle();
  names.erase("t");
  names.set("t", two);
  names.undo(1);
  CHECK(*names.find("t") == two);
  names.settle();
}

TEST_CASE("DEALLOCATE ALL leaves the names that were set behind it") {
  PreparedTable table;
  ClientStatements names;
  names.set("old", intern(table, "select 1"));
  names.settle();
  names.set("new", intern(table, "select 2"));
  names.clear_settled();
  CHECK(names.find("old") == nullptr);
  CHECK(names.find("new") != nullptr);
  names.undo_all();
  CHECK(names.size() == 0);
}

TEST_CASE("many names") {
  PreparedTable table;
  ClientStatements names;
  for (int i = 0; i < 100; ++i) {
    names.set("s" + std::to_string(i), intern(table, "select " + std::to_string(i)));
    names.settle();
  }
  CHECK(names.size() == 100);
  CHECK((*names.find("s73"))->query == "select 73");
  for (int i = 0; i < 100; ++i) names.erase("s" + std::to_string(i));
  CHECK(names.size() == 0);
  names.undo_all();
  CHECK(names.size() == 100);
}

TEST_CASE("a backend's statement whose Close is skipped is still there") {
  PreparedTable table;
  const PreparedPtr one = intern(table, "select 1");
  BackendStatements held;
  held.add(one, "s");
  held.settle();
  CHECK(held.remove(*one) == "s");
  CHECK_FALSE(held.holds(*one));
  CHECK(held.holds_name("s"));
  held.undo(1);
  CHECK(held.use(*one)->name == "s");
  CHECK(held.is_confirmed(*one));

  CHECK(held.remove(*one) == "s");
  held.settle();
  CHECK_FALSE(held.holds_name("s"));
}

TEST_CASE("prepared again while its Close is under way, the old one is closed later") {
  PreparedTable table;
  const PreparedPtr one = intern(table, "select 1");
  BackendStatements held;
  held.add(one, "s");
  held.settle();
  held.remove(*one);
  CHECK(held.add(one, "s").name == "dwspool_1");
  held.undo(1);   // the Close was skipped with what stood before it,
  held.settle();  // the Parse behind the Sync was not
  CHECK(held.use(*one)->name == "dwspool_1");
  CHECK(held.holds_name("s"));
  CHECK(held.remove_surplus(10) == "s");
  held.settle();
  CHECK_FALSE(held.holds_name("s"));
  CHECK(held.remove_surplus(10).empty());
  CHECK(held.remove_surplus(0) == "dwspool_1");
}

TEST_CASE("a Parse that was to be refused, and was not") {
  PreparedTable table;
  const PreparedPtr one = intern(table, "selec 1");
  const PreparedPtr two = intern(table, "select 2");
  BackendStatements held;
  held.add(one, "s");
  held.expect_refusal(two, "s");
  held.undo(1);
  held.settle();
  CHECK_FALSE(held.holds(*one));
  CHECK(held.named("s") == two.get());
  CHECK(held.is_confirmed(*two));
}

TEST_CASE("DEALLOCATE ALL leaves the statements that were sent behind it") {
  PreparedTable table;
  BackendStatements held;
  const PreparedPtr one = intern(table, "select 1");
  const PreparedPtr two = intern(table, "select 2");
  held.add(one, "one");
  held.settle();
  held.add(two, "two");
  held.erase_confirmed();
  held.settle();
  CHECK_FALSE(held.holds(*one));
  CHECK_FALSE(held.holds_name("one"));
  CHECK(held.is_confirmed(*two));
  CHECK(held.size() == 1);
}

TEST_CASE("a backend that moves keeps its statements under the new worker's identities") {
  PreparedTable here;
  PreparedTable there;
  intern(there, "select 0");
  const PreparedPtr known = intern(there, "select 1", "x");
  BackendStatements held;
  held.add(intern(here, "select 1", "x"), "s");
  held.settle();
  held.add(intern(here, "deallocate s"), "d");
  held.settle();
  held.move_to(there);
  REQUIRE(held.use(*known) != nullptr);
  CHECK(held.use(*known)->name == "s");
  CHECK(held.size() == 2);
}

TEST_CASE("special statements") {
  const auto special = [](std::string_view text) { return special_of(sql::recognize(text), text); };
  CHECK(special("select 1") == nullptr);
  CHECK(special("set a to b; set c to d") == nullptr);
  CHECK(special("set A to b")->name == "a");
  CHECK(special("set A to b")->value == "b");
  CHECK(special("deallocate \"A\"")->name == "A");
  CHECK(substitute_for("deallocate a", special("deallocate a")).empty());
  CHECK(substitute_for("reset a", special("reset a")) == "reset a");
}

}  // namespace dwspool::session
