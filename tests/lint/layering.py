#!/usr/bin/env python3
"""The arrows of doc/architecture.md, checked: who may include whom, and which libraries stay in
which module. Run by CTest; prints every wrong include and exits with 1."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Module -> modules below it that it may include. The same arrows as in CMakeLists.txt, which
# check() compares with.
MAY_INCLUDE = {
    "base": [],
    "tls": ["base"],
    "wire": ["base"],
    "sql": ["base"],
    "auth": ["base", "wire"],
    "login": ["base", "wire", "auth"],
    "retry": ["base", "wire", "sql"],
    "pool": ["base"],
    "cluster": ["base", "retry"],
    "session": ["base", "wire", "sql", "auth", "retry"],
    "console": ["base", "wire"],
    "metrics": ["base"],
    "config": ["base", "tls", "auth"],
    "net": ["base", "tls"],
    "admin": ["base", "metrics"],
    "proxy": ["base", "tls", "wire", "auth", "login", "pool", "cluster", "retry", "session",
              "console", "config",
              "metrics", "net"],
    "app": ["base", "tls", "wire", "auth", "config", "metrics", "net", "admin", "proxy", "login",
            "retry"],
}

# The pure core: events and time come in, actions come out.
CORE = ["wire", "sql", "auth", "login", "pool", "cluster", "retry", "session", "console"]

# A library's headers -> where they may be included (modules, or single files).
LIBRARIES = {
    r"uv\.h": ["net"],
    r"spdlog/.*": ["src/base/log.cpp"],
    r"yaml-cpp/.*|yaml\.h": ["config"],
    r"prometheus/.*": ["metrics"],
    r"civetweb\.h": ["admin"],
    r"libpq-fe\.h": ["src/config/conninfo.cpp", "src/app/check.cpp", "src/app/token.cpp",
                     "src/app/console_client.cpp"],
    r"openssl/.*": ["tls", "src/auth/digest.cpp"],
    r"stringprep\.h": ["src/auth/digest.cpp"],
    r"pg_query\.h": ["src/retry/facts.cpp"],
}

# What the core must not reach for: sockets, files, threads, and every way to ask for the time.
CORE_HEADERS = re.compile(
    r"(sys/.*|netinet/.*|arpa/.*|netdb\.h|unistd\.h|fcntl\.h|poll\.h|pthread\.h|time\.h|ctime|"
    r"thread|mutex|shared_mutex|condition_variable|future|atomic|fstream|iostream|cstdio)")
CORE_HEADERS_ALLOWED = {"src/auth/digest.cpp": {"sys/random.h"},
                        "src/wire/proxy_header.cpp": {"arpa/inet.h"}}  # inet_pton, a pure function
CORE_WORDS = re.compile(
    r"steady_clock|system_clock|high_resolution_clock|clock_gettime|gettimeofday|::time\(|"
    r"base/log\.h|uv_hrtime")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.M)


def module_of(path):
    parts = path.relative_to(ROOT).parts
    return parts[2] if parts[0] == "include" else parts[1]


def check_file(path):
    problems = []
    name = str(path.relative_to(ROOT))
    module = module_of(path)
    text = path.read_text(encoding="utf-8")
    for kind, target in INCLUDE.findall(text):
        if target.startswith("dwspool/"):
            other = target.split("/")[1]
            if other != module and other not in MAY_INCLUDE[module]:
                problems.append(f"{name}: {module} must not include {target}")
            continue
        if kind == '"':
            if target.split("/")[0] != module:
                problems.append(f"{name}: private header of another module: {target}")
            continue
        for pattern, places in LIBRARIES.items():
            if re.fullmatch(pattern, target) and module not in places and name not in places:
                problems.append(f"{name}: <{target}> belongs to {', '.join(places)}")
        if (module in CORE and CORE_HEADERS.fullmatch(target)
                and target not in CORE_HEADERS_ALLOWED.get(name, ())):
            problems.append(f"{name}: the core must not include <{target}>")
    if module in CORE:
        code = re.sub(r"//.*", "", text)
        for word in CORE_WORDS.findall(code):
            problems.append(f"{name}: the core must not use {word}")
    return problems


def check_cmake():
    """CMakeLists.txt draws the same picture."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    drawn = {}
    for name, rest in re.findall(r"dwspool_module\((\w+)([^)]*)\)", text):
        deps = re.search(r"DEPS([\w\s]*?)(?:LIBS|$)", rest)
        drawn[name] = sorted(deps.group(1).split()) if deps else []
    wanted = {name: sorted(deps) for name, deps in MAY_INCLUDE.items()}
    return [f"CMakeLists.txt: {name} links {drawn.get(name)}, the rule says {wanted.get(name)}"
            for name in sorted(set(drawn) | set(wanted)) if drawn.get(name) != wanted.get(name)]


def check_arrows():
    """An arrow only points down: in the order above, nothing refers to what comes later."""
    order = list(MAY_INCLUDE)
    return [f"the rules: {name} points up to {dep}" for name, deps in MAY_INCLUDE.items()
            for dep in deps if order.index(dep) >= order.index(name)]


def check_sizes():
    """A file that needs scrolling to be understood wants to be two."""
    limit = 500
    return [f"{path.relative_to(ROOT)}: {count} lines; more than {limit} want to be two files"
            for path in sources()
            if (count := len(path.read_text(encoding="utf-8").splitlines())) > limit]


def sources():
    return sorted(list(ROOT.glob("include/dwspool/*/*.h")) + list(ROOT.glob("src/*/*.h"))
                  + list(ROOT.glob("src/*/*.cpp")))


def self_test():
    """The check itself can fail: a wrong arrow, a library and a clock in the core are found."""
    import tempfile
    bad = {
        "src/wire/bad.cpp": '#include <uv.h>\n#include "dwspool/net/loop.h"\n',
        "src/pool/bad.cpp": "#include <chrono>\nauto t = std::chrono::steady_clock::now();\n",
        "src/session/bad.cpp": "#include <mutex>\n#include <spdlog/spdlog.h>\n",
    }
    global ROOT
    real, found = ROOT, 0
    with tempfile.TemporaryDirectory() as folder:
        ROOT = pathlib.Path(folder)
        for name, text in bad.items():
            path = ROOT / name
            path.parent.mkdir(parents=True)
            path.write_text(text, encoding="utf-8")
            found += len(check_file(path))
    ROOT = real
    return [] if found == 5 else [f"self-test: found {found} of 5 planted faults"]


def main():
    problems = self_test() + check_arrows() + check_cmake() + check_sizes()
    for path in sources():
        problems += check_file(path)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
