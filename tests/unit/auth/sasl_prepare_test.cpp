#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "dwspool/base/text.h"

#include "dwspool/auth/digest.h"

#include "support/cuts.h"

namespace dwspool::auth {

using namespace std::string_literals;

TEST_CASE("SASLprep: what it changes and what it leaves") {
  struct Row {
    std::string name;
    std::string password;
    std::string prepared;
  };
  const std::vector<Row> rows = {
      {"empty", "", ""},
      {"ASCII", "user", "user"},
      {"ASCII keeps its case and blanks", " USER  x ", " USER  x "},
      {"ASCII control characters stay", "a\x07\x7f\tb", "a\x07\x7f\tb"},
      {"U+00AD soft hyphen goes (RFC 4013)", "I\u00adX", "IX"},
      {"U+00AA feminine ordinal (RFC 4013)", "\u00aa", "a"},
      {"U+2168 Roman nine (RFC 4013)", "\u2168", "IX"},
      {"U+00A0 no-break space", "a\u00a0b", "a b"},
      {"U+3000 ideographic space", "a\u3000b", "a b"},
      {"full-width letters", "\uff30\uff41\uff53\uff53\uff11", "Pass1"},
      {"case stays beyond ASCII, too", "\u00c4\u00e4", "\u00c4\u00e4"},
      {"composed", "Gru\u0308\u00dfe", "Gr\u00fc\u00dfe"},
      {"ligature", "\ufb01", "fi"},
      {"U+200B zero width space counts as a space", "\u00e9\u200b", "\u00e9 "},
      {"Hangul", "\u1100\u1161\u11a8", "\uac01"},
      {"right to left", "\u0627\u0628", "\u0627\u0628"},
      // From here on the bytes are used as they are, as PostgreSQL does.
      {"nothing would be left", "\u00ad", "\u00ad"},
      {"U+0007 is prohibited (RFC 4013)", "\u2168\x07", "\u2168\x07"},
      {"U+0627 U+0031 is prohibited (RFC 4013)",
       "\u0627"
       "1",
       "\u0627"
       "1"},
      {"private use", "\u2168\ue000", "\u2168\ue000"},
      {"not assigned in Unicode 3.2", "\u2168\U0001f600", "\u2168\U0001f600"},
      {"not UTF-8", "\xff\xfe", "\xff\xfe"},
      {"UTF-8 that ends early", "\u2168\xc3", "\u2168\xc3"},
      {"a longer form than needed", "\u2168\xc0\xaf", "\u2168\xc0\xaf"},
      {"a NUL", "\u2168\0x"s, "\u2168\0x"s},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    CHECK(hex_encode(sasl_prepare(row.password)) == hex_encode(row.prepared));
  }
}

TEST_CASE("SASLprep: what is prepared stays as it is") {
  for (const char* password : {"I\u00adX", "\u2168", "a\u00a0b", "\uff30\u00fc", "\ufb01"}) {
    const std::string once = sasl_prepare(password);
    CHECK(sasl_prepare(once) == once);
  }
}

TEST_CASE("SASLprep: long passwords and bytes of any kind") {
  std::string wide;
  for (int i = 0; i < 4000; ++i) wide += "\uff21\u00ad";
  CHECK(sasl_prepare(wide) == std::string(4000, 'A'));
  std::string growing;  // U+FDFA becomes 18 characters
  for (int i = 0; i < 100; ++i) growing += "\ufdfa";
  CHECK(sasl_prepare(growing).size() == 3300);
  std::mt19937 random(4013);
  for (int round = 0; round < 3000; ++round) {
    const std::string any = dwspool::testing::random_text(random, random() % 40);
    CHECK_NOTHROW(static_cast<void>(sasl_prepare(dwspool::testing::Exact(any))));
    const std::string text =
        dwspool::testing::random_text(random, random() % 12, "\xc2\xad\xe2\x85\xa8\xd8\xa7 1a");
    CHECK_NOTHROW(static_cast<void>(sasl_prepare(dwspool::testing::Exact(text))));
  }
}

}  // namespace dwspool::auth
