"""What can go wrong inside a cluster, as a coordinator tells it to its clients."""

import dataclasses
import re
import time

# The codes that DWS's own statement retry takes for temporary, each with a text of its kind.
CODES = {
    "YY001": "Failed to read response from Datanodes. Detail: Connection reset by peer",
    "YY002": "Failed to read response from Datanodes. Detail: Connection reset by peer",
    "YY003": "Lock wait timeout: thread 140012 on node dn_6003_6004 waiting for ShareLock",
    "YY004": "Distribute query initializing network connection timeout. "
             "un-connected nodes: dn_6003_6004",
    "YY005": "dn_6003_6004: ERROR SET query",
    "YY006": "memory is temporarily unavailable",
    "YY007": "Memory allocate error",
    "YY008": "No data in buffer",
    "YY009": "Close because release memory",
    "YY010": "TCP disconnect",
    "YY011": "SCTP disconnect",
    "YY012": "Stream closed by remote",
    "YY013": "Wait poll unknown error",
    "YY014": "Snapshot invalid",
    "YY015": "Connection receive wrong",
    "YY016": "Stream concurrent update",
    "53200": "Out of memory",
    "08006": "pooler: failed to create 1 connections, Error Message: remote node dn_6003_6004, "
             "detail: could not connect to server: Operation now in progress",
    "08000": "pooler: Communication failure, failed to send session commands or invalid incoming "
             "data, error count: 1.",
    "57P01": "dn_6003_6004: [FATAL] terminating connection due to administrator command",
    "XX003": "Stream remote close socket",
    "XX009": "Distribute query failed due to duplicate query id",
    "CG003": "Allocate Error",
    "CG004": "Fatal error",
    "F0011": "could not read hash join temporary file: File error",
    "F0012": "could not read buffer file",
    "45003": "the number of partitions has changed",
    "42P30": "the schema of the object does not match",
}
COMMIT_FAILED = "Failed to COMMIT the transaction on nodes: dn_6003_6004."

# With lc_messages = zh_CN. (Which words DWS uses is not documented: what counts is that nobody
# who looks for English ones finds any.)
CHINESE = {
    "08006": "pooler: 创建 1 个连接失败，错误信息: 远端节点 dn_6003_6004，详细信息: 无法连接到服务器: "
             "操作现在正在进行",
    "08000": "pooler: 通信失败，发送会话命令失败或收到无效数据，错误数: 1。",
    "57P01": "dn_6003_6004: 由于管理员命令中断联接",
    "YY001": "从数据节点读取响应失败。详细信息: 连接被对端重置",
    "53200": "内存用尽",
    "commit": "在节点 dn_6003_6004 上提交事务失败。",
}
SEVERITIES = {"ERROR": "错误", "FATAL": "致命错误", "WARNING": "警告"}

# What becomes of a COMMIT while data nodes are away: it passes, it is lost, or it happens and
# the answer is an error all the same.
PASS, LOST, DONE = "pass", "lost", "done"


@dataclasses.dataclass
class Refusal:
    """An error in the place of a statement."""
    code: str
    text: str
    lang: str = "en"

    def severity_text(self):
        return SEVERITIES["ERROR"] if self.lang == "zh" else "ERROR"


@dataclasses.dataclass
class Fault:
    """Statements that fail: for some seconds, or some times, or until it is healed."""
    code: str = "08006"
    text: str | None = None
    lang: str = "en"
    seconds: float | None = None
    count: int | None = None
    match: str | None = None     # a pattern; then nothing else decides, COMMIT included
    skip: int = 0                # so many that it suits pass before it
    retry: bool = False          # the coordinator tries autocommit statements again by itself
    commit: str = LOST
    hits: int = 0

    def __post_init__(self):
        if self.lang not in ("en", "zh"):
            raise ValueError(f"no such language: {self.lang}")
        if self.commit not in (PASS, LOST, DONE):
            raise ValueError(f"commit is {PASS}, {LOST} or {DONE}, not {self.commit}")
        self.until = None if self.seconds is None else time.monotonic() + self.seconds
        self.pattern = None if self.match is None else re.compile(self.match, re.I)

    def over(self):
        return ((self.until is not None and time.monotonic() >= self.until)
                or (self.count is not None and self.hits >= self.count))

    def refusal(self):
        texts = CHINESE if self.lang == "zh" and self.code in CHINESE else CODES
        return Refusal(self.code, self.text or texts.get(self.code, f"error {self.code}"),
                       self.lang)

    def commit_refusal(self):
        text = CHINESE["commit"] if self.lang == "zh" else COMMIT_FAILED
        return Refusal("08000", text, self.lang)


class Faults:
    """All that are in force; the first that suits a statement is it."""

    def __init__(self):
        self.active = []
        self.read_only = False

    def add(self, fault):
        self.active.append(fault)
        return fault

    def current(self):
        self.active = [fault for fault in self.active if not fault.over()]
        return self.active

    def heal(self):
        self.active.clear()

    def for_statement(self, statement, text):
        """The fault that this statement (not COMMIT) meets."""
        for fault in self.current():
            if fault.pattern.search(text) if fault.pattern else statement.touches:
                if fault.skip == 0:
                    return fault
                fault.skip -= 1
        return None

    def for_commit(self, text, wrote):
        for fault in self.current():
            if fault.pattern:
                if fault.pattern.search(text):
                    if fault.skip == 0:
                        return fault
                    fault.skip -= 1
            elif wrote and fault.commit != PASS:
                return fault
        return None
