// Drawings of the emoji that status messages use, because many machines have no font for them.

const NS = "http://www.w3.org/2000/svg";
const disc = (fill, ring = "none") => [["circle", { cx: 10, cy: 10, r: 8, fill, stroke: ring, "stroke-width": 1.2 }]];
const stroke = (d, colour, width = 2) => ["path", {
  d, stroke: colour, "stroke-width": width, fill: "none", "stroke-linecap": "round", "stroke-linejoin": "round",
}];
const box = (fill) => ["rect", { x: 2, y: 2, width: 16, height: 16, rx: 3.5, fill }];

const DRAWINGS = {
  "🔵": disc("#2f7fd8"),
  "🟢": disc("#2ea44f"),
  "🔴": disc("#d93025"),
  "🟡": disc("#f2b705"),
  "🟠": disc("#f07c1d"),
  "🟣": disc("#8e56c9"),
  "⚪": disc("#f1f4f3", "#9aa8a5"),
  "⚫": disc("#30403e"),
  "✅": [box("#2ea44f"), stroke("M6 10.5l3 3 5.5-6.5", "#fff")],
  "❌": [stroke("M5 5l10 10M15 5L5 15", "#d93025", 3)],
  "⚠": [
    ["path", { d: "M10 2.5L18.5 17h-17z", fill: "#f2b705", stroke: "#b98a00", "stroke-linejoin": "round" }],
    stroke("M10 8v4M10 14.6v.1", "#3d2f00"),
  ],
  "⛔": [...disc("#d93025"), stroke("M6 10h8", "#fff", 2.6)],
  "🚫": [["circle", { cx: 10, cy: 10, r: 7, fill: "none", stroke: "#d93025", "stroke-width": 2.4 }], stroke("M5.5 5.5l9 9", "#d93025", 2.4)],
  "⏳": [stroke("M5 2.5h10M5 17.5h10M6.5 2.5c0 4 7 5 7 7.5s-7 3.5-7 7.5M13.5 2.5c0 4-7 5-7 7.5s7 3.5 7 7.5", "#8a6d3b", 1.6)],
  "⌛": [stroke("M5 2.5h10M5 17.5h10M6.5 2.5c0 4 7 5 7 7.5s-7 3.5-7 7.5M13.5 2.5c0 4-7 5-7 7.5s7 3.5 7 7.5", "#8a6d3b", 1.6)],
  "🔒": [["rect", { x: 4, y: 9, width: 12, height: 8.5, rx: 2, fill: "currentColor" }], stroke("M6.5 9V6.5a3.5 3.5 0 0 1 7 0V9", "currentColor", 1.8)],
  "🔓": [["rect", { x: 4, y: 9, width: 12, height: 8.5, rx: 2, fill: "currentColor" }], stroke("M6.5 9V6a3.5 3.5 0 0 1 6.8-1.2", "currentColor", 1.8)],
  "👁": [stroke("M1.5 10S4.5 4.5 10 4.5 18.5 10 18.5 10 15.5 15.5 10 15.5 1.5 10 1.5 10z", "currentColor", 1.5), ["circle", { cx: 10, cy: 10, r: 2.6, fill: "currentColor" }]],
  "💬": [stroke("M3 4.5h14v9H9l-3.5 3v-3H3z", "currentColor", 1.6)],
  "📄": [stroke("M5 2.5h7l3.5 3.5v11.5H5zM8 9h5M8 12h5M8 15h3", "currentColor", 1.4)],
  "🚀": [stroke("M11 3c3.5-.5 6 0 6 0s.5 2.5 0 6c-1 3.5-6 6.5-6 6.5L5.5 10S8 4 11 3zM5.5 10L2.5 10.5 5 7.5 8 7M11 15.5l-.5 3 3-2.5.5-3M3 17l2.5-2.5", "#c2410c", 1.5), ["circle", { cx: 12.5, cy: 7.5, r: 1.6, fill: "#2f7fd8" }]],
  "🎉": [stroke("M3 17l4-10 6 6zM10 6c0-2 1-3 2.5-3M13 9c2-.5 3.5 0 4.5 1M13.5 6.5l1.5-1.5", "#b45309", 1.6)],
  "🔄": [stroke("M4 9a6.5 6.5 0 0 1 11-3l1.5 1.5M16.5 3.5v4h-4M16 11a6.5 6.5 0 0 1-11 3l-1.5-1.5M3.5 16.5v-4h4", "#2f7fd8", 1.8)],
  "↩": [stroke("M7.5 4L3.5 8l4 4M3.5 8H12a4 4 0 0 1 0 8H8", "#2f7fd8", 2)],
};

export const DRAWN = new RegExp(`(${Object.keys(DRAWINGS).join("|")})\\uFE0F?`, "u");

/** The drawing of an emoji, with the emoji as text for screen readers and for copying. */
export function icon(character, label = character) {
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("class", "emoji");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  for (const [tag, attributes] of DRAWINGS[character]) {
    const shape = document.createElementNS(NS, tag);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
    svg.append(shape);
  }
  return svg;
}
