"""The report of a board test: what came of each step, each figure with its unit, as Markdown to keep or to send in."""

import re
from dataclasses import dataclass, field
from datetime import date

OK, FAILED, NOT_POSSIBLE, LEFT_OUT = "ok", "FAILED", "not possible here", "left out"


@dataclass(frozen=True)
class Outcome:
    """What came of a step: `state` is one of the four above, `text` what was seen or why."""

    step: str
    state: str
    text: str

    def __str__(self) -> str:
        return f"{self.state}: {self.text}" if self.text else self.state


@dataclass
class Report:
    """All of a board test. `facts` say what board it is, `figures` are (value, unit) by name, both in their order."""

    otalink: str
    is_virtual: bool
    facts: dict[str, str] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    figures: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Every step that is possible is ok, and at least one is."""
        states = {outcome.state for outcome in self.outcomes}
        return OK in states and FAILED not in states

    @property
    def verdict(self) -> str:
        """What the report is good for, a sentence."""
        others = [outcome for outcome in self.outcomes if outcome.state != OK]
        if not self.passed:
            failed = [outcome.step for outcome in others if outcome.state == FAILED]
            return f"{len(failed)} of {len(self.outcomes)} steps failed: {', '.join(failed) or 'none was run'}."
        if others:
            return f"What was possible is ok; {len(others)} of {len(self.outcomes)} steps were not run: this is a part."
        if self.is_virtual:
            return "Every step is ok, on the virtual board: that says that the test works, and nothing of hardware."
        return (
            'Every step is ok. Send this file in, to have the label "verified on hardware" put into the board.toml of '
            "this board (boards/NAME/board.toml)."
        )

    def filename(self, today: date) -> str:
        """A name for the file that says which board it is, and when."""
        name = re.sub(r"[^A-Za-z0-9]+", "-", self.facts.get("board", "")).strip("-") or "board"
        return f"board-test-{name[:40]}-{today.isoformat()}.md"

    def markdown(self, today: date) -> str:
        """The whole report."""
        lines = [f"# Board test: {self.facts.get('board', 'an unknown board')}", "", self.verdict, ""]
        facts = {**self.facts, "otalink": self.otalink, "date": today.isoformat()}
        lines += _table(("board", ""), list(facts.items()))
        lines += _table(("step", "outcome", ""), [(each.step, each.state, each.text) for each in self.outcomes])
        figures = [(name, value, unit) for name, (value, unit) in self.figures.items()]
        lines += _table(("figure", "value", "unit"), figures)
        return "\n".join(lines).rstrip("\n") + "\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return [*("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines), ""]
