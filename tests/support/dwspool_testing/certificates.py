"""A certificate authority for a test: everything in one folder, gone with it."""

import os
import shutil
import subprocess
import tempfile


class Authority:
    """Issues certificates with keys; `path(name)` + ".crt" and ".key" are their files."""

    def __init__(self, name="test ca"):
        self.dir = tempfile.mkdtemp(prefix="dwspool-ca-")
        os.chmod(self.dir, 0o755)
        self._run("req", "-x509", *self._new_key("ca"), "-days", "2", "-subj", f"/CN={name}",
                  "-out", self.cert("ca"))
        open(self._path("index.txt"), "w", encoding="utf-8").close()
        with open(self._path("ca.cnf"), "w", encoding="utf-8") as file:
            file.write("[ca]\ndefault_ca=d\n[d]\n"
                       f"database={self._path('index.txt')}\n"
                       f"certificate={self.cert('ca')}\nprivate_key={self.key('ca')}\n"
                       "default_md=sha256\ndefault_crl_days=2\n")

    def _path(self, name):
        return os.path.join(self.dir, name)

    def cert(self, name):
        return self._path(name + ".crt")

    def key(self, name):
        return self._path(name + ".key")

    def _new_key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", self.key(name)]

    @staticmethod
    def _run(*command):
        subprocess.run(["openssl", *command], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def issue(self, name, common_name=None, san=None, days=2):
        """`san` as in openssl.cnf: "DNS:localhost,IP:127.0.0.1"."""
        request = self._path(name + ".csr")
        self._run("req", *self._new_key(name), "-subj", f"/CN={common_name or name}",
                  "-out", request)
        extra = []
        if san:
            with open(self._path(name + ".ext"), "w", encoding="utf-8") as file:
                file.write(f"subjectAltName={san}\n")
            extra = ["-extfile", self._path(name + ".ext")]
        self._run("x509", "-req", "-in", request, "-CA", self.cert("ca"), "-CAkey", self.key("ca"),
                  "-CAcreateserial", "-days", str(days), "-out", self.cert(name), *extra)
        os.chmod(self.key(name), 0o600)
        return self

    def revoke(self, *names):
        """The path of a list that revokes these."""
        for name in names:
            self._run("ca", "-config", self._path("ca.cnf"), "-revoke", self.cert(name))
        self._run("ca", "-config", self._path("ca.cnf"), "-gencrl", "-out", self._path("ca.crl"))
        return self._path("ca.crl")

    def destroy(self):
        shutil.rmtree(self.dir, ignore_errors=True)
