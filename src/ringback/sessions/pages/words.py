"""The words, signs and tones of a session on a page. A tone is one of the five meanings: bad warn ok note neutral."""

from __future__ import annotations

from dataclasses import dataclass

from ringback.sessions.schemas import IssueBrief
from ringback.sessions.story import Issue


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    tone: str
    sign: str
    meaning: str  # for the hover


OUTCOME_WORDS: dict[str, Word] = {
    "answered": Word("Answered", "ok", "✓", "The call was answered"),
    "failed": Word("Failed", "bad", "✕", "A final failure response ended it"),
    "busy": Word("Busy", "warn", "◗", "The callee was busy (486 or 600)"),
    "no_answer": Word("No answer", "warn", "○", "It rang, and nobody answered"),
    "cancelled": Word("Cancelled", "neutral", "–", "The caller gave up before an answer"),
    "redirected": Word("Redirected", "neutral", "↪", "A 3xx response named another target"),
    "registered": Word("Registered", "ok", "✓", "The registration was accepted"),
    "unregistered": Word("Unregistered", "neutral", "–", "The device took its registration back"),
    "rejected": Word("Rejected", "bad", "✕", "The registration was refused"),
    "in_progress": Word("In progress", "neutral", "…", "No end was seen yet"),
    "incomplete": Word("Incomplete", "warn", "?", "The capture does not hold its end"),
    "succeeded": Word("Succeeded", "ok", "✓", "A final success response ended it"),
}

# What the histogram stacks, from the base line up: the shape of the failures must be seen first.
TONES: tuple[tuple[str, str, str], ...] = (
    ("bad", "✕", "failed"),
    ("warn", "!", "not answered or incomplete"),
    ("neutral", "–", "ended by a party or going on"),
    ("ok", "✓", "fine"),
)

KIND_WORDS = {
    "call": "Call",
    "registration": "Registration",
    "message": "Message",
    "options": "Options",
    "subscription": "Subscription",
    "other": "Other",
}

ENTRY_WORDS = {"sip": "SIP", "billing": "BILL", "log": "LOG", "node": "LOG", "media": "MEDIA", "dns": "DNS"}

ROLE_WORDS = {"support": "Support", "noc": "NOC", "billing": "Billing", "customer": "Customer"}

SEVERITY_WORDS: dict[str, Word] = {
    "critical": Word("Critical", "bad", "✕", "The session failed and someone must act"),
    "warning": Word("Warning", "warn", "!", "It worked, but badly"),
    "notice": Word("Notice", "neutral", "i", "Expected, or chosen by a party"),
}
FINE = Word("Fine", "ok", "✓", "What was asked for was done")


def outcome_word(outcome: str) -> Word:
    return OUTCOME_WORDS.get(outcome) or Word(outcome.replace("_", " ").capitalize(), "neutral", "•", "")


def issue_word(issue: Issue | IssueBrief) -> Word:
    """How grave an issue is. The catalogue tells even "nothing unusual" as an issue; that one is good news."""
    return FINE if issue.id == "normal" else SEVERITY_WORDS[issue.severity]


def outcomes_of_tone(tone: str) -> tuple[str, ...]:
    return tuple(outcome for outcome, word in OUTCOME_WORDS.items() if word.tone == tone)


def confidence_words(confidence: float) -> str:
    """How sure we are, in words that a support agent may repeat."""
    if confidence >= 0.95:
        return "certain"
    if confidence >= 0.8:
        return "very likely"
    if confidence >= 0.6:
        return "likely"
    return "possible"
