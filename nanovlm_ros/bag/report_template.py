# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The HTML around every page that the evaluation writes: nothing is loaded from outside."""
from html import escape
from string import Template

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root {
  color-scheme: light dark;
  --paper: #ffffff; --soft: #f4f6f8; --ink: #1a1f24; --muted: #5b6672; --rule: #d9dee3;
  --good: #1a7f4b; --bad: #c8371e; --track: #e3e7eb; --other: #aab2ba;
  --c0: #2f6fb2; --c1: #e0a12c; --c2: #2a9d8f; --c3: #8d62b8; --c4: #cf6a43; --c5: #6f9436;
  --c6: #b5517f; --c7: #8a7860;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181c; --soft: #1d2227; --ink: #e8ebee; --muted: #9aa5b0; --rule: #343b43;
    --good: #4cc38a; --bad: #ff7a5f; --track: #2c333a; --other: #5f6973;
    --c0: #5b9be0; --c1: #e8b454; --c2: #4fbdaf; --c3: #af8ad6; --c4: #e58c68; --c5: #97bd5c;
    --c6: #d57da5; --c7: #b3a187;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Ubuntu, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 20px; margin: 44px 0 12px; padding-top: 14px; border-top: 1px solid var(--rule); }
h3 { font-size: 15px; margin: 24px 0 8px; }
.columns h3:first-child { margin-top: 6px; }
a { color: var(--c0); }
p { margin: 6px 0; max-width: 76ch; }
.muted, .note { color: var(--muted); }
.note { font-size: 13px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 24px 0; }
.tile { background: var(--soft); border-radius: 8px; padding: 12px 14px; }
.tile b { display: block; font-size: 24px; line-height: 1.3; font-weight: 600; }
.tile span { display: block; font-size: 13px; color: var(--muted); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
table.wide { width: 100%; }
th, td { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--rule);
  vertical-align: middle; }
th { font-weight: 600; color: var(--muted); font-size: 13px; white-space: nowrap; }
td.n, th.n { text-align: right; white-space: nowrap; }
.long { overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); }
.matrix td, .matrix th { padding: 5px 12px; text-align: right; border: 1px solid var(--rule); }
.matrix td { color: var(--ink);
  background: color-mix(in srgb, var(--tint, var(--c0)) calc(var(--share) * 55%), var(--paper)); }
.matrix td.off { --tint: var(--bad); }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr));
  gap: 8px 40px; align-items: start; }
.plot { overflow-x: auto; margin: 6px 0; }
.plot svg { display: block; width: 100%; min-width: 620px; height: auto; }
.gauge { width: 122px; height: 14px; display: block; }
svg .tick { font-size: 12px; fill: var(--muted); paint-order: stroke; stroke: var(--paper);
  stroke-width: 3px; }
svg .lane { font-size: 12.5px; fill: var(--ink); }
svg .grid { stroke: var(--rule); }
svg .axis { stroke: var(--muted); stroke-width: .8; }
svg .mark { stroke: var(--ink); stroke-dasharray: 3 3; }
svg .whisker { stroke: var(--ink); stroke-width: 1.3; }
svg .truth { fill: none; stroke: var(--ink); stroke-width: 1.5; opacity: .75; }
svg .track { fill: var(--track); } svg .other { fill: var(--other); }
svg .ink { fill: var(--ink); }
svg .good { fill: var(--good); } svg .bad { fill: var(--bad); }
svg .c0 { fill: var(--c0); } svg .c1 { fill: var(--c1); } svg .c2 { fill: var(--c2); }
svg .c3 { fill: var(--c3); } svg .c4 { fill: var(--c4); } svg .c5 { fill: var(--c5); }
svg .c6 { fill: var(--c6); } svg .c7 { fill: var(--c7); }
.legend { font-size: 13px; color: var(--muted); display: flex; flex-wrap: wrap; gap: 2px 16px; }
.legend svg { width: 11px; height: 11px; margin-right: 5px; }
.cards { display: grid; gap: 14px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 290px), 1fr));
  margin: 10px 0; }
.card { border: 1px solid var(--rule); border-radius: 8px; overflow: hidden; font-size: 13.5px;
  break-inside: avoid; background: var(--paper); }
.card .shots { display: flex; flex-wrap: wrap; gap: 2px; background: var(--track); }
.card .shots img { flex: 1 1 40%; min-width: 0; max-width: 100%; height: auto; display: block; }
.card dl { margin: 8px 12px 10px; display: grid; grid-template-columns: auto 1fr; gap: 2px 10px; }
.card dt { color: var(--muted); } .card dd { margin: 0; overflow-wrap: anywhere; }
.card .when { grid-column: 1 / -1; color: var(--muted); font-size: 12.5px; }
pre { background: var(--soft); border-radius: 8px; padding: 12px 14px; overflow-x: auto;
  font-size: 12.5px; line-height: 1.45; white-space: pre-wrap; overflow-wrap: anywhere; }
details summary { cursor: pointer; color: var(--muted); }
@media (max-width: 600px) { main { padding: 20px 14px 40px; } h1 { font-size: 22px; }
  .cards { grid-template-columns: repeat(auto-fill, minmax(160px, 1fr)); gap: 10px; } }
@media print {
  body, table, th, .note, .legend, .card, .card .when, .tile span { font-size: 10.5px; }
  main { max-width: none; padding: 0; }
  h2, h3, .legend { break-after: avoid; }
  .plot, .tile, tr { break-inside: avoid; }
  .plot svg { min-width: 0; } .scroll, .plot { overflow: visible; }
  .cards { grid-template-columns: repeat(3, 1fr); }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")


def page(title: str, body: str) -> str:
    """Return a page; `title` is text, `body` is HTML."""
    return _PAGE.substitute(title=escape(title), body=body)
