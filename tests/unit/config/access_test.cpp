// pg_hba.conf, `access`, and PgBouncer's userlist.txt.
#include <doctest/doctest.h>

#include "dwspool/base/text.h"

#include "config/hba.h"
#include "config/networks.h"
#include "config/userlist.h"
#include "support.h"
#include "support/test_certificates.h"

namespace dwspool::config::testing {
namespace {

std::string shown(const std::string& text) {
  const auto parsed = parse_hba(text);
  std::string all;
  if (const auto* const complaints = std::get_if<std::vector<HbaComplaint>>(&parsed)) {
    for (const HbaComplaint& each : *complaints) {
      all += std::to_string(each.line) + ": " + each.message + "\n";
    }
    return all;
  }
  for (const auth::AccessRule& rule : std::get<std::vector<auth::AccessRule>>(parsed)) {
    all += std::to_string(rule.line) + ":" + std::to_string(static_cast<int>(rule.type));
    for (const std::string& name : rule.databases) all += " d=" + name;
    if (rule.same_user) all += " sameuser";
    for (const std::string& name : rule.users) all += " u=" + name;
    if (!rule.network.empty()) {
      all += " " + hex_encode(rule.network) + "/" + std::to_string(rule.prefix);
    }
    all += " " + std::string(to_string(rule.method));
    if (rule.needs_certificate) all += rule.names_user ? " full" : " ca";
    all += "\n";
  }
  return all;
}

}  // namespace

TEST_CASE("hba: rules") {
  CHECK(shown("") == "");
  CHECK(shown("# nothing\n\n   \n") == "");
  CHECK(shown("local all all peer\n") == "1:1 peer\n");
  CHECK(shown("host all all 127.0.0.1/32 md5 # here\n") == "1:2 7f000001/32 md5\n");
  CHECK(shown("host all all 10.0.0.0 255.255.0.0 md5\n") == "1:2 0a000000/16 md5\n");
  CHECK(shown("\n\thostssl\tsales,archive\tbob, eve\t::1/128\tscram-sha-256\n") ==
        "2:3 d=sales d=archive u=bob u=eve 00000000000000000000000000000001/128 scram-sha-256\n");
  CHECK(shown("host sameuser all all password") == "1:2 sameuser password\n");
  CHECK(shown("host \"all\" \"Big Bob\" all trust") == "1:2 d=all u=Big Bob trust\n");
  CHECK(shown("hostssl all all all cert\nhostssl all all all md5 clientcert=verify-full\n"
              "hostssl all all all md5 clientcert=verify-ca") ==
        "1:3 cert\n2:3 md5 full\n3:3 md5 ca\n");
  CHECK(shown("local replication all peer\nhost all,replication all all reject\r\n") ==
        "2:2 reject\n");
  CHECK(shown("hostnogssenc all all all reject") == "1:2 reject\n");
}

TEST_CASE("hba: what is wrong, by line") {
  const auto wrong = [](const std::string& line, const std::string& part) {
    CAPTURE(line);
    const std::string all = shown("\n" + line + "\n");
    CHECK(all.starts_with("2: "));
    CHECK(all.find(part) != std::string::npos);
  };
  wrong("hots all all all md5", "type of connection");
  wrong("hostgssenc all all all gss", "GSSAPI");
  wrong("host all all all", "method is missing");
  wrong("host all all 10.0.0.1 md5", "no mask");
  wrong("host all all 10.0.0.1", "mask, is missing");
  wrong("host all all 10.0.0.1/33 md5", "from 0 to 32");
  wrong("host all all 10.0.0.1/8 md5", "behind its prefix");
  wrong("host all all 10.0.0.0 255.0.255.0 md5", "its ones must stand in front");
  wrong("host all all db.example/8 md5", "no IPv4 or IPv6 address");
  wrong("host all all samenet md5", "samenet");
  wrong("host all +admins all md5", "member");
  wrong("host samerole all all md5", "member");
  wrong("host @list all all md5", "cannot be used");
  wrong("host all /^a all md5", "cannot be used");
  wrong("host all all all ldap ldapserver=x", "does not have the method 'ldap'");
  wrong("host all all all peer", "local connections only");
  wrong("host all all all cert", "hostssl only");
  wrong("hostssl all all all cert map=m", "option 'map=m'");
  wrong("host \"a all all md5", "not closed");
  wrong("host all", "user is missing");
}

TEST_CASE("access: as YAML") {
  const Config config =
      loaded(with("access:\n"
                  "  - {type: local, users: [root], method: peer}\n"
                  "  - {type: host, databases: [app], address: 10.0.0.0/8, method: md5}\n"
                  "  - {}\n"));
  CHECK(config.has_access_rules);
  REQUIRE(config.access.size() == 3);
  CHECK(config.access[0].method == auth::AccessMethod::peer);
  CHECK(config.access[1].databases == std::vector<std::string>{"app"});
  CHECK(config.access[1].prefix == 8);
  CHECK(config.access[2].method == auth::AccessMethod::automatic);
  CHECK_FALSE(loaded(Parts{}.text()).has_access_rules);
  const auto wrong = [](const std::string& rule, const std::string& complaint) {
    CAPTURE(rule);
    CHECK(complaints_about(with("access: [" + rule + "]\n")) == "4: " + complaint);
  };
  wrong("", "access: there is no rule, so nobody could log in");
  wrong("{method: ldap}",
        "access[0].method: expected auto, trust, reject, password, md5, scram-sha-256, cert or "
        "peer, found 'ldap'");
  wrong("{address: nowhere}",
        "access[0].address: 'nowhere' is no IPv4 or IPv6 address; host names are not looked up "
        "here");
  wrong("{method: peer}", "access[0].method: peer needs 'type: local'");
  wrong("{type: local, address: 10.0.0.0/8}", "access[0].address: a Unix socket has none");
  wrong("{type: hostssl, method: cert}",
        "access[0]: certificates of clients need 'client_ca' under 'tls'");
  wrong("{method: cert}", "access[0]: certificates need 'type: hostssl'");
  wrong("{type: hostssl, method: md5}",
        "access[0]: hostssl matches nobody, since there is no 'tls'");
  wrong("{users: []}", "access[0].users: the list is empty; leave the key out for all of them");
  wrong("{user: bob}", "access[0].user: unknown key; did you mean 'users'?");
}

TEST_CASE("hba_file") {
  const TempDir dir;
  const std::string good = dir.write("hba", "local all all peer\n");
  const Config config =
      loaded(with("access: [{type: host, method: md5}]\nhba_file: " + good + "\n"));
  REQUIRE(config.access.size() == 2);
  CHECK(config.access[1].method == auth::AccessMethod::peer);
  const std::string bad = dir.write("bad", "\nlocal all all ldap\n");
  CHECK(complaints_about(with("hba_file: " + bad + "\n")) ==
        "4: hba_file: " + bad +
            ":2: dwspool does not have the method 'ldap'; it has trust, reject, password, md5, "
            "scram-sha-256, cert and peer");
  CHECK(complaints_about(with("hba_file: /nowhere\n")) ==
        "4: hba_file: cannot read /nowhere: No such file or directory");
}

TEST_CASE("userlist.txt") {
  const auto parsed = parse_userlist(
      "; comment\n\"bob\" \"se\"\"cret\" more\n\n  \"eve\"  \"md5abc\"\n\"none\" \"\"\n");
  REQUIRE(parsed);
  REQUIRE(parsed->size() == 3);
  CHECK((*parsed)[0].first == "bob");
  CHECK((*parsed)[0].second.reveal() == "se\"cret");
  CHECK((*parsed)[1].first == "eve");
  CHECK((*parsed)[2].second.empty());
  for (const char* text :
       {"bob secret", "\"bob\" secret", "\"bob\"", "\"bob", "\"bob\" \"s3cret"}) {
    const auto refused = parse_userlist(std::string("\n") + text);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message.starts_with("line 2: "));
    CHECK(refused.error().message.find("cret") == std::string::npos);
  }
  const TempDir dir;
  const std::string file = dir.write("list", "\"bob\" \"other\"\n\"eve\" \"hers\"\n");
  const Config config = loaded(with("userlist_file: " + file + "\n"));
  REQUIRE(config.users.size() == 2);
  CHECK(config.find_user("bob")->secret.plain.reveal() == "secret");
  CHECK(config.find_user("eve")->secret.plain.reveal() == "hers");
}

}  // namespace dwspool::config::testing
