"""The guide: every issue has its page, pages say when they are stale, and the product serves the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import test_diagnosis_cases

from ringback.sessions.correlate import build_sessions
from ringback.sessions.diagnose import diagnose, load_catalogue
from ringback.sessions.diagnose.guide import check_guide, guide_html, write_guide
from scenario import play

DOCS = Path(__file__).parents[2] / "docs" / "troubleshooting"


def test_the_guide_in_the_repository_is_what_the_catalogue_says() -> None:
    assert check_guide(DOCS) == [], "run `ringback docs`"


def test_every_issue_has_a_page_and_stands_in_the_index(tmp_path: Path) -> None:
    write_guide(tmp_path)
    index = (tmp_path / "index.md").read_text("utf-8")
    for definition in load_catalogue():
        page = (tmp_path / f"{definition.id}.md").read_text("utf-8")
        assert f"({definition.id}.md)" in index
        assert page.startswith(f"# {definition.title}\n")
        assert "## How Ringback recognises it" in page
        assert "## What to do" in page


def test_links_between_pages_lead_somewhere(tmp_path: Path) -> None:
    import re

    write_guide(tmp_path)
    for path in tmp_path.glob("*.md"):
        for target in re.findall(r"\]\(([^):]+\.md)\)", path.read_text("utf-8")):
            assert (tmp_path / target).exists(), f"{path.name} -> {target}"


def test_stale_missing_and_surplus_pages_are_named_and_mended(tmp_path: Path) -> None:
    write_guide(tmp_path)
    (tmp_path / "callee-busy.md").write_text("old")
    (tmp_path / "normal.md").unlink()
    (tmp_path / "gone.md").write_text("of an issue that is no more")
    assert check_guide(tmp_path) == ["callee-busy.md", "gone.md", "normal.md"]
    assert sorted(path.name for path in write_guide(tmp_path)) == ["callee-busy.md", "gone.md", "normal.md"]
    assert check_guide(tmp_path) == []
    assert not (tmp_path / "gone.md").exists()


@pytest.mark.parametrize("issue", test_diagnosis_cases.CASES)
def test_the_example_of_a_page_is_what_a_capture_really_gives(issue: str) -> None:
    played = play(test_diagnosis_cases.CASES[issue].shows[0])
    session = build_sessions(played.sightings, logs=played.logs, media=played.media, nodes=played.nodes)[0]
    found = next(one for one in diagnose(session, load_catalogue()) if one.id == issue)
    html = guide_html(issue)
    example = html.partition("<blockquote>")[2].partition("</blockquote>")[0]
    plain = (
        example.replace("<p>", "")
        .replace("</p>", "")
        .replace("&quot;", '"')
        .replace("&lt;", "<")
        .replace("&gt;", ">")
    )
    assert plain.strip() == found.description


def test_the_product_serves_the_pages_with_its_own_links() -> None:
    html = guide_html("callee-busy")
    assert html.startswith("<h1>The called party is busy</h1>")
    assert 'href="/guide/callee-declined"' in html
    assert 'href="/guide"' in html
    assert 'href="/guide/callee-busy"' in guide_html("index")


def test_markup_in_an_operators_text_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        'id = "own-issue"\nseverity = "notice"\ntitle = "<script>x</script>"\ndescription = "<b>{called}</b>"\n'
        '[steps]\nnoc = ["<img src=x>"]\n[when]\ncode = 486\n'
    )
    catalogue = load_catalogue(tmp_path)
    html = guide_html("own-issue", catalogue)
    assert "<script>" not in html
    assert "<b>" not in html
    assert "<img" not in html
    assert "Your own" in guide_html("index", catalogue)


def test_an_issue_that_is_not_there() -> None:
    with pytest.raises(KeyError):
        guide_html("nothing-such")
