"""What a reasoner says of a clip: its trace, the same form whatever engine wrote it."""

from store.records import Json, Span, Value


class Finding(Value):
    """What fills one slot of the vocabulary, and why.

    term: None where it is unknown.
    evidence: column name to the value that the term rests on.
    confidence: in [0, 1], how sure the term is given the evidence; 0 where it is unknown.
    """

    slot: str
    term: str | None
    evidence: Json
    confidence: float


class Signal(Value):
    """One measurement against the usual: `level` in [-1, 1] through the fixed table of a control."""

    name: str
    level: float
    evidence: Json


class Trace(Value):
    """A clip's structured reasoning.

    findings: what is seen and heard, one per slot, in the vocabulary's order.
    changes: how it changes.
    signals: every control that could be read, the most unusual first.
    """

    engine: str
    findings: tuple[Finding, ...]
    changes: tuple[Span, ...]
    signals: tuple[Signal, ...]

    def finding(self, slot: str) -> Finding:
        """The finding that fills a slot."""
        return next(finding for finding in self.findings if finding.slot == slot)
