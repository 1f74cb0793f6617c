"""Imports and bulk changes: each row has its outcome, first as a dry run, then for good."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from databases import SQLITE
from goods import ANN, NAMES, World, changed
from ringback.audit.models import AuditRecord
from ringback.billing.entities.errors import WHOLE, EntityErrors, OtherCount
from ringback.billing.entities.many import BULK, IMPORTED, Bulk, Import, Outcome, Report
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.queries import ListQuery, every, find
from ringback.billing.entities.tables import cells, header, read_csv, write_csv, write_xlsx
from ringback.billing.entities.values import as_text, plain
from ringback.records.engine import reading
from ringback.records.wall import EVERYWHERE

every_type = pytest.mark.parametrize("name", [name for name in NAMES if name != "environment"])


def file(folder: Path, lines: list[dict[str, object]]) -> Path:
    path = folder / "some.csv"
    with path.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, list(dict.fromkeys(name for line in lines for name in line)))
        writer.writeheader()
        writer.writerows({name: as_text(value) for name, value in line.items()} for line in lines)
    return path


def imported(
    world: World, name: str, path: Path, *, dry_run: bool = False, all_or_nothing: bool = True, sees: bool = True
) -> tuple[Report, list[Outcome]]:
    report = Report(dry_run)
    kind = TYPES[name]
    one = Import(world.engine, ANN, world.environment, kind, "", sees, read_csv(kind, path), path.name)
    return report, list(one.outcomes(report, all_or_nothing=all_or_nothing))


def count(world: World, model: Any) -> int:
    with reading(world.engine, (world.environment,)) as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def exported(world: World, name: str, **more: Any) -> str:
    kind = TYPES[name]
    with reading(world.engine, (world.environment,)) as session:
        found = every(session, kind, ListQuery(), sees_personal=True)
        return "".join(write_csv(kind, cells(session, kind, found, sees_personal=more.get("sees", True))))


@every_type
def test_a_file_is_tried_and_then_imported(world: World, name: str, tmp_path: Path) -> None:
    kind = TYPES[name]
    lines = [world.given(name) for _ in range(3)]
    there = count(world, kind.model)
    path = file(tmp_path, lines)
    report, outcomes = imported(world, name, path, dry_run=True)
    assert [(each.row, each.status, each.id) for each in outcomes] == [(n, "created", None) for n in (1, 2, 3)], (
        outcomes
    )
    assert not report.applied
    assert count(world, kind.model) == there
    report, outcomes = imported(world, name, path)
    assert (report.applied, report.counts) == (True, {"created": 3})
    ids = [each.id for each in outcomes]
    assert len(set(ids)) == 3
    with reading(world.engine, EVERYWHERE) as session:
        causes = select(AuditRecord.cause_id).where(
            AuditRecord.entity_type == name, AuditRecord.entity_id.in_(map(str, ids))
        )
        (cause,) = set(session.scalars(causes))
        assert session.get_one(AuditRecord, cause).action == IMPORTED
    again, outcomes = imported(world, name, path, dry_run=True)
    assert again.counts == {"unchanged": 3}, outcomes
    theirs = changed(name, world)
    if not {kind[key].name for key in theirs} & set(kind.about.key or (kind.about.title,)):
        _, outcomes = imported(world, name, file(tmp_path, [line | theirs for line in lines]))
        assert {each.status for each in outcomes} == {"changed"}
        assert set(outcomes[0].changes) == {kind[key].name for key in theirs}


@every_type
def test_what_is_exported_can_be_imported(world: World, name: str, tmp_path: Path) -> None:
    for _ in range(2):
        world.make(name)
    path = tmp_path / "out.csv"
    written = exported(world, name)
    path.write_text(written, encoding="utf-8", newline="")
    rows = list(csv.reader(io.StringIO(written, newline="")))
    assert rows[0] == header(TYPES[name])
    assert len(rows) == 3
    _, outcomes = imported(world, name, path, dry_run=True)
    assert [each.status for each in outcomes] == ["unchanged", "unchanged"], outcomes


def test_a_row_that_will_not_do_says_why(world: World, tmp_path: Path) -> None:
    world.one("account")
    good = world.given("account")
    lines = [good, good, world.given("account", i_product="No such"), world.given("account", credit_limit="much")]
    path = file(tmp_path, lines)
    report, outcomes = imported(world, "account", path)
    assert [each.status for each in outcomes] == ["created", "refused", "refused", "refused"]
    assert outcomes[1].errors == {"charging_id": "Row 1 of this file is the same already."}
    assert outcomes[2].errors == {"product_id": "There is no product No such."}
    assert "amount such as" in outcomes[3].errors["credit_limit"]
    assert not report.applied, "all or nothing"
    assert count(world, TYPES["account"].model) == 1
    report, outcomes = imported(world, "account", path, all_or_nothing=False)
    assert (report.applied, report.counts) == (True, {"created": 1, "refused": 3})
    assert count(world, TYPES["account"].model) == 2


def test_links_are_given_by_id_or_by_name(world: World, tmp_path: Path) -> None:
    customer, product = world.one("customer"), world.one("product")
    named = world.read("customer", customer).name
    lines: list[dict[str, object]] = [
        {"Account ID": "+1", "Customer": named, "product": f"#{product}"},
        {"Account ID": "2", "Customer": str(customer), "product": str(product)},
    ]
    _, outcomes = imported(world, "account", file(tmp_path, lines))
    assert {each.status for each in outcomes} == {"created"}
    for each in outcomes:
        row = world.read("account", each.id or 0)
        assert (row.customer_id, row.product_id) == (customer, product)


@pytest.mark.parametrize("dry_run", [True, False])
def test_rows_link_to_earlier_rows_of_the_same_file(world: World, tmp_path: Path, dry_run: bool) -> None:
    master = world.given("account", id="5550001")
    lines = [master, world.given("account", billing_model="alias", alias_of="5550001"),
             world.given("account", billing_model="alias", alias_of="5559999")]  # fmt: skip
    _, outcomes = imported(world, "account", file(tmp_path, lines), dry_run=dry_run, all_or_nothing=False)
    assert [each.status for each in outcomes] == ["created", "created", "refused"], outcomes
    if not dry_run:
        alias = world.read("account", outcomes[1].id or 0)
        assert alias.alias_of_id == outcomes[0].id


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "names its fields"),
        ("name;nonsense\r\n", "nonsense"),
        ("name,Name\r\n", "twice"),
        ("version,created_at\r\n", "names its fields"),
    ],
)
def test_a_first_line_that_will_not_do(world: World, tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "x.csv").write_text(text, newline="")
    with pytest.raises(EntityErrors, match=told):
        imported(world, "tariff", tmp_path / "x.csv")


def test_files_as_spreadsheets_write_them(world: World, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes('\ufeffname;currency;description\r\nHome;usd;"a;b\nc"\r\n;;\r\nFar\tHigh;EUR;x;y\r\n'.encode())
    _, outcomes = imported(world, "tariff", path, all_or_nothing=False)
    assert [(each.status, each.title) for each in outcomes[:1]] == [("created", "Home")]
    assert world.read("tariff", outcomes[0].id or 0).description == "a;b\nc"
    assert outcomes[1].errors == {WHOLE: "The row has 4 values, the first line 3 names."}
    path.write_bytes(b"name,currency\r\n\xff\xfe,USD\r\n")
    with pytest.raises(EntityErrors, match="UTF-8"):
        imported(world, "tariff", path)


def test_no_cell_is_a_formula(world: World, tmp_path: Path) -> None:
    texts = ["=1+1", "+1", "-1", "@A1", '=HYPERLINK("https://evil.example")']
    for text in texts:
        world.make("tariff", description=text)
    read = list(csv.reader(io.StringIO(exported(world, "tariff"))))
    column = read[0].index("description")
    assert sorted(row[column] for row in read[1:]) == sorted(f"'{text}" for text in texts)
    kind = TYPES["tariff"]
    path = tmp_path / "x.xlsx"
    with reading(world.engine, (world.environment,)) as session, path.open("wb") as out:
        rows = cells(session, kind, every(session, kind, ListQuery(), sees_personal=True), sees_personal=True)
        write_xlsx(kind, rows, out, tmp_path)
    sheet = zipfile.ZipFile(path).read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "=1+1" in sheet


def test_who_sees_no_personal_data_exports_masks(world: World, tmp_path: Path) -> None:
    id_ = world.make("customer", name="Jerry Price", phone="+1 210 335 5787")
    world.make("account", i_customer=id_, id="12103355787")
    for name in ("customer", "account"):
        text = exported(world, name, sees=False)
        for part in ("Jerry Price", "12103355787", "335 5787", "example.net" if name == "account" else "Likes tea"):
            assert part not in text
    path = tmp_path / "masked.csv"
    path.write_text(exported(world, "customer", sees=False), newline="")
    before = plain(world.read("customer", id_).version)
    imported(world, "customer", path, all_or_nothing=False, sees=False)
    assert world.read("customer", id_).version == before, "masks that come back change nothing"


@every_type
def test_many_are_changed_and_deleted_at_once(world: World, name: str) -> None:
    kind = TYPES[name]
    ids = [world.make(name) for _ in range(3)]
    theirs = changed(name, world)

    def bulk(query: ListQuery, count_: int, given: dict[str, object] | None, *, dry_run: bool = False) -> list[str]:
        report = Report(dry_run)
        work = Bulk(world.engine, ANN, world.environment, kind, "", True, query, count_, given)
        found = list(work.outcomes(report))
        assert all(not each.errors for each in found), found
        return [each.status for each in found]

    picked = ListQuery(ids=ids[:2])
    with pytest.raises(OtherCount):
        bulk(picked, 3, theirs)
    assert bulk(picked, 2, theirs, dry_run=True) == ["changed"] * 2
    assert world.read(name, ids[0]).version == 1
    assert bulk(picked, 2, theirs) == ["changed"] * 2
    assert bulk(picked, 2, theirs) == ["unchanged"] * 2
    assert [world.read(name, id_).version for id_ in ids] == [2, 2, 1]
    assert bulk(ListQuery(ids=ids), 3, None, dry_run=True) == ["deleted"] * 3
    assert bulk(ListQuery(ids=ids), 3, None) == ["deleted"] * 3
    with reading(world.engine, EVERYWHERE) as session:
        assert not session.scalars(select(kind.model).where(kind.model.id.in_(ids))).all()
        last = select(AuditRecord).where(AuditRecord.entity_type == name, AuditRecord.action == "deleted")
        for record in session.scalars(last):
            assert session.get_one(AuditRecord, record.cause_id).action == BULK


def test_bulk_refuses_what_is_one_entitys(world: World) -> None:
    id_ = world.make("account")
    for given in ({"id": "1"}, {"i_customer": 1}, {}):
        with pytest.raises(EntityErrors):
            next(iter(Bulk(world.engine, ANN, world.environment, TYPES["account"], "", True, ListQuery(ids=[id_]), 1, given)
                      .outcomes(Report(False))))  # fmt: skip


def test_bulk_does_what_can_be_done(world: World) -> None:
    used, free = world.one("account"), world.make("account")
    world.make("did_number", state="assigned", i_account=used)
    work = Bulk(world.engine, ANN, world.environment, TYPES["account"], "", True, ListQuery(), 2, None)
    report = Report(False)
    by_id = {each.id: each for each in work.outcomes(report)}
    assert (by_id[used].status, by_id[free].status) == ("refused", "deleted")
    assert "1 DID number" in by_id[used].errors[WHOLE]


@pytest.mark.parametrize("shared", [SQLITE], indirect=True)  # it only reads there
def test_more_rows_take_no_more_memory(world: World, tmp_path: Path) -> None:
    """Rows are read, tried and told one batch after the other: nothing keeps them."""
    import tracemalloc

    path = tmp_path / "many.csv"

    def lines() -> Iterator[str]:
        yield "name,currency\r\n"
        for number in range(4000):
            yield f"Tariff {number:07},USD\r\n"

    with path.open("w", newline="") as text:
        text.writelines(lines())
    kind = TYPES["tariff"]
    report = Report(True)
    found = Import(world.engine, ANN, world.environment, kind, "", True, read_csv(kind, path)).outcomes(report)
    tracemalloc.start()
    peaks = []
    for number, _ in enumerate(found, 1):
        if number % 1000 == 0:
            peaks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert report.counts == {"created": 4000}
    assert peaks[-1] - peaks[0] < 3000 * 600, "a name to know it again, and nothing else, stays of each row"


def test_find_is_by_id(world: World) -> None:
    id_ = world.make("tariff")
    with reading(world.engine, (world.environment,)) as session:
        assert find(session, TYPES["tariff"], id_).id == id_
