"""A coordinator of GaussDB(DWS) that is played: log-in, refusals and failures are DWS's, as told
in doc/gaussdb-protocol.md and doc/dws.md; the SQL is a real PostgreSQL's behind it."""

from .faults import CODES, COMMIT_FAILED, Fault
from .server import FakeCn
from .verifiers import COMBINED, LEGACY, MD5, SHA256, SM3, TRUST, Role

__all__ = ["CODES", "COMBINED", "COMMIT_FAILED", "FakeCn", "Fault", "LEGACY", "MD5", "Role",
           "SHA256", "SM3", "TRUST"]
