"""An invoice on paper: A4, with the customer's address as it was when it was issued."""

from __future__ import annotations

import unicodedata
from datetime import date
from decimal import Decimal
from typing import Any

import fontpkg_noto_sans
from fpdf import FPDF, FontFace
from fpdf.enums import Align, TableBordersLayout, TextMode, WrapMode, XPos, YPos

from ringback.billing.entities.pages_values import amount, day_text
from ringback.billing.ledger.models import Invoice
from ringback.billing.ledger.pages_queries import WholeInvoice
from ringback.billing.ledger.settlement import OVERDUE, SETTLEMENTS

_FONT = fontpkg_noto_sans.ROOT / "files" / "NotoSans[wdth,wght].ttf"
_MARGIN = 20.0  # mm
_SOFT, _INK, _LINE = (92, 100, 112), (27, 30, 35), (200, 203, 200)
_HEAD = FontFace(color=_SOFT, size_pt=8.5)
_ADDRESS = ("company", "name", "address")


def invoice_pdf(whole: WholeInvoice) -> bytes:
    """The document; of a draft and of what is void it says so."""
    return _Paper(whole).made()


class _Paper(FPDF):
    def __init__(self, whole: WholeInvoice) -> None:
        super().__init__(format="A4")
        self._whole, self._row = whole, whole.row
        self._replaced = False
        self.add_font("text", fname=_FONT)
        self.set_margins(_MARGIN, 18, _MARGIN)
        self.set_auto_page_break(True, 24)
        self.set_title(_title(whole.row))
        self.set_author(whole.provider)
        self.set_lang("en")
        if whole.row.issued_at is not None:
            self.set_creation_date(whole.row.issued_at)

    def made(self) -> bytes:
        self.add_page()
        self._head()
        self._lines()
        self._totals()
        return bytes(self.output())

    def footer(self) -> None:
        self.set_y(-16)
        self._ink(_SOFT, 8)
        said = f"{self._say(self._whole.provider)} · {_title(self._row)} · page {self.page_no()} of {{nb}}"
        self.cell(0, 4, said, align=Align.C, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        if self._replaced:
            self.cell(0, 4, "Signs that this document's font does not have stand as “?”.", align=Align.C)

    def _head(self) -> None:
        row, whole = self._row, self._whole
        self._ink(_INK, 15)
        self._bold(whole.provider, 8)
        self.ln(10)
        top = self.get_y()
        self._ink(_INK, 10.5)
        for text in _addressed(whole):
            self.multi_cell(95, 5.4, self._say(text), align=Align.L, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        below = self.get_y()
        self.set_xy(120, top)
        self._ink(_INK, 13)
        self._bold(_title(row), 7, 120)
        facts = [("Issued", row.issued_on), ("Due", row.due_on)]
        told = [(name, day_text(day)) for name, day in facts if day is not None]
        if row.period_from or row.period_to:
            told.append(("Period", _period(row.period_from, row.period_to)))
        told.append(("Customer no.", str(row.customer_id)))
        for name, text in told:
            self.set_x(120)
            self._ink(_SOFT, 9)
            self.cell(26, 5.2, name)
            self._ink(_INK, 9)
            self.cell(0, 5.2, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.set_y(max(below, self.get_y()) + 10)
        if row.state != "issued":
            self._ink((179, 38, 30), 11)
            words = "This is a draft: nothing is asked for yet." if row.state == "draft" else "This invoice is void."
            self._bold(words, 7)
            self.ln(3)

    def _lines(self) -> None:
        self._ink(_INK, 9.5)
        self.set_draw_color(*_LINE)
        with self.table(
            col_widths=(96, 34, 14, 26), text_align=(Align.L, Align.L, Align.R, Align.R), line_height=5.2, padding=(1, 1),
            borders_layout=TableBordersLayout.HORIZONTAL_LINES, headings_style=_HEAD, wrapmode=WrapMode.WORD,
        ) as table:  # fmt: skip
            heads = table.row()
            for head in ("What for", "Account", "Count", f"Amount, {self._row.currency}"):
                heads.cell(head)
            for each in self._whole.lines:
                cells = table.row()
                cells.cell(self._say(each.description))
                cells.cell(self._say(self._whole.accounts.get(each.account_id or 0, "")))
                cells.cell(str(each.quantity))
                cells.cell(self._money(each.amount))
        self.ln(4)

    def _totals(self) -> None:
        row, whole = self._row, self._whole
        lines: list[tuple[str, Decimal]] = [("Total", row.total)]
        lines += [(f"Adjustment: {each.description}", each.amount) for each in whole.adjustments]
        if row.allocated:
            lines.append(("Paid", -row.allocated))
        for name, value in lines if row.state == "issued" else lines[:1]:
            self._total(name, value)
        if row.state != "issued":
            return
        self._ink(_INK, 12)
        self._bold(f"To be paid: {self._money(whole.due)} {row.currency}", 8, align=Align.R)
        self._ink(_SOFT, 9)
        status = SETTLEMENTS[whole.told]
        if whole.due > 0 and row.due_on is not None:
            until = "It was due on" if whole.told == OVERDUE else "Please pay until"
            status = f"{status}. {until} {day_text(row.due_on)}; give the number of this invoice."
        self.cell(0, 5, status, align=Align.R, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _total(self, name: str, value: Decimal) -> None:
        self._ink(_INK, 10)
        if self.will_page_break(20):
            self.add_page()
        top = self.get_y()
        self.multi_cell(138, 5.6, self._say(name), align=Align.R, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        below = self.get_y()
        self.set_xy(_MARGIN + 138, top)
        self.cell(0, 5.6, self._money(value), align=Align.R)
        self.set_xy(_MARGIN, below)

    def _bold(self, text: str, height: float, x: float | None = None, align: Align = Align.L) -> None:
        if x is not None:
            self.set_x(x)
        with self.local_context(text_mode=TextMode.FILL_STROKE, line_width=0.12, draw_color=self.text_color):
            self.multi_cell(0, height, self._say(text), align=align, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _ink(self, colour: tuple[int, int, int], size: float) -> None:
        self.set_font("text", size=size)
        self.set_text_color(*colour)

    def _money(self, value: Decimal) -> str:
        return amount(value, self._row.currency).replace("\u202f", "\u00a0")

    def _say(self, text: str) -> str:
        """With what the font has: a letter without its mark, else “?”, which the foot then explains."""
        font: Any = self.fonts["text"]
        signs = font.cmap
        if all(ord(each) in signs for each in text):
            return text
        found = []
        for each in text:
            plain = unicodedata.normalize("NFKD", each)[:1]
            known = next((one for one in (each, plain) if ord(one) in signs), "?")
            self._replaced = self._replaced or known == "?"
            found.append(known)
        return "".join(found)


def _title(row: Invoice) -> str:
    return f"Invoice {row.number}" if row.number is not None else f"Invoice, draft {row.id}"


def _period(first: date | None, last: date | None) -> str:
    begins, ends = (day_text(each) if each else "" for each in (first, last))
    return f"{begins} – {ends}" if begins and ends else f"until {ends}" if ends else f"from {begins}"


def _addressed(whole: WholeInvoice) -> list[str]:
    """As it was when the invoice was issued; of a draft as it is now."""
    row, customer = whole.row, whole.customer
    names = (*_ADDRESS, "first_name", "last_name", "postal_code", "city", "country")
    known: dict[str, Any] = row.details if row.issued_at else {each: getattr(customer, each) for each in names}
    person = " ".join(filter(None, (known.get("first_name"), known.get("last_name"))))
    place = " ".join(filter(None, (known.get("postal_code"), known.get("city"))))
    lines = [known.get("name"), known.get("company"), person, *str(known.get("address") or "").splitlines(), place,
             known.get("country")]  # fmt: skip
    return list(dict.fromkeys(str(each) for each in lines if each))
