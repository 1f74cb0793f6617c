"""Whatever is done to a chain behind the product's back is found, and named."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from chains import hash_again, intruder, make_records, seqs
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DatabaseError

from audited import ANN, add_product, records
from databases import at_once
from ringback import clock
from ringback.audit import retention, verification, writer
from ringback.audit.anchors import add_anchors
from ringback.audit.keys import AuditKeys, AuditKeyUnavailable, key_id, known_keys, public_pem, signing_keys
from ringback.audit.retention import trim, trimmable
from ringback.audit.verification import Verified, Wrong, environments, verify
from ringback.changes.service import changing
from ringback.records.wall import EVERYWHERE

NO_KEYS = AuditKeys()
WHOLE = Verified("default", 1, 12, 12, 0, 0)


@pytest.fixture
def keys(tmp_path: Path) -> AuditKeys:
    return signing_keys(tmp_path / "keys" / "audit.pem")


@pytest.fixture
def chain(engine: Engine) -> Engine:
    """Twelve records, and three of another environment."""
    make_records(engine, 12)
    make_records(engine, 3, "other")
    return engine


def test_an_untouched_chain_is_whole(chain: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "PAGE", 5)
    told: list[tuple[str, int, int]] = []
    assert verify(chain, "default", NO_KEYS, progress=lambda *at: told.append(at)) == WHOLE
    assert told == [("default", 5, 12), ("default", 10, 12), ("default", 12, 12)]
    assert verify(chain, "other", NO_KEYS).checked == 3
    assert environments(chain) == ["default", "other"]
    assert verify(chain, "nobody", NO_KEYS).finding is not None


def put_in(connection: Connection) -> None:
    """A record between the 6th and the 7th, the later ones numbered anew."""
    for seq in range(12, 6, -1):
        connection.execute(
            text(f"UPDATE audit_records SET seq = {seq + 1} WHERE environment = 'default' AND seq = {seq}")
        )
    connection.execute(text("UPDATE audit_chains SET seq = 13 WHERE environment = 'default'"))
    names = writer.COLUMNS
    taken = ", ".join({"seq": "7", "id": "id + 1000", "actor": "'eve'"}.get(name, name) for name in names)
    connection.execute(
        text(f"INSERT INTO audit_records ({', '.join(names)}, hash) SELECT {taken}, hash FROM audit_records "
             "WHERE environment = 'default' AND seq = 6")
    )  # fmt: skip


def swap(connection: Connection) -> None:
    for here, there in ((7, 700), (8, 7), (700, 8)):
        connection.execute(
            text(f"UPDATE audit_records SET seq = {there} WHERE environment = 'default' AND seq = {here}")
        )


def run(*statements: str) -> Callable[[Connection], None]:
    def do(connection: Connection) -> None:
        for statement in statements:
            connection.execute(text(statement))

    return do


HERE = "WHERE environment = 'default'"


def hash_of(seq: int) -> str:
    return f"(SELECT hash FROM audit_records {HERE} AND seq = {seq})"


BROKEN: dict[str, tuple[Callable[[Connection], None], Wrong, int, str]] = {
    "a sentence": (
        run(f"UPDATE audit_records SET changes = '{{}}' {HERE} AND seq = 7"),
        Wrong.CHANGED,
        7,
        "not as it was written",
    ),
    "who did it": (
        run(f"UPDATE audit_records SET actor = 'eve' {HERE} AND seq = 1"),
        Wrong.CHANGED,
        1,
        "Record 1 is not as",
    ),
    "when": (run(f"UPDATE audit_records SET at = at + 1 {HERE} AND seq = 12"), Wrong.CHANGED, 12, "Record 12"),
    "a cause": (run(f"UPDATE audit_records SET cause_id = 1 {HERE} AND seq = 7"), Wrong.CHANGED, 7, "Record 7"),
    "a hash": (run(f"UPDATE audit_records SET hash = {hash_of(1)} {HERE} AND seq = 7"), Wrong.CHANGED, 7, ""),
    "one is gone": (
        run(f"DELETE FROM audit_records {HERE} AND seq = 7"),
        Wrong.MISSING,
        7,
        "Record 7 is missing; the next one is there",
    ),
    "some are gone": (
        run(f"DELETE FROM audit_records {HERE} AND seq BETWEEN 4 AND 8"),
        Wrong.MISSING,
        4,
        "Records 4 to 8 are missing",
    ),
    "the first": (run(f"DELETE FROM audit_records {HERE} AND seq = 1"), Wrong.MISSING, 1, "Record 1"),
    "the last": (run(f"DELETE FROM audit_records {HERE} AND seq = 12"), Wrong.MISSING, 12, "all behind it up to 12"),
    "all": (run(f"DELETE FROM audit_records {HERE}"), Wrong.MISSING, 1, ""),
    "put in": (put_in, Wrong.INSERTED, 7, "was put in: the one that was written there follows as 8"),
    "swapped": (swap, Wrong.REORDERED, 7, "in the place of another"),
    "end behind": (
        run(f"UPDATE audit_chains SET seq = 11, hash = {hash_of(11)} {HERE}"),
        Wrong.INSERTED,
        12,
        "there are records behind it, up to 12",
    ),
    "end elsewhere": (run(f"UPDATE audit_chains SET hash = {hash_of(11)} {HERE}"), Wrong.END, 12, "another hash"),
    "no end": (run(f"DELETE FROM audit_chains {HERE}"), Wrong.END, 12, "its row is gone"),
    "trimmed by hand": (
        run(
            f"UPDATE audit_chains SET trimmed_seq = 3, trimmed_hash = {hash_of(3)} {HERE}",
            f"DELETE FROM audit_records {HERE} AND seq <= 3",
        ),
        Wrong.TRIMMED,
        3,
        "past their days",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_was_done_to_a_chain_is_named(chain: Engine, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "PAGE", 5)
    do, wrong, seq, said = BROKEN[how]
    ids = {record.seq: record.id for record in records(chain)}
    with intruder(chain) as connection:
        do(connection)
    finding = verify(chain, "default", NO_KEYS).finding
    assert finding is not None
    assert (finding.wrong, finding.seq) == (wrong, seq)
    assert said in finding.text
    if wrong is Wrong.CHANGED:
        assert finding.id == ids[seq]
    assert verify(chain, "other", NO_KEYS).is_whole


def test_the_database_itself_keeps_records(chain: Engine) -> None:
    for statement in (
        f"UPDATE audit_records SET actor = 'eve' {HERE}", f"DELETE FROM audit_records {HERE} AND seq = 12",
        "DELETE FROM audit_records",
    ):  # fmt: skip
        with pytest.raises(DatabaseError, match="audit records are"), chain.begin() as connection:
            connection.execute(text(statement))
    assert verify(chain, "default", NO_KEYS).is_whole


def test_who_writes_a_chain_anew_does_not_have_the_key(chain: Engine, keys: AuditKeys) -> None:
    assert [(each.environment, each.seq) for each in add_anchors(chain, keys)] == [("default", 12), ("other", 3)]
    make_records(chain, 3, first=13)
    assert verify(chain, "default", keys) == Verified("default", 1, 15, 15, 1, 0)
    with intruder(chain) as connection:
        connection.execute(text(f"UPDATE audit_records SET actor = 'eve' {HERE} AND seq = 7"))
        hash_again(connection, "default", 7, 15)
    assert verify(chain, "default", NO_KEYS).is_whole  # the chain alone does not tell
    finding = verify(chain, "default", keys).finding
    assert finding is not None
    assert (finding.wrong, finding.seq) == (Wrong.REWRITTEN, 12)


def test_an_anchor_tells_that_the_end_was_cut_off(chain: Engine, keys: AuditKeys) -> None:
    add_anchors(chain, keys)
    with intruder(chain) as connection:
        connection.execute(text(f"DELETE FROM audit_records {HERE} AND seq > 10"))
        connection.execute(
            text(
                f"UPDATE audit_chains SET seq = 10, hash = (SELECT hash FROM audit_records {HERE} AND seq = 10) {HERE}"
            )
        )
    finding = verify(chain, "default", keys).finding
    assert finding is not None
    assert (finding.wrong, finding.seq) == (Wrong.MISSING, 11)
    assert "An anchor signed record 12; the chain ends at 10." in finding.text


def test_an_anchor_with_a_bad_signature_is_found_and_one_of_an_unknown_key_is_counted(
    chain: Engine, keys: AuditKeys, tmp_path: Path
) -> None:
    add_anchors(chain, keys)
    assert verify(chain, "default", signing_keys(tmp_path / "another.pem")) == Verified("default", 1, 12, 12, 0, 1)
    with chain.begin() as connection:
        connection.execute(text(f"UPDATE audit_anchors SET at = at + 1 {HERE}"))
    finding = verify(chain, "default", keys).finding
    assert finding is not None
    assert (finding.wrong, finding.seq) == (Wrong.ANCHOR, 12)


def test_from_the_last_anchor_only_what_came_after_is_read(chain: Engine, keys: AuditKeys) -> None:
    add_anchors(chain, keys)
    make_records(chain, 4, first=13)
    assert verify(chain, "default", keys, from_anchor=True) == Verified("default", 13, 16, 4, 1, 0)
    with intruder(chain) as connection:
        connection.execute(text(f"UPDATE audit_records SET actor = 'eve' {HERE} AND seq = 14"))
    finding = verify(chain, "default", keys, from_anchor=True).finding
    assert finding is not None
    assert (finding.wrong, finding.seq) == (Wrong.CHANGED, 14)


def test_an_anchor_is_made_where_the_chain_grew_and_is_logged(
    chain: Engine, keys: AuditKeys, capsys: pytest.CaptureFixture[str]
) -> None:
    (first, _) = add_anchors(chain, keys)
    assert first.hash.hex() in capsys.readouterr().out
    assert add_anchors(chain, keys) == []
    make_records(chain, 1, first=13)
    assert [each.seq for each in add_anchors(chain, keys)] == [13]


def test_the_key_is_made_once_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "audit.pem"
    made = at_once(*[lambda: signing_keys(path).id] * 8)
    assert len(set(made)) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_key_before_this_one_is_believed_as_its_public_key_is_in_the_file(
    chain: Engine, keys: AuditKeys, tmp_path: Path
) -> None:
    add_anchors(chain, keys)
    path = tmp_path / "new.pem"
    signing_keys(path)
    (old,) = keys.public.values()
    path.write_text(path.read_text() + public_pem(old))
    both = signing_keys(path)
    assert both.id != keys.id
    assert set(both.public) == {both.id, key_id(old)}
    assert verify(chain, "default", both).anchors == 1


def test_a_file_that_holds_no_key_says_so(tmp_path: Path) -> None:
    path = tmp_path / "audit.pem"
    path.write_text("nothing")
    with pytest.raises(AuditKeyUnavailable, match="holds no key in PEM form"):
        known_keys([path])
    assert known_keys([tmp_path / "not there"]).public == {}


def test_the_oldest_records_go_marked_and_told(chain: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    before = records(chain)[8].at  # of the 9th
    assert trimmable(chain, before) == 8
    assert trim(chain, before) == 8
    assert seqs(chain) == [9, 10, 11, 12, 13]
    told = records(chain)[-1]
    assert (told.action, told.entity_type, told.actor) == ("audit.trimmed", "audit_log", "retention")
    assert verify(chain, "default", NO_KEYS) == Verified("default", 9, 13, 5, 0, 0)
    assert trim(chain, before) == 0
    make_records(chain, 1, first=20)
    assert verify(chain, "default", NO_KEYS).is_whole


def test_the_newest_record_of_a_chain_stays_however_old(chain: Engine, keys: AuditKeys) -> None:
    add_anchors(chain, keys)
    tomorrow = clock.now() + timedelta(days=1)
    assert trim(chain, tomorrow) == 11 + 2
    assert seqs(chain) == [12, 13]
    assert seqs(chain, "other") == [3, 4]
    assert verify(chain, "default", keys) == Verified("default", 12, 13, 2, 1, 0)
    with changing(chain, ANN, EVERYWHERE) as work:
        add_product(work, "After", environment="default")
    assert records(chain)[-1].seq == 14


def test_a_trimming_that_was_broken_off_goes_on(chain: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    before = records(chain)[8].at
    with monkeypatch.context() as broken:
        broken.setattr(retention, "_remove_some", lambda *_: 0)
        assert trim(chain, before) == 0
    assert verify(chain, "default", NO_KEYS).is_whole
    assert trim(chain, before) == 8
    assert verify(chain, "default", NO_KEYS).first == 9


def test_a_chain_is_verified_while_its_oldest_go(chain: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "PAGE", 3)
    before = records(chain)[8].at
    trimmed: list[int] = []
    result = verify(
        chain, "default", NO_KEYS, progress=lambda *_: trimmed.append(trim(chain, before)) if not trimmed else None
    )
    assert trimmed == [8]
    assert result.is_whole
