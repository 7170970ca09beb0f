import { h, redraw, svg } from "./dom.js";
import { hasStep, redrawn } from "./lines.js";
import { counted, percent } from "./numbers.js";
import { withStep } from "./selection.js";

/** @import { Context } from "./types.d.ts" */

const [SIZE, PAD] = [320, 40];
const x = (share) => PAD + share * (SIZE - PAD - 24);
const y = (share) => SIZE - PAD - share * (SIZE - PAD - 8);

function axes() {
  const parts = [svg("line", { x1: x(0), y1: y(0), x2: x(1), y2: y(1), class: "wb-diagonal" })];
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    parts.push(svg("text", { x: x(share), y: SIZE - PAD + 18, "text-anchor": "middle" }, `${100 * share} %`));
    parts.push(svg("text", { x: PAD - 6, y: y(share) + 4, "text-anchor": "end" }, `${100 * share}`));
  }
  parts.push(svg("text", { x: x(0.5), y: SIZE - 4, "text-anchor": "middle" }, "confidence"));
  parts.push(
    svg("text", { x: 10, y: y(0.5), "text-anchor": "middle", transform: `rotate(-90 10 ${y(0.5)})` }, "accuracy (%)"),
  );
  return parts;
}

/** One bin as a button: its accuracy with the interval, and a disc by its rows. */
function binOf(store, { edges, counts, confidence, accuracy, low, high }, k) {
  const last = k === counts.length - 1;
  const step = { kind: "range", column: "confidence", low: edges[k], high: last ? null : edges[k + 1] };
  const choose = () => store.set(withStep(store.selection, step));
  const said = `confidence ${percent(edges[k])} to ${percent(edges[k + 1])}: accuracy ${percent(accuracy[k])} (95 % interval ${percent(low[k])} to ${percent(high[k])}), ${counted(counts[k], "image")}`;
  const bin = svg("g", {
    class: "wb-bin",
    tabindex: 0,
    role: "button",
    "aria-label": said,
    "aria-pressed": hasStep(store, step),
  });
  bin.append(
    svg("title", {}, said),
    svg("rect", {
      x: x(edges[k]),
      y: y(1),
      width: x(edges[k + 1]) - x(edges[k]),
      height: y(0) - y(1),
      class: "wb-hit",
    }),
    svg("line", { x1: x(confidence[k]), x2: x(confidence[k]), y1: y(low[k]), y2: y(high[k]), class: "wb-whisker" }),
    svg("circle", { cx: x(confidence[k]), cy: y(accuracy[k]), r: 3 + 5 * Math.sqrt(counts[k] / Math.max(...counts)) }),
  );
  bin.addEventListener("click", choose);
  bin.addEventListener("keydown", (event) => ["Enter", " "].includes(event.key) && (event.preventDefault(), choose()));
  return bin;
}

/**
 * The reliability diagram; choosing a bin shows its images.
 * @param {Context} context
 */
export function calibrationView({ store, header }) {
  const { reliability } = header;
  const [error, low, high] = reliability.error.map(percent);
  const direction = reliability.direction[0].toUpperCase() + reliability.direction.slice(1);
  const note = `${direction}. Calibration error without noise ${error} (root mean square over ${reliability.counts.length} bins, 95 % interval ${low} to ${high}). Below the diagonal the model is overconfident, above it underconfident. Click a bin to see its images.`;
  const node = h("div", { className: "wb-calibration" });

  function draw() {
    const plot = svg("svg", {
      viewBox: `0 0 ${SIZE} ${SIZE}`,
      role: "group",
      "aria-label": "Accuracy against confidence",
    });
    plot.append(...axes());
    reliability.counts.forEach((rows, k) => rows && plot.append(binOf(store, reliability, k)));
    redraw(node, h("p", { className: "wb-note", textContent: note }), plot);
  }
  return redrawn(node, draw);
}
