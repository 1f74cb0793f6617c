"""Text can be read in both themes: WCAG 2.2 AA, 4.5 to 1 (3 to 1 for what is no text)."""

import re
from pathlib import Path

import pytest

from ringback.web import static_files

CSS = (static_files.FOLDER / "css/app.css").read_text()
COLOURS = {
    name: (light, dark)
    for name, light, dark in re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{3,6}), (#[0-9a-f]{3,6})\)", CSS)
}
GROUNDS = ("bg", "card", "sunk")
TEXT = [(text, ground) for ground in GROUNDS for text in ("ink", "soft", "accent", "bad", "warn", "ok", "note")]
TEXT += [(tone, f"{tone}-bg") for tone in ("bad", "warn", "ok", "note", "accent")]
TEXT += [(text, f"{tone}-bg") for tone in ("bad", "warn", "accent") for text in ("ink", "soft")]
TEXT += [("on-accent", "accent")]
SHAPES = [(f"{tone}-fill", "card") for tone in ("bad", "warn", "ok", "neutral")]
SHAPES += [("line-strong", "card"), ("accent", "bg")]


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXT)
def test_text_stands_out_from_its_ground(text: str, ground: str, theme: int) -> None:
    assert contrast(COLOURS[text][theme], COLOURS[ground][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("shape", "ground"), SHAPES)
def test_shapes_stand_out_from_their_ground(shape: str, ground: str, theme: int) -> None:
    assert contrast(COLOURS[shape][theme], COLOURS[ground][theme]) >= 3


def test_every_colour_of_a_style_sheet_is_a_token() -> None:
    for path in Path(static_files.FOLDER / "css").glob("*.css"):
        rules = re.sub(r":root.*?\n}", "", path.read_text(), flags=re.DOTALL)
        assert not re.findall(r"(?<!&)#[0-9a-fA-F]{3,8}\b(?![^{]*\{)", rules), path.name
