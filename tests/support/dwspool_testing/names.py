"""A name service under test: what dwspool's getaddrinfo says is what a file says, at once."""

import os
import shutil
import subprocess
import tempfile

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int lookup(const char*, const char*, const struct addrinfo*, struct addrinfo**);

/* Lines: a name, and addresses, or "never" for no answer ever, or nothing for no such name. */
int getaddrinfo(const char* node, const char* service, const struct addrinfo* hints,
                struct addrinfo** result) {
  lookup* real = (lookup*)dlsym(RTLD_NEXT, "getaddrinfo");
  FILE* file = node ? fopen(getenv("FAKE_NAMES"), "r") : NULL;
  char line[1024];
  while (file && fgets(line, sizeof line, file)) {
    char *rest, *word = strtok_r(line, " \n", &rest);
    if (!word || strcmp(word, node)) continue;
    fclose(file);
    struct addrinfo** next = result;
    *next = NULL;
    while ((word = strtok_r(NULL, " \n", &rest))) {
      if (!strcmp(word, "never")) for (;;) pause();
      if (real(word, service, hints, next)) return EAI_FAIL;
      while (*next) next = &(*next)->ai_next;
    }
    return *result ? 0 : EAI_NONAME;
  }
  if (file) fclose(file);
  return real(node, service, hints, result);
}
"""


class Names:
    """`env` makes a process believe in it. Names that were never set are the system's."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="dwspool-names-")
        self.known = {}
        self.path = os.path.join(self.dir, "names")
        library = os.path.join(self.dir, "names.so")
        source = os.path.join(self.dir, "names.c")
        with open(source, "w", encoding="utf-8") as file:
            file.write(SOURCE)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        # A sanitizer wants to come first, and need not.
        self.env = {"LD_PRELOAD": library, "FAKE_NAMES": self.path,
                    "ASAN_OPTIONS": "verify_asan_link_order=0"}
        self.write()

    def write(self):
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            for name, words in self.known.items():
                file.write(" ".join([name, *words]) + "\n")
        os.rename(self.path + ".new", self.path)

    def set(self, name, *addresses):
        """None at all: there is no such name."""
        self.known[name] = addresses
        self.write()

    def silence(self, name):
        """There is never an answer."""
        self.set(name, "never")

    def destroy(self):
        shutil.rmtree(self.dir, ignore_errors=True)
