import { h } from "./dom.js";
import { counted, percent } from "./numbers.js";

const TOP_CLASSES = 3; // classes that are shown at once

/** Probabilities as bars, the highest and the label first, the others to unfold; with human labels where there are any. */
export function barsOf(bars, classes, label) {
  const best = bars.reduce((a, b) => (b.value > a.value ? b : a), bars[0]);
  const line = (bar) => {
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
  };
  const ranked = [...bars].sort((a, b) => b.value - a.value);
  const first = ranked.filter((bar, place) => place < TOP_CLASSES || bar.class === label);
  const others = ranked.filter((bar) => !first.includes(bar));
  const grid = (some) => h("div", { className: "wb-bars" }, some.flatMap(line));
  const more = others.length
    ? h("details", {}, h("summary", { textContent: counted(others.length, "other class", "other classes") }), grid(others))
    : null;
  const note = bars.some(({ votes }) => votes !== null)
    ? h("p", { className: "wb-note", textContent: "Bars: the model. Strokes: human labels." })
    : null;
  return h("div", { className: "wb-bars-box" }, grid(first), more, note);
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
