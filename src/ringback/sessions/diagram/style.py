"""How diagrams look. `STYLE` is what pages load as static/css/diagram.css (a test keeps the two the same) and a file that
stands alone carries in itself, with `TOKENS` for the colours that a page would give."""

TOKENS = (
    ".flow{--bg:#f7f7f5;--card:#fff;--ink:#1b1e23;--soft:#5c6470;--line:#e2e4e0;--line-strong:#868d97;--accent:#1f5fbf;"
    "--accent-bg:#eaf1fb;--bad:#b3261e;--bad-bg:#fdf1ef;--warn:#8a5a00;--warn-bg:#fdf6e3;--ok:#1e7a46;--note:#5b4aa8;"
    '--note-bg:#f2f0fb;--sans:Inter,system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;'
    '--mono:"JetBrains Mono",ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}'
    "@media (prefers-color-scheme:dark){.flow{--bg:#14161a;--card:#1c1f25;--ink:#e7e9ec;--soft:#9aa3af;--line:#2e333b;"
    "--line-strong:#6b7480;--accent:#7fb0ff;--accent-bg:#1c2a40;--bad:#ff8a80;--bad-bg:#2c1b1b;--warn:#f0c35a;"
    "--warn-bg:#2b2517;--ok:#78d3a0;--note:#b7a8ff;--note-bg:#211e33}}"
)

STYLE = """\
/* The diagrams of a session. Written by `python -m ringback.sessions.diagram.style`. */
.flow { display: block; overflow: visible; }
.flow .ground { fill: var(--card); }
.flow text { font: 12px var(--mono); fill: var(--ink); }
.flow .lane { font: 600 12.5px var(--sans); }
.flow .sub, .flow .repeats { font-size: 11px; fill: var(--soft); }
.flow .skew { font-size: 11px; fill: var(--warn); }
.flow text.unreached { fill: var(--soft); font-weight: 400; }
.flow .time, .flow .number, .flow .hint { fill: var(--soft); }
.flow .life { stroke: var(--line-strong); stroke-opacity: .55; stroke-width: 1.3; }
.flow .life.unreached { stroke-dasharray: 3 5; }
.flow .band { fill: var(--accent-bg); }
.flow .band-name { font: 600 10.5px var(--sans); fill: var(--accent); }
.flow .row { fill: none; pointer-events: all; }
.flow .mark-bad { fill: var(--bad-bg); }
.flow .mark-warn { fill: var(--warn-bg); }
.flow .over { paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
.flow .line { stroke: var(--ink); stroke-width: 1.3; }
.flow .head { fill: var(--ink); }
.flow .cross { stroke: var(--bad); stroke-width: 2.2; fill: none; }
.flow .tick { stroke: var(--ink); stroke-width: 1.3; }
.flow .progress .line, .flow .progress .tick { stroke: var(--soft); }
.flow .progress .head { fill: var(--soft); }
.flow .refusal .line, .flow .failing .line { stroke: var(--bad); }
.flow .refusal .head, .flow .failing .head { fill: var(--bad); }
.flow .refusal .words { fill: var(--bad); }
.flow .challenge .line { stroke: var(--warn); }
.flow .challenge .head { fill: var(--warn); }
.flow .evidence .number { fill: var(--warn); font-weight: 700; }
.flow .asked .line { stroke: var(--note); stroke-dasharray: 5 2; }
.flow .asked .head, .flow .asked .words { fill: var(--note); }
.flow .refused .line { stroke: var(--bad); }
.flow .refused .head, .flow .refused .words { fill: var(--bad); }
.flow .failing .line { stroke-width: 2.2; }
.flow .failing .words, .flow .failing .number { fill: var(--bad); font-weight: 700; }
.flow .leg-1 .line { stroke-dasharray: 8 3; }
.flow .leg-2 .line { stroke-dasharray: 2 3; }
.flow .leg-3 .line { stroke-dasharray: 10 3 2 3; }
.flow .leg-name { font: 600 10.5px var(--sans); fill: var(--soft); }
.flow .leg-mark { fill: none; stroke: var(--line-strong); }
.flow .hold { fill: var(--line-strong); fill-opacity: .45; }
.flow .hold.long { fill: var(--warn); fill-opacity: .9; }
.flow .held { font-size: 11px; fill: var(--warn); paint-order: stroke; stroke: var(--card); stroke-width: 4px; }
.flow .pin { stroke: var(--line-strong); fill: none; }
.flow .billing .pin { stroke: var(--note); }
.flow .entry.billing .words { fill: var(--note); }
.flow .entry.log .words { fill: var(--warn); }
.flow .entry.quiet .words, .flow .entry.media .words { fill: var(--soft); }
.flow .entry.failing .words { fill: var(--bad); }
.flow a:hover .words { text-decoration: underline; }
.flow a:focus, .flow g:focus { outline: none; }
.flow a:focus-visible .row, .flow g:focus-visible .row { stroke: var(--accent); stroke-width: 2; }
.flow.basic { width: 100%; height: auto; min-width: 640px; max-width: 1100px; margin: 0 auto; }
.flow-scroll { overflow-x: auto; }
.flow-fold > summary { padding: 3px 12px 3px 140px; border-block: 1px dashed var(--line); }
.flow-fold > summary { color: var(--soft); font-size: 12px; cursor: pointer; }
.flow-fold > summary:hover { color: var(--ink); }
"""

if __name__ == "__main__":
    print(STYLE, end="")  # noqa: T201
