"""From the facts of a session to its issues: what ended it, what hurt the media, what is unusual, and what to do about each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ringback.sessions.diagnose.catalogue import TELLS, Catalogue, CatalogueError, Definition, load_catalogue
from ringback.sessions.diagnose.facts import Ending, Facts, facts_of
from ringback.sessions.diagnose.finding import Finding, Severity, in_order
from ringback.sessions.diagnose.predicates import ENDINGS, REMARKS
from ringback.sessions.diagnose.telling import shared_values
from ringback.sessions.diagnose.wording import sentences
from ringback.sessions.story import Issue, Session, Step

__all__ = ["Catalogue", "CatalogueError", "Definition", "diagnose", "facts_of", "load_catalogue"]

DOUBT_ABSENT = 0.6  # of a finding that rests on something not seen, where the capture has gaps
DOUBT = 0.9  # of any other finding there
_RANK = {"critical": 0, "warning": 1, "notice": 2}
GOOD_END = "normal"  # told only where nothing worse is


def diagnose(session: Session, catalogue: Catalogue) -> list[Issue]:
    """The issues of a session, the primary one first; empty where nothing ended and nothing stands out.

    Order: what ended it, what hurt the media, what is unusual; within these by severity, then by certainty. A good end is
    told only where nothing worse than a notice is known. Never raises for any session that correlation can build.
    """
    facts = facts_of(session, catalogue.reasons)
    known = [
        (definition, finding)
        for finding in _merged(_findings(facts, catalogue))
        if (definition := catalogue.get(finding.issue))  # None: the operator has disabled it
    ]
    found = [(definition, _issue(facts, definition, finding)) for definition, finding in known]
    if any(issue.severity != "notice" for _, issue in found):
        found = [(definition, issue) for definition, issue in found if issue.id != GOOD_END]
    found.sort(key=lambda one: (TELLS.index(one[0].tells), _RANK[one[1].severity], -one[1].confidence))
    return [issue for _, issue in found]


def _findings(facts: Facts, catalogue: Catalogue) -> Iterable[Finding]:
    for ending in facts.endings:
        if not ending.leg.completed_elsewhere:
            yield from _ending_findings(facts, ending, catalogue)
    for remark in REMARKS:
        finding = remark.find(facts)
        if finding:
            yield finding


def _ending_findings(facts: Facts, ending: Ending, catalogue: Catalogue) -> Iterable[Finding]:
    """What ended it: the operator's own issue, else the first of ours. Beside it, their issues that tell of something else."""
    told = False
    for definition in catalogue.own:
        finding = definition.when.find(definition.id, facts, ending) if definition.when else None
        if finding and (definition.tells != "end" or not told):
            told = told or definition.tells == "end"
            yield finding
    if told:
        return
    for recogniser in ENDINGS:
        if ending.alive and recogniser.issue != "normal":
            continue
        finding = recogniser.find(facts, ending)
        if finding:
            yield finding
            return


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """One finding an issue: the surest, with the evidence of all."""
    by_issue: dict[str, list[Finding]] = {}
    for finding in findings:
        by_issue.setdefault(finding.issue, []).append(finding)
    merged = []
    for same in by_issue.values():
        best = max(same, key=lambda one: one.confidence)
        shown = best.evidence if len(same) == 1 else in_order(one for each in same for one in each.evidence)
        merged.append(replace(best, evidence=shown))
    return merged


def _issue(facts: Facts, definition: Definition, finding: Finding) -> Issue:
    values = {**shared_values(facts), **finding.values}
    severity: Severity = definition.severity
    if finding.severity and not definition.severity_is_set:
        severity = finding.severity
    return Issue(
        id=definition.id,
        severity=severity,
        title=sentences(definition.title.format_map(values)),
        description=sentences(definition.description.format_map(values)),
        confidence=round(finding.confidence * _doubt(facts, finding), 2),
        evidence=finding.evidence,
        causes=tuple(text.format_map(values) for text in definition.causes),
        steps=tuple(Step(step.role, sentences(step.text.format_map(values))) for step in definition.steps),
        links=definition.links,
        mend=finding.mend,
    )


def _doubt(facts: Facts, finding: Finding) -> float:
    if finding.issue in ("capture-incomplete", "message-truncated") or not (facts.gaps or facts.truncated):
        return 1.0
    return DOUBT_ABSENT if finding.by_absence else DOUBT
