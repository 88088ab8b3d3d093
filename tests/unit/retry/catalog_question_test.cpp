#include "dwspool/retry/catalog_question.h"

#include <doctest/doctest.h>

namespace dwspool::retry {
namespace {

using std::chrono::seconds;

constexpr TimePoint start = TimePoint(seconds(1000));
const CatalogScope here = {"db", "app", "public"};

TEST_CASE("names come into the question as literals") {
  CHECK(catalog_question({}).empty());
  const std::string question =
      catalog_question({{"f", "s.g", "\"a'b\".\"x\"\"y.z\""}, {"t", "\"back\\slash\""}});
  for (const std::string_view part : {
           "('f'::text, 'f'::text, null::text, 'f'::text)",
           "('f'::text, 's.g'::text, 's'::text, 'g'::text)",
           R"(('f'::text, '"a''b"."x""y.z"'::text, 'a''b'::text, 'x"y.z'::text))",
           "('r'::text, 't'::text, null::text, 't'::text)",
           R"(('r'::text, E'"back\\slash"'::text, null::text, E'back\\slash'::text))",
       }) {
    CAPTURE(part);
    CHECK(question.find(part) != std::string::npos);
  }
  // One text, one statement.
  CHECK(question.find(';') == std::string::npos);
}

TEST_CASE("the question is bounded") {
  CatalogNames names;
  for (int i = 0; i < 999; ++i) names.functions.push_back("f" + std::to_string(i));
  names.relations = {"first_one", "second_one"};
  const std::string question = catalog_question(names);
  CHECK(question.find("'first_one'") != std::string::npos);
  CHECK(question.find("'second_one'") == std::string::npos);
}

TEST_CASE("a row of the answer") {
  const auto good = read_catalog_row({"r", "s.t", "t"});
  REQUIRE(good);
  CHECK(good->kind == CatalogKind::relation);
  CHECK(good->name == "s.t");
  CHECK(good->harmless);
  const auto bad = read_catalog_row({"f", "g", "f"});
  REQUIRE(bad);
  CHECK(bad->kind == CatalogKind::function);
  CHECK_FALSE(bad->harmless);
  CHECK_FALSE(read_catalog_row({"r", "t"}));
  CHECK_FALSE(read_catalog_row({"r", "t", std::nullopt}));
  CHECK_FALSE(read_catalog_row({std::nullopt, "t", "t"}));
  CHECK_FALSE(read_catalog_row({"r", "t", "true"}));
  CHECK_FALSE(read_catalog_row({"v", "t", "t"}));
  CHECK_FALSE(read_catalog_row({"", "t", "t"}));
}

TEST_CASE("a verdict holds for its name, in its place, for its time") {
  CatalogCache cache(seconds(60));
  cache.note(here, {CatalogKind::relation, "t", true}, start);
  cache.note(here, {CatalogKind::function, "f", false}, start + seconds(30));
  const auto find = [&](const CatalogScope& scope, CatalogKind kind, std::string_view name,
                        Duration later) { return cache.find(scope, kind, name, start + later); };
  CHECK(find(here, CatalogKind::relation, "t", seconds(59)) == true);
  CHECK_FALSE(find(here, CatalogKind::relation, "t", seconds(60)));
  CHECK(find(here, CatalogKind::function, "f", seconds(89)) == false);
  CHECK_FALSE(find(here, CatalogKind::function, "f", seconds(90)));
  CHECK_FALSE(find(here, CatalogKind::function, "t", seconds(1)));
  CHECK_FALSE(find({"db2", "app", "public"}, CatalogKind::relation, "t", seconds(1)));
  CHECK_FALSE(find({"db", "app2", "public"}, CatalogKind::relation, "t", seconds(1)));
  CHECK_FALSE(find({"db", "app", "a, public"}, CatalogKind::relation, "t", seconds(1)));
  // Where one field ends and the next begins matters.
  CHECK_FALSE(find({"dba", "pp", "public"}, CatalogKind::relation, "t", seconds(1)));
  CHECK_FALSE(find({"db", "app", "publi"}, CatalogKind::relation, "ct", seconds(1)));

  cache.note(here, {CatalogKind::relation, "t", false}, start + seconds(50));
  CHECK(cache.size() == 2);
  CHECK(find(here, CatalogKind::relation, "t", seconds(100)) == false);
  cache.forget_all();
  CHECK(cache.size() == 0);
  CHECK_FALSE(find(here, CatalogKind::relation, "t", seconds(51)));
}

TEST_CASE("the oldest verdicts go first") {
  CatalogCache cache(seconds(60), 3);
  for (int i = 0; i < 5; ++i) {
    cache.note(here, {CatalogKind::function, "f" + std::to_string(i), true}, start + seconds(i));
  }
  CHECK(cache.size() == 3);
  CHECK_FALSE(cache.find(here, CatalogKind::function, "f1", start + seconds(5)));
  CHECK(cache.find(here, CatalogKind::function, "f2", start + seconds(5)) == true);
  // One that is noted again is young again.
  cache.note(here, {CatalogKind::function, "f2", true}, start + seconds(6));
  cache.note(here, {CatalogKind::function, "g", true}, start + seconds(7));
  CHECK(cache.find(here, CatalogKind::function, "f2", start + seconds(8)) == true);
  CHECK_FALSE(cache.find(here, CatalogKind::function, "f3", start + seconds(8)));
  // What is over makes room by itself.
  cache.note(here, {CatalogKind::function, "h", true}, start + seconds(200));
  CHECK(cache.size() == 1);

  CatalogCache none(seconds(60), 0);
  none.note(here, {CatalogKind::function, "f", true}, start);
  CHECK(none.size() == 0);
}

TEST_CASE("all of a statement's names together") {
  CatalogCache cache;
  const CatalogNames names = {{"f", "g"}, {"t"}};
  CatalogNames missing;
  CHECK_FALSE(cache.harmless(here, names, start, missing));
  CHECK(missing.functions == names.functions);
  CHECK(missing.relations == names.relations);
  cache.note(here, {CatalogKind::function, "f", true}, start);
  cache.note(here, {CatalogKind::relation, "t", true}, start);
  CHECK_FALSE(cache.harmless(here, names, start, missing));
  CHECK(missing.functions == std::vector<std::string>{"g"});
  CHECK(missing.relations.empty());
  cache.note(here, {CatalogKind::function, "g", true}, start);
  CHECK(cache.harmless(here, names, start, missing) == true);
  CHECK(missing.empty());
  CHECK(cache.harmless(here, {}, start, missing) == true);
  // One that is bad decides, whatever is not known.
  cache.note(here, {CatalogKind::function, "g", false}, start);
  CHECK(cache.harmless(here, {{"g", "unknown"}, {}}, start, missing) == false);
}

}  // namespace
}  // namespace dwspool::retry
