import { h, problemOf, redraw } from "./dom.js";
import { pointsOf } from "./cohorts.js";
import { countsOf } from "./confusion.js";
import { hasStep, line, redrawn } from "./lines.js";
import { count, counted, percent } from "./numbers.js";
import { withStep } from "./selection.js";

/** @import { Context } from "./types.d.ts" */

const MOST_CLASSES = 24; // of which the differences are drawn
const CLASSES_NOTE = "In points, with 95 % intervals; * holds after a correction over all classes (exact McNemar test, Benjamini-Hochberg).";
const COHORTS_NOTE = "Share of the rows for which both models predict the same class, with 95 % intervals, and the second model's change.";
const points = (share) => (100 * share).toFixed(2).replace("-", "−");

/**
 * What a second model fixes and breaks; choosing an outcome shows its images.
 * @param {Context} context
 */
export function compareView({ store, source, header }) {
  const node = h("div", { className: "wb-lines" });
  const byCohort = h("div", {});
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

  /** The difference of one class with its interval, on an axis that all share. */
  function classLine(one) {
    const reach = Math.max(0.01, ...found.classes.map(({ low, high }) => Math.max(Math.abs(low ?? 0), Math.abs(high ?? 0))));
    const at = (share) => `${50 + (50 * share) / reach}%`;
    const star = one.adjusted_p_value < 0.05 ? "\u00a0*" : "";
    const words = `${pointsOf(one.difference, one.low, one.high).replace(" points", "")}${star}`;
    return h(
      "div",
      { className: "wb-effect wb-classline", role: "img", "aria-label": `${one.class}: ${words}` },
      h("span", { textContent: one.class, title: one.class }),
      h(
        "span",
        { className: "wb-axis" },
        h("u", { style: { left: "50%" } }),
        h("i", { style: { left: at(one.low), width: `calc(${at(one.high)} - ${at(one.low)})` } }),
        h("b", { style: { left: at(one.difference) } }),
      ),
      h("span", { textContent: words }),
    );
  }

  /** Rows of each cell of the second model's matrix less those of the first's. */
  function differences() {
    const { classes, cells } = header;
    if (classes.length > MOST_CLASSES) return null;
    const [before, after] = [countsOf({ classes, cells }), countsOf({ classes, cells: found.cells })];
    const change = classes.map((_, t) => classes.map((__, p) => after[t][p] - before[t][p]));
    const most = Math.max(1, ...change.flatMap((row, t) => row.map((value, p) => (t === p ? 0 : Math.abs(value)))));
    const cell = (value, t, p) => {
      const worse = t === p ? value < 0 : value > 0;
      const share = Math.round(70 * Math.min(1, Math.abs(value) / most));
      const colour = value ? `color-mix(in srgb, var(${worse ? "--error" : "--better"}) ${share}%, transparent)` : "";
      return h("td", {
        textContent: value > 0 ? `+${value}` : String(value).replace("-", "−"),
        className: value ? "" : "wb-zero",
        style: { background: colour },
        title: `${classes[t]} predicted as ${classes[p]}: ${before[t][p]} before, ${after[t][p]} after`,
      });
    };
    const head = classes.map((name) => h("th", { scope: "col", title: name, textContent: name.slice(0, 4) }));
    const lines = change.map((row, t) =>
      h("tr", {}, h("th", { scope: "row", title: classes[t], textContent: classes[t] }), row.map((value, p) => cell(value, t, p))),
    );
    return h(
      "div",
      { className: "wb-scroll" },
      h("h5", { textContent: "Confusion matrix, second less first" }),
      h("p", { className: "wb-note", textContent: "Red: more errors, or fewer correct. Blue: fewer errors, or more correct." }),
      h("table", { className: "wb-differences" }, h("thead", {}, h("tr", {}, h("th", {}), head)), h("tbody", {}, lines)),
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
    redraw(
      node,
      names,
      h("p", { className: "wb-note", textContent: summary() }),
      Object.entries(outcomes).map(lineOf),
      h("h5", { textContent: "Accuracy of each class, second less first" }),
      h("p", { className: "wb-note", textContent: CLASSES_NOTE }),
      found.classes.filter(({ support }) => support).slice(0, MOST_CLASSES).map(classLine),
      byCohort,
      differences(),
    );
  }

  /** How often both models predict the same class in each cohort, and how much better the second one is. */
  async function drawCohorts() {
    const { cohorts } = await source.cohorts();
    const lineOfCohort = ({ cohort, agreement, change, column }) => {
      const step = { kind: "any", column, values: ["yes"] };
      const changed = change
        ? `second model: accuracy ${pointsOf(change.difference, change.low, change.high)}`
        : "all errors, or none: no change to tell";
      const shown = line({
        name: cohort,
        value: agreement.agreement,
        low: agreement.low,
        high: agreement.high,
        largest: 1,
        note: "predicted alike",
        on: hasStep(store, step),
        choose: () => store.set({ ...withStep(store.selection, step), wrong_only: false }),
      });
      return h("div", { className: "wb-cohort" }, shown, h("p", { className: "wb-note", textContent: changed }));
    };
    byCohort.replaceChildren(
      h("h5", { textContent: "Agreement by cohort" }),
      h("p", { className: "wb-note", textContent: cohorts.length ? COHORTS_NOTE : "No cohort yet: save a selection as one." }),
      ...cohorts.filter(({ agreement }) => agreement).map(lineOfCohort),
    );
  }
  const shown = () => source.cohorts && drawCohorts().catch((error) => byCohort.replaceChildren(problemOf(error)));
  return { ...redrawn(node, draw), shown };
}
