import { barsOf, enlarged } from "./bars.js";
import { button, h } from "./dom.js";
import { mapPanels } from "./maps.js";
import { fromRgb } from "./picture.js";

const SLIDERS = [
  ["rotate", "rotate (degrees)", -180, 180, 1],
  ["crop", "crop (share of the side)", 0, 0.7, 0.01],
  ["blur", "blur (pixels)", 0, 8, 0.1],
  ["brightness", "brightness", -0.8, 0.8, 0.02],
  ["contrast", "contrast", -0.8, 0.8, 0.02],
  ["noise", "noise", 0, 0.5, 0.01],
];

/** Sliders that change the image, and what the model makes of it; a rectangle drawn on the image is greyed out. */
export function whatIfView({ store, source, header }, detail, row) {
  const change = {};
  let busy = false;
  let again = false;
  const inputs = new Map();
  const result = h("div", { className: "wb-columns wb-result" });
  const code = h("code", { className: "wb-note" });
  const original = enlarged(detail.image, 160, "Draw a rectangle to grey it out");
  const frame = h("div", { className: "wb-cutout" }, original, h("i"));
  const label = store.table.value("label", store.table.position(row));

  async function ask() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      const { methods, layers } = store.selection;
      const found = await source.whatIf({ row, change, methods, layers });
      const image = fromRgb(found.rgb, ...found.shape);
      const { groups } = mapPanels(found.maps, image, header.ramps, { prefix: "changed image, " });
      result.replaceChildren(h("div", { className: "wb-panel" }, h("b", { textContent: "changed image" }), enlarged(image, 160, "changed image")), barsOf(found.bars, header.classes, label), h("div", { className: "wb-families" }, groups));
      result.dataset.code = found.code;
      code.textContent = found.code;
    } catch (error) {
      result.replaceChildren(h("p", { className: "wb-problem", role: "alert", textContent: error.message }));
    }
    busy = false;
    if (again) {
      again = false;
      ask();
    }
  }

  const rows = SLIDERS.map(([name, text, min, max, step]) => {
    const shown = h("output", { textContent: "0" });
    const input = h("input", { type: "range", min, max, step, value: 0, "aria-label": text });
    input.oninput = () => {
      change[name] = Number(input.value);
      shown.textContent = input.value;
      ask();
    };
    inputs.set(input, shown);
    return h("label", { className: "wb-slider" }, h("span", { textContent: text }), input, shown);
  });
  const reset = button("Reset", () => {
    for (const [input, shown] of inputs) {
      input.value = 0;
      shown.textContent = "0";
    }
    for (const name of Object.keys(change)) delete change[name];
    frame.lastChild.hidden = true;
    ask();
  });

  let from = null;
  const share = (event) => {
    const box = original.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((value) => Math.min(1, Math.max(0, value)));
  };
  const rectangle = (to) => {
    const [left, top] = [0, 1].map((k) => Math.min(from[k], to[k]));
    const [width, height] = [0, 1].map((k) => Math.abs(from[k] - to[k]));
    const mark = frame.lastChild;
    mark.hidden = width * height === 0;
    Object.assign(mark.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * width}%`, height: `${100 * height}%` });
    return [left, top, width, height];
  };
  frame.lastChild.hidden = true;
  frame.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    frame.setPointerCapture(event.pointerId);
    from = share(event);
  });
  frame.addEventListener("pointermove", (event) => from && rectangle(share(event)));
  frame.addEventListener("pointerup", (event) => {
    if (!from) return;
    change.cutout = rectangle(share(event));
    from = null;
    ask();
  });
  ask();
  return h("div", { className: "wb-whatif" }, h("div", { className: "wb-columns" }, h("div", { className: "wb-panel" }, h("b", { textContent: "draw to grey out" }), frame), h("div", { className: "wb-sliders" }, rows, h("div", { className: "wb-bar" }, reset, code))), result);
}
