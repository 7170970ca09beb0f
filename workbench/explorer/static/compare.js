import { h, redraw } from "./dom.js";
import { hasStep, redrawn } from "./lines.js";
import { count, counted, percent } from "./numbers.js";
import { withStep } from "./selection.js";

/** @import { Context } from "./types.d.ts" */

const points = (share) => (100 * share).toFixed(2);

/**
 * What a second model fixes and breaks; choosing an outcome shows its images.
 * @param {Context} context
 */
export function compareView({ store, header }) {
  const node = h("div", { className: "wb-lines" });
  const found = header.comparison;
  const { outcomes } = header.words; // count in the comparison -> outcome of a row
  const notes = {
    fixed: "misclassified before, correct after",
    broken: "correct before, misclassified after",
    both_wrong: `${count(found.both_wrong_alike)} with the same predicted class`,
  };
  const largest = Math.max(1, found.fixed, found.broken, found.both_wrong);

  function summary() {
    const sign = found.difference > 0 ? "+" : "";
    const p = found.p_value < 0.001 ? "p < 0.001" : `p = ${found.p_value.toFixed(3)}`;
    return `Accuracy ${sign}${points(found.difference)} points (95 % interval ${points(found.low)} to ${points(found.high)}), exact McNemar test ${p}. ${percent(found.churn)} of the images get another class.`;
  }

  function lineOf([key, name]) {
    const step = { kind: "any", column: "outcome", values: [name] };
    const [rows, note] = [found[key], notes[key] ?? ""];
    const bar = key in notes ? h("i", { style: { width: `${(100 * Math.min(rows, largest)) / largest}%` } }) : [];
    const choose = () => store.set({ ...withStep(store.selection, step), wrong_only: false });
    return h(
      "button",
      {
        type: "button",
        className: "wb-line",
        "aria-pressed": String(hasStep(store, step)),
        "aria-label": `${name}: ${counted(rows, "image")}, ${note}`,
        onclick: choose,
      },
      h("span", { textContent: name }),
      h("span", { className: "wb-rate" }, bar),
      h("span", { textContent: count(rows) }),
      h("span", { className: "wb-note", textContent: note }),
    );
  }

  function draw() {
    const names = h(
      "p",
      {},
      h("b", { textContent: header.name }),
      " before, ",
      h("b", { textContent: found.name }),
      " after",
    );
    redraw(node, names, h("p", { className: "wb-note", textContent: summary() }), Object.entries(outcomes).map(lineOf));
  }
  return redrawn(node, draw);
}
