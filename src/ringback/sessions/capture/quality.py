"""What a listener thinks of a stream: the E-model, kept to what a capture can tell.

Source: ITU-T G.107 with the equipment impairment factors of G.113 Appendix I (2007 and amendments). For codecs outside
of it (opus, G.722 and other wideband ones on this narrowband scale) the factors are estimates.
"""

from __future__ import annotations

# codec in upper case -> (Ie: what the coding itself costs, Bpl: how well it bears random loss)
_FACTORS = {
    "PCMU": (0.0, 25.1), "PCMA": (0.0, 25.1), "G722": (0.0, 20.0), "G729": (11.0, 19.0), "G723": (15.0, 16.1),
    "G728": (7.0, 17.0), "GSM": (20.0, 10.0), "GSM-EFR": (5.0, 10.0), "ILBC": (11.0, 32.0), "AMR": (5.0, 10.0),
    "AMR-WB": (0.0, 13.0), "EVS": (0.0, 20.0), "OPUS": (0.0, 20.0), "SPEEX": (11.0, 15.0), "L16": (0.0, 10.0),
    "G726-32": (7.0, 15.0), "G726-40": (2.0, 15.0), "G726-24": (25.0, 15.0), "G726-16": (50.0, 15.0),
}  # fmt: skip
_R0 = 93.2  # everything but delay, coding and loss at its default
_NETWORK_DELAY_MS = 20.0  # one way: a capture at one point cannot measure it
_DELAY_FELT_MS = 177.3


def estimate_mos(codec: str, loss_percent: float, jitter_ms: float, ptime_ms: float = 20.0) -> float | None:
    """Mean opinion score 1.0-4.5 of a stream; None for a codec without known factors (video, for one).

    The delay is taken as a fixed network delay, one packet, and a jitter buffer of twice the jitter.
    """
    factors = _FACTORS.get(codec.upper())
    if factors is None:
        return None
    impairment, robustness = factors
    delay = _NETWORK_DELAY_MS + ptime_ms + 2 * jitter_ms
    of_delay = 0.024 * delay + 0.11 * max(delay - _DELAY_FELT_MS, 0.0)
    of_loss = impairment + (95 - impairment) * loss_percent / (loss_percent + robustness)
    return round(mos_of_r(_R0 - of_delay - of_loss), 2)


def mos_of_r(r: float) -> float:
    """G.107 annex B."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)
