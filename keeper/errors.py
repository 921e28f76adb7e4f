"""Faults, named by whose fault they are.

```
KeeperError
├── ConfigError      the owner's files or options: nothing was done                  exit 2
├── ChainError       a node, or the chain behind it, did not do its part             exit 1
│   ├── NodeUnreachable   no answer in time, or no connection
│   ├── RateLimited       the node asked us to slow down
│   ├── WrongChain        the node answers for another chain than the one configured  exit 2
│   ├── BadAnswer         what came back is no answer to the question: not JSON, cut short, another id
│   │   └── UnreadableResult  it is an answer, and its result is not what was asked for: cut, shifted, of another block
│   ├── EndpointsDisagree  fewer endpoints say the same than have to
│   ├── NodeRefused       the node answered with an error; carries its code and data
│   │   └── BlockGone     the block that was asked for is not in the node's chain (any more, or yet)
│   └── CallReverted      a call that had to succeed reverted; carries the revert data
├── ProtocolError    a contract answered something that its interface does not allow exit 1
├── SigningRefused   something was to be signed that the hot key never signs         exit 1
└── JournalError     the journal cannot be opened, written or trusted                exit 1
    └── JournalFull       its disk has no space left for what was to be written
```

What can happen in a healthy world (a rescue refused, a transaction reverted) is a value, not one of these. Every
message is one sentence: what happened, to which account, what to do next; it never holds a secret.
"""


class KeeperError(Exception):
    """A foreseeable fault; `str()` of it is all that a person gets to see."""

    exit_code = 1


class ConfigError(KeeperError):
    """The owner's configuration or options cannot be used."""

    exit_code = 2


class ChainError(KeeperError):
    """A node, or the chain behind it, did not do its part."""


class NodeUnreachable(ChainError):
    """No connection, or no answer before the deadline; `was_asked` unless the request certainly never arrived."""

    def __init__(self, message: str, *, was_asked: bool = True) -> None:
        super().__init__(message)
        self.was_asked = was_asked


class RateLimited(ChainError):
    """The node refused for the rate of requests; `retry_after_seconds` when it said how long."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class WrongChain(ChainError):
    """The node answers for another chain than the one configured."""

    exit_code = 2


class BadAnswer(ChainError):
    """What came back is no answer to the question: not JSON, cut short, too large, or with another id."""


class UnreadableResult(BadAnswer):
    """An answer to the question whose result cannot be what was asked for: cut, shifted, or of another block."""


class EndpointsDisagree(ChainError):
    """Fewer endpoints say the same than have to, and what they say differs."""


class NodeRefused(ChainError):
    """The node answered with a JSON-RPC error; `code`, `reason` and `data` are its own, cleaned of secrets."""

    def __init__(self, message: str, code: int = 0, reason: str = "", data: bytes = b"") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.data = data


class BlockGone(NodeRefused):
    """The block that was asked for is not in the node's chain (any more, or yet)."""


class CallReverted(ChainError):
    """A call that had to succeed reverted; `data` is the raw revert data."""

    def __init__(self, message: str, data: bytes = b"") -> None:
        super().__init__(message)
        self.data = data


class ProtocolError(KeeperError):
    """A contract answered something that its interface does not allow."""


class SigningRefused(KeeperError):
    """Something was to be signed that the hot key never signs; nothing was."""


class JournalError(KeeperError):
    """The journal cannot be opened, written or trusted."""


class JournalFull(JournalError):
    """The journal's disk has no space left for what was to be written."""
