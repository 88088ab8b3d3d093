"""The faults. One is a function that breaks something on a stage, holds it for a moment and mends
it; @fault makes it known to run.sh under its name, with what it needs of the stage."""

import dataclasses
import typing

import psycopg2


@dataclasses.dataclass(frozen=True)
class Fault:
    name: str
    inject: typing.Callable
    standbys: int = 0  # how many it needs
    fake_cn: bool = False  # it needs the fake coordinator
    text: str = ""


FAULTS = {}


def fault(standbys=0, fake_cn=False):
    def known(function):
        FAULTS[function.__name__] = Fault(function.__name__, function, standbys, fake_cn,
                                          function.__doc__ or "")
        return function

    return known


# The server.


@fault()
def terminate(stage):
    """pg_terminate_backend, of some of dwspool's backends or of all."""
    share = stage.random.choice([0.3, 1.0])
    for _ in range(stage.random.randint(1, 5)):
        try:
            stage.rig.primary.rows(
                "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'ledger' "
                "and random() < %s", (share,))
        except psycopg2.Error:
            pass  # its own connection may be hit, or the server be busy
        stage.pause(0.01, 0.2)


@fault()
def cancel(stage):
    """pg_cancel_backend: an error on a connection that lives."""
    for _ in range(stage.random.randint(1, 5)):
        stage.rig.primary.rows(
            "select pg_cancel_backend(pid) from pg_stat_activity where usename = 'ledger'")
        stage.pause(0.01, 0.1)


@fault()
def server_restart(stage):
    """The server is stopped, fast or at once, and started again."""
    stage.rig.restart(stage.rig.primary, stage.random.choice(["fast", "immediate"]))


@fault()
def server_kill9(stage):
    """kill -9, of the postmaster alone or of all its processes, and a new start."""
    stage.rig.kill9(stage.rig.primary, whole=stage.random.random() < 0.5)
    stage.pause(0.0, 0.5)
    stage.rig.restart(stage.rig.primary)


@fault()
def server_freeze(stage):
    """SIGSTOP and, later, SIGCONT."""
    stage.rig.freeze(stage.rig.primary)
    stage.pause(0.1, 1.5)
    stage.rig.thaw(stage.rig.primary)


# The wire between dwspool and the server.


@fault()
def cut(stage):
    """All connections of dwspool to the server are reset or closed, or those of clients to it."""
    relay = stage.random.choice([stage.back, stage.back, stage.front])
    for _ in range(stage.random.randint(1, 4)):
        relay.cut(stage.random.choice(["reset", "fin"]), stage.random.choice(["both", "server"]))
        stage.pause(0.01, 0.3)
    relay.cut("reset")  # those whose other end was kept


@fault()
def relay(stage):
    """Frames of the protocol are where the connection ends: in front of an answer, in the middle of
    it, behind it; or they are late, or notices come between them."""
    for _ in range(stage.random.randint(2, 6)):
        direction = stage.random.choice(["to_client", "to_server"])
        frame = stage.random.choice("ZCDT1" if direction == "to_client" else "QPBES")
        action = stage.random.choice(["reset", "reset", "fin", "delay", "inject"])
        if action == "inject":
            direction, frame = "to_client", "Z"
        after = stage.random.choice([0, None]) if action == "inject" else stage.random.choice(
            [0, 1, 5, -1, None])
        stage.back.rule(action, frame, direction, n=stage.random.randint(1, 20), times=3,
                        after=after, seconds=stage.random.uniform(0.05, 0.4))
    stage.pause(0.3, 1.5)
    stage.back.clear()


@fault()
def relay_commit(stage):
    """The connection ends around a COMMIT: before the server has it, or before its answer is
    here."""
    direction, frame = stage.random.choice(
        [("to_server", "Q"), ("to_client", "C"), ("to_client", "C")])
    contains = b"COMMIT" if direction == "to_client" else b"commit"
    rules = [stage.back.rule("reset", frame, direction, n=5, times=50, contains=text,
                             after=stage.random.choice([0, 1, None]))
             for text in {contains, contains.upper()}]
    stage.pause(0.5, 1.5)
    for rule in rules:
        stage.back.remove(rule)


@fault()
def doubts(stage):
    """For a while every third COMMIT loses its answer, and every seventh is lost itself."""
    rules = [stage.back.rule("reset", "C", "to_client", n=3, times=None, contains=b"COMMIT", after=0)]
    rules += [stage.back.rule("reset", "Q", "to_server", n=7, times=None, contains=text, after=0)
              for text in (b"commit", b"COMMIT")]
    stage.pause(3, 6)
    for rule in rules:
        stage.back.remove(rule)


@fault()
def relay_silence(stage):
    """Nothing comes through any more, and at last the connections break."""
    stage.back.cut("black_hole")
    stage.pause(0.2, 1.5)
    stage.back.cut("reset")


@fault()
def client_frames(stage):
    """Connections of clients end in the middle of what they send or get."""
    for _ in range(3):
        direction = stage.random.choice(["to_client", "to_server"])
        stage.front.rule("reset", None, direction, n=stage.random.randint(20, 200), times=2,
                         after=stage.random.choice([0, 1, 5, -1, None]))
    stage.pause(0.3, 1.0)
    stage.front.clear()


# dwspool.


@fault()
def dwspool_drain(stage):
    """SIGTERM, and a new dwspool."""
    if stage.proxy.stop() != 0:
        raise RuntimeError("dwspool did not end well:\n" + stage.proxy.log()[-4000:])
    stage.proxy.start()


@fault()
def dwspool_kill9(stage):
    """kill -9, and a new dwspool."""
    stage.kill_proxy()
    stage.proxy.start()


# The cluster.


def _change_primary(stage):
    # Commits whose wait for a standby was broken off by an earlier fault are visible, and must not
    # be lost: PostgreSQL does not promise them to survive.
    stage.rig.wait_replicated()
    old = stage.rig.primary
    new = stage.rig.switchover()
    stage.back.target_port = new.port
    return old


@fault(standbys=2)
def switchover(stage):
    """The primary dies, a standby takes its place; the old one comes back as a standby."""
    old = _change_primary(stage)
    stage.pause(0.0, 0.5)
    stage.rig.rewind(old)


@fault(standbys=2)
def switchover_twice(stage):
    """Two of them right behind each other."""
    stage.rig.wait_replicated()
    olds = [_change_primary(stage)]
    olds.append(_change_primary(stage))
    for old in olds:
        stage.rig.rewind(old)


@fault(standbys=2)
def standby_freeze(stage):
    """No standby answers: COMMITs wait, done but not acknowledged, and their backends are ended or
    not."""
    nodes = stage.rig.standbys
    for node in nodes:
        stage.rig.freeze(node)
    stage.pause(0.1, 1.0)
    if stage.random.random() < 0.5:
        stage.back.cut("reset")
        stage.pause(0.0, 0.3)
    for node in nodes:
        stage.rig.thaw(node)
    stage.rig.wait_replicated()


# A coordinator of DWS.


@fault(fake_cn=True)
def datanode(stage):
    """A data node changes over: for a moment, statements that need it fail on connections that
    live. COMMITs on their way pass, are lost, or happen and are reported as errors."""
    stage.cn.switchover(seconds=stage.random.uniform(0.2, 1.5),
                        code=stage.random.choice(["08006", "08006", "YY001", "57P01", "53200"]),
                        lang=stage.random.choice(["en", "zh"]),
                        commit=stage.random.choice(["pass", "lost", "done"]))
    stage.pause(0.3, 1.7)


@fault(fake_cn=True)
def coordinator_death(stage):
    """The coordinator is gone, and comes back."""
    stage.cn.die(stage.random.choice(["reset", "close"]))
    stage.pause(0.1, 1.0)
    stage.cn.revive()


@fault(fake_cn=True)
def coordinator_kills(stage):
    """The coordinator ends all sessions, and for a moment refuses new ones."""
    if stage.random.random() < 0.5:
        stage.cn.refuse_logins()
    stage.cn.kill_sessions()
    stage.pause(0.1, 1.0)


@fault(fake_cn=True)
def coordinator_freeze(stage):
    """The coordinator says nothing for a while, and then goes on or is gone."""
    stage.cn.freeze()
    stage.pause(0.1, 1.0)
    if stage.random.random() < 0.5:
        stage.back.cut("reset")
    stage.cn.thaw()


@fault(fake_cn=True)
def read_only(stage):
    """The cluster is read-only for a while, as when a disk is full."""
    stage.cn.set_read_only()
    stage.pause(0.1, 0.7)
