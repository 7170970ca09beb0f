import { h, redraw } from "./dom.js";
import { hasStep, line, redrawn } from "./lines.js";
import { count } from "./numbers.js";
import { withCells } from "./selection.js";

/** @import { Context } from "./types.d.ts" */

/**
 * The error rate of each class; choosing one shows its rows.
 * @param {Context} context
 */
export function classesView({ store, header }) {
  const node = h("div", { className: "wb-lines" });
  const report = header.class_report;
  const largest = Math.max(0.01, ...report.map(({ rate, high }) => (rate === null ? 0 : high)));
  const order = header.classes.map((_, k) => k).sort((a, b) => (report[b].rate ?? -1) - (report[a].rate ?? -1));
  const note = "Error rate of each true class with its 95 % interval. Click one to see its errors.";

  function lineOf(k) {
    const { support, errors, rate, low, high } = report[k];
    const step = { kind: "cells", cells: [[k, -1]] };
    const choose = (event) =>
      store.set(withCells(store.selection, step.cells, event.ctrlKey || event.metaKey || event.shiftKey));
    const words = `${count(errors)} of ${count(support)}`;
    return line({
      name: header.classes[k],
      value: rate,
      low,
      high,
      largest,
      note: words,
      on: hasStep(store, step),
      choose,
    });
  }
  return redrawn(node, () => redraw(node, h("p", { className: "wb-note", textContent: note }), order.map(lineOf)));
}
