import { h } from "./dom.js";
import { percent } from "./numbers.js";

/** Probabilities as bars, with people's votes where there are any. */
export function barsOf(bars, classes, label) {
  const best = bars.reduce((a, b) => (b.value > a.value ? b : a), bars[0]);
  const rows = bars.map((bar) => {
    const roles = [bar.class === label && "true", bar === best && "predicted"].filter(Boolean);
    const name = h("span", { title: classes[bar.class], className: roles.length ? "wb-strong" : "" }, classes[bar.class], roles.length ? h("em", { textContent: ` ${roles.join(", ")}` }) : null);
    const votes = bar.votes === null ? null : h("u", { style: { left: `${100 * bar.votes}%` }, title: `people: ${percent(bar.votes)}` });
    return [name, h("span", { className: "wb-track" }, h("i", { className: bar === best && bar.class !== label ? "wb-wrongbar" : "", style: { width: `${100 * bar.value}%` } }), votes), h("span", { textContent: percent(bar.value) })];
  });
  const note = bars.some(({ votes }) => votes !== null) ? h("p", { className: "wb-note", textContent: "Bars: the model. Strokes: people's votes." }) : null;
  return h("div", { className: "wb-bars-box" }, h("div", { className: "wb-bars" }, rows.flat()), note);
}

/** Enlarge an image by whole pixels on a canvas. */
export function enlarged(image, side, label) {
  const factor = Math.max(1, Math.floor(side / Math.max(image.width, image.height)));
  const canvas = h("canvas", { width: image.width, height: image.height, className: "wb-large", role: "img", "aria-label": label, style: { width: `${factor * image.width}px`, height: `${factor * image.height}px` } });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
