"""The drawing as a page: zoom, search, and a box's details. One file; it asks nothing of any network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from hugectr2onnx.drawing.diagram import DRAWING_MARK, Diagram
from hugectr2onnx.drawing.svg import svg_text
from hugectr2onnx.pages.shell import page

_STYLE = """
body { max-width: none; padding: 0; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; padding: .5rem 1rem; }
h1 { font-size: 1.1rem; margin: 0; }
button, input { font: inherit; }
main { display: flex; flex-wrap: wrap; }
#drawing { flex: 1 1 60%; min-width: 0; height: 88vh; overflow: auto; background: #fff; }
#details { flex: 1 1 16rem; padding: 0 1rem; overflow-wrap: anywhere; white-space: pre-line; }
.box { cursor: pointer; }
.box:focus { outline: 3px solid #0b57d0; }
.found rect, .found path { stroke: #b00020; stroke-width: 4; }
@media print { header, #details { display: none; } #drawing { height: auto; overflow: visible; } }
"""
SCRIPT = """
const drawing = document.getElementById("drawing"), svg = drawing.querySelector("svg");
const details = document.getElementById("details"), boxes = [...svg.querySelectorAll(".box")];
const width = svg.width.baseVal.value, height = svg.height.baseVal.value;
let scale = 1;
svg.setAttribute("role", "group");
function zoom(factor) {
  scale = Math.min(8, Math.max(0.05, scale * factor));
  svg.setAttribute("width", width * scale); svg.setAttribute("height", height * scale);
}
document.getElementById("larger").onclick = () => zoom(1.25);
document.getElementById("smaller").onclick = () => zoom(0.8);
document.getElementById("fit").onclick = () => { scale = 1; zoom(drawing.clientWidth / width); };
drawing.addEventListener("wheel", event => {
  if (event.ctrlKey) { event.preventDefault(); zoom(event.deltaY < 0 ? 1.1 : 0.9); }
}, { passive: false });
function show(box) { details.textContent = box.querySelector("title").textContent; }
for (const box of boxes) {
  box.setAttribute("tabindex", 0); box.setAttribute("role", "button");
  box.onclick = box.onmouseenter = box.onfocus = () => show(box);
}
document.getElementById("search").oninput = event => {
  const wanted = event.target.value.toLowerCase();
  const found = boxes.filter(box => {
    const hit = wanted !== "" && box.querySelector("title").textContent.toLowerCase().includes(wanted);
    box.classList.toggle("found", hit);
    return hit;
  });
  document.getElementById("count").textContent = wanted ? `${found.length} found` : "";
  if (found.length) { found[0].scrollIntoView({ block: "center", inline: "center" }); show(found[0]); }
};
"""


def html_text(diagrams: Sequence[Diagram], notes: Sequence[str] = ()) -> str:
    """Return a page with the drawing of one diagram, or of several side by side."""
    title = diagrams[0].title
    body = f"""<header><h1>{escape(title)}</h1>
<span><button id="smaller" type="button" aria-label="smaller">-</button>
<button id="larger" type="button" aria-label="larger">+</button>
<button id="fit" type="button">fit width</button></span>
<label>Search <input id="search" type="search"></label><span id="count" role="status"></span></header>
<main><div id="drawing" tabindex="0" role="region" aria-label="drawing">
{svg_text(diagrams, notes)}</div>
<section id="details" aria-label="details" aria-live="polite">Choose a box to see what it holds.</section></main>"""
    return page(title, body, mark=DRAWING_MARK, style=_STYLE, script=SCRIPT)
