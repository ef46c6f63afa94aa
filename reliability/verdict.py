"""What a campaign found."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Verdict:
    """Trials of one campaign, what came of them, and every one that should not have come."""

    campaign: str
    trials: int = 0
    faults: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)  # outcome to trials
    notes: list[str] = field(default_factory=list)  # figures worth telling

    def add(self, outcome: str, fault: str | None = None) -> None:
        """One trial; `fault` says what is wrong with its outcome, if anything is."""
        self.trials += 1
        self.counts[outcome] = self.counts.get(outcome, 0) + 1
        if fault is not None:
            self.faults.append(fault)

    def __str__(self) -> str:
        outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(self.counts.items()))
        lines = [f"{self.campaign}: {self.trials:,} trials ({outcomes}), {len(self.faults)} faults"]
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines + [f"  FAULT {fault}" for fault in self.faults[:20]])
