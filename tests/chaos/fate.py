"""What an error says about a write. SQLSTATEs mean what doc/errors.md says they mean."""

from history import FAILED, UNKNOWN


def judge(state, text, may_have_committed):
    """The fate of an operation that ended with this error. `may_have_committed`: a COMMIT, or a
    write outside a transaction, had been given to the driver by then."""
    if not may_have_committed:
        return FAILED
    if not state:
        return UNKNOWN  # the connection ended without a word
    if state == "08007":
        return UNKNOWN
    if state == "08000" or (state.startswith("08") and "COMMIT" in text):
        return UNKNOWN  # a coordinator's own: it lost a data node, maybe while it committed there
    return FAILED
