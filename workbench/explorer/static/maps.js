import { h } from "./dom.js";
import { gradient, overlay, scaleOf } from "./picture.js";
import { percent, short } from "./numbers.js";

const SIDE = 160;

/** Maps that share a scale: of one model, method and layer; with `own` each has one of its own. */
export function families(maps, own) {
  const found = new Map();
  maps.forEach((map, place) => {
    const key = own ? place : `${map.model}|${map.method}|${map.layer}`;
    if (!found.has(key)) found.set(key, []);
    found.get(key).push({ ...map, place });
  });
  return [...found.values()];
}

function noteOf(map) {
  if (map.remark) return map.remark;
  const grid = `${map.grid[0]}×${map.grid[1]} ${map.layer ? "grid" : "pixels"}`;
  return map.residual === null ? grid : `${grid}, off its sum by ${percent(map.residual)}`;
}

/** The colour bar of some maps: what the ends of the ramp stand for. */
function scaleBar(top, signed, ramps) {
  const ends = signed ? [`−${short(top)} against`, `${short(top)} for`] : ["0", short(top)];
  const bar = h("i", { style: { background: gradient(ramps[signed]) } });
  return h("div", { className: "wb-scale" }, bar, h("div", {}, ends.map((text) => h("span", { textContent: text }))));
}

/** Panels of maps over their image, those that share a scale together with its bar. */
export function mapPanels(maps, image, ramps, { own = false, prefix = "" } = {}) {
  const chips = new Map();
  const groups = families(maps, own).map((family) => {
    const there = family.filter(({ values }) => values);
    const signed = there.some((map) => map.signed);
    const top = scaleOf(there.map(({ values }) => values), signed);
    const panels = family.map((map) => {
      const head = h("b", { textContent: map.title, title: map.title });
      if (!map.values) return h("div", { className: "wb-panel" }, head, h("div", { className: "wb-refused wb-note", textContent: map.refused }));
      const canvas = h("canvas", { width: SIDE, height: SIDE, role: "img", "aria-label": `${prefix}${map.method} for ${map.title}: ${noteOf(map)}` });
      const pixels = overlay(image, map.values, map.grid, top, signed, ramps[signed], SIDE);
      canvas.getContext("2d").putImageData(new ImageData(pixels, SIDE, SIDE), 0, 0);
      const chip = h("div", { className: "wb-verdict" });
      chips.set(map.place, chip);
      return h("div", { className: "wb-panel" }, head, canvas, h("span", { className: "wb-note", textContent: noteOf(map) }), chip);
    });
    const first = family[0];
    const title = [first.model, first.kind ?? first.method, first.layer].filter(Boolean).join(" · ");
    return h("div", { className: "wb-family" }, h("h5", { textContent: title }), h("div", { className: "wb-panels" }, panels), there.length && top > 0 ? scaleBar(top, signed, ramps) : null);
  });
  return { groups, chips };
}

const MARKS = { supported: "✓", weak: "~", "not supported": "✗" };

/** Show the verdict on a map, with its reasons to unfold. */
export function showVerdict(chip, { verdict, reasons }) {
  chip.replaceChildren(
    h("details", { className: `wb-${verdict.replace(" ", "-")}` }, h("summary", { textContent: `${MARKS[verdict]} ${verdict}`, title: reasons }), h("p", { textContent: reasons })),
  );
}
