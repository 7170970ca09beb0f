import { h } from "./dom.js";
import { percent } from "./numbers.js";

/** Probabilities as bars, with human labels where there are any. */
export function barsOf(bars, classes, label) {
  const best = bars.reduce((a, b) => (b.value > a.value ? b : a), bars[0]);
  const rows = bars.map((bar) => {
    const roles = [bar.class === label && "true", bar === best && "predicted"].filter(Boolean);
    const name = h(
      "span",
      { title: classes[bar.class], className: roles.length ? "wb-strong" : "" },
      classes[bar.class],
      roles.length ? h("em", { textContent: ` ${roles.join(", ")}` }) : null,
    );
    const votes =
      bar.votes === null
        ? null
        : h("u", { style: { left: `${100 * bar.votes}%` }, title: `human labels: ${percent(bar.votes)}` });
    return [
      name,
      h(
        "span",
        { className: "wb-track" },
        h("i", {
          className: bar === best && bar.class !== label ? "wb-wrongbar" : "",
          style: { width: `${100 * bar.value}%` },
        }),
        votes,
      ),
      h("span", { textContent: percent(bar.value) }),
    ];
  });
  const note = bars.some(({ votes }) => votes !== null)
    ? h("p", { className: "wb-note", textContent: "Bars: the model. Strokes: human labels." })
    : null;
  return h("div", { className: "wb-bars-box" }, h("div", { className: "wb-bars" }, rows.flat()), note);
}

/** An image on a canvas about `side` pixels long: small ones grow by whole pixels, large ones shrink. */
export function enlarged(image, side, label) {
  const room = side / Math.max(image.width, image.height);
  const factor = room < 1 ? room : Math.floor(room);
  const style = { width: `${Math.round(factor * image.width)}px`, imageRendering: room < 1 ? "auto" : "pixelated" };
  const canvas = h("canvas", {
    width: image.width,
    height: image.height,
    className: "wb-large",
    role: "img",
    "aria-label": label,
    style,
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
