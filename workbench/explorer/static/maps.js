import { h } from "./dom.js";
import { STRENGTH, gradient, overlay, scaleOf } from "./picture.js";
import { percent, short } from "./numbers.js";

const [SIDE, MOST_SIDE] = [160, 512];

/** Maps that share a scale: of one model, method and layer; with `own` each has a separate one. */
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
  const grid = `${map.grid[0]}×${map.grid[1]} ${map.unit}`;
  return map.residual === null ? grid : `${grid}, completeness error ${percent(map.residual)}`;
}

/** The colour bar of some maps: what the ends of the ramp stand for, in words for signed ones. */
function scaleBar(top, signed, ramp, [low, high] = ["against", "for"]) {
  const ends = signed ? [`−${short(top)} ${low}`, `${short(top)} ${high}`] : ["0", short(top)];
  const bar = h("i", { style: { background: gradient(ramp) } });
  return h(
    "div",
    { className: "wb-scale" },
    bar,
    h(
      "div",
      {},
      ends.map((text) => h("span", { textContent: text })),
    ),
  );
}

/** The families of two models beside each other: for each method and layer the first model's, then the second's. */
const besideEachOther = (groups) => {
  const keyOf = ({ method, layer }) => `${method}|${layer}`;
  const keys = [...new Set(groups.map(({ family }) => keyOf(family[0])))];
  return keys.map((key) =>
    h("div", { className: "wb-beside wb-models" }, groups.filter(({ family }) => keyOf(family[0]) === key).map(({ node }) => node)),
  );
};

/** One map over its image, or over its own if it has one, with what is said of it; a chip waits for its verdict. */
function panelOf(map, image, { top, signed, ramp, prefix }, chips) {
  const head = h("b", { textContent: map.title, title: map.title });
  if (!map.values)
    return h(
      "div",
      { className: "wb-panel" },
      head,
      h("div", { className: "wb-refused wb-note", textContent: map.refused }),
    );
  const canvas = h("canvas", {
    width: SIDE,
    height: SIDE,
    role: "img",
    "aria-label": `${prefix}${map.method} for ${map.title}: ${noteOf(map)}`,
  });
  const pixels = overlay(map.image ?? image, map.values, map.grid, top, signed, ramp, SIDE);
  canvas.getContext("2d").putImageData(new ImageData(pixels, SIDE, SIDE), 0, 0);
  const chip = h("div", { className: "wb-verdict" });
  chips.set(map.place, chip);
  return h(
    "div",
    { className: "wb-panel" },
    head,
    canvas,
    h("span", { className: "wb-note", textContent: noteOf(map) }),
    chip,
  );
}

/** The largest value that the maps of a family are drawn with, and whether they are signed. */
function drawnWith(family) {
  const there = family.filter(({ values }) => values);
  const signed = there.some((map) => map.signed);
  const values = there.map((map) => map.values);
  return { top: scaleOf(values, signed), signed };
}

/** One of some maps over its image, large and without words but for its name, on the scale that it has among them. */
export function stagedMap(map, maps, image, { ramps }, { own = false, strength = STRENGTH, brief = false } = {}) {
  const family = families(maps, own).find((one) => one.some(({ place }) => maps[place] === map));
  const { top, signed } = drawnWith(family);
  const side = Math.max(SIDE, Math.min(MOST_SIDE, image?.width ?? 0)); // as sharp as the picture beside it
  const canvas = map.values ? h("canvas", { width: side, height: side, role: "img" }) : null;
  const kind = map.kind ?? map.method;
  const words = `${kind}, why ${map.title}`;
  if (canvas) {
    const pixels = overlay(image, map.values, map.grid, top, signed, ramps[String(signed)], side, strength);
    canvas.getContext("2d").putImageData(new ImageData(pixels, side, side), 0, 0);
    canvas.setAttribute("aria-label", words);
  }
  const refused = canvas ? null : h("div", { className: "wb-refused wb-note", textContent: map.refused });
  const shown = canvas && !brief ? h("div", { className: "wb-zoom" }, canvas) : canvas;
  return h("figure", {}, shown ?? refused, h("figcaption", { className: "wb-note", textContent: brief ? map.title : words, title: words }));
}

/** Panels of maps over their image, those that share a scale together with its bar. */
export function mapPanels(maps, image, { ramps }, { own = false, prefix = "" } = {}) {
  const chips = new Map();
  const groups = families(maps, own).map((family) => {
    const there = family.filter(({ values }) => values);
    const { top, signed } = drawnWith(family);
    const drawn = { top, signed, ramp: ramps[String(signed)], prefix };
    const [first] = family;
    const title = [first.model, first.kind ?? first.method, first.layer].filter(Boolean).join(" · ");
    const panels = family.map((map) => panelOf(map, image, drawn, chips));
    const bar = there.length && top > 0 ? scaleBar(top, signed, drawn.ramp, first.ends) : null;
    const node = h(
      "div",
      { className: "wb-family" },
      h("h5", { textContent: title }),
      h("div", { className: "wb-panels" }, panels),
      bar,
    );
    return { family, node };
  });
  const two = groups.some(({ family }) => family[0].model);
  return { groups: two ? besideEachOther(groups) : groups.map(({ node }) => node), chips };
}

// of the verdicts, the best first: mark and style
const MARKS = ["✓", "?", "✗"];
const KINDS = ["wb-supported", "wb-undecided", "wb-against"];

/** Show the verdict on a map, one of `verdicts`, with its reasons to unfold. */
export function showVerdict(chip, { verdict, reasons }, verdicts) {
  const place = verdicts.indexOf(verdict);
  const summary = h("summary", { textContent: `${MARKS[place]} ${verdict}`, title: reasons });
  const open = chip.querySelector("details")?.open ?? false; // a verdict may come a second time, with more behind it
  chip.replaceChildren(h("details", { className: KINDS[place], open }, summary, h("p", { textContent: reasons })));
}
