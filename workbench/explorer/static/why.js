import { button, h, redraw } from "./dom.js";
import { percent, wilson } from "./numbers.js";
import { selectRows, withStep } from "./selection.js";

/** @import { Context } from "./types.d.ts" */

const LEAST = 5; // rows of the selection that have a property
const SHOWN = 4;
const HAND_RESTS_MS = 300;
// normal quantiles with at most 5 % of any false difference over so many properties (Bonferroni, two-sided)
const LEVELS = [
  [18, 3],
  [107, 3.5],
  [Infinity, 4],
];

/** The columns that mark rows: findings, cohorts, and the user's own flags. */
const marks = (table) =>
  table.names("category", "flag").filter((name) => {
    const { categories } = table.columns[name];
    if (name === "correct" || table.columns[name].restates) return false;
    return categories.includes("yes") && categories.every((word) => ["yes", "no", "none"].includes(word));
  });

/** Whether a column marks some correct row: one of errors alone only says how many errors there are. */
function marksCorrect(table, name) {
  const { values, categories } = table.columns[name];
  const yes = categories.indexOf("yes");
  const { correct } = table.columns;
  return values.some((value, k) => value === yes && correct.values[k] === 1);
}

/**
 * Properties that are more or less frequent among some rows than among the others of `base`: those whose difference
 * has an interval without 0 (Newcombe 1998, method 10), corrected over all that were looked at.
 */
export function enriched(table, rows, base, names) {
  const z = LEVELS.find(([most]) => names.length <= most)[1];
  const others = base.length - rows.length;
  if (rows.length < LEAST || others < LEAST) return [];
  const found = names.map((name) => {
    const { values, categories } = table.columns[name];
    const yes = categories.indexOf("yes");
    const among = (positions) => {
      let sum = 0;
      for (const k of positions) if (values[k] === yes) sum += 1;
      return sum;
    };
    const here = among(rows);
    const rest = among(base) - here;
    const [p, q] = [here / rows.length, rest / others];
    const [[pLow, pHigh], [qLow, qHigh]] = [wilson(here, rows.length, z), wilson(rest, others, z)];
    const low = p - q - Math.hypot(p - pLow, qHigh - q);
    const high = p - q + Math.hypot(pHigh - p, q - qLow);
    return { name, here, share: p, rest: q, holds: low > 0 || high < 0 };
  });
  return found
    .filter(({ share, rest }) => share < 1 || rest > 0) // the selection itself, as a cohort
    .filter(({ holds, here, share, rest }) => holds && (here >= LEAST || share < rest))
    .sort((a, b) => Math.abs(b.share - b.rest) - Math.abs(a.share - a.rest));
}

/** What is special about the selected rows, against the other errors (or the other images). */
class WhyStrip {
  /** @param {Context} context */
  constructor({ store, header }) {
    this.store = store;
    this.sampled = store.table.length < header.rows; // all errors and some correct rows: shares of both together mean nothing
    this.node = h("div", { className: "wb-bar wb-whystrip", role: "status" });
    this.timer = 0;
    this.plan();
  }

  /** Draw once the hand rests. */
  plan() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.draw(), HAND_RESTS_MS);
  }

  draw() {
    const { store } = this;
    const { table, selection, rows } = store;
    const { correct } = table.columns;
    const used = new Set(selection.steps.map(({ column }) => column));
    const errors = rows.length > 0 && rows.every((k) => !correct.values[k]); // then the other errors are like them
    const names = marks(table).filter((name) => !used.has(name) && (errors || marksCorrect(table, name)));
    const base = () => selectRows({ ...selection, wrong_only: errors, steps: [], order: "index" }, store);
    const compared = selection.steps.length > 0 && names.length > 0 && (errors || !this.sampled);
    const found = compared ? enriched(table, rows, base(), names) : [];
    const rest = errors ? "other errors" : "other images";
    const words = found.length
      ? `Against the ${rest}:`
      : compared
        ? `No known property is shown to differ from the ${rest}.`
        : "What is special about a selection stands here.";
    redraw(
      this.node,
      h("span", { className: "wb-note", textContent: words }),
      found.slice(0, SHOWN).map((one) => this.chip(one, names.length, rest)),
    );
  }

  chip({ name, share, rest }, looked, others) {
    const { title } = this.store.table.columns[name];
    const words = `${title} ${percent(share)}, not ${percent(rest)}`;
    const add = () => this.store.set(withStep(this.store.selection, { kind: "any", column: name, values: ["yes"] }));
    return button(words, add, {
      className: "wb-chip wb-whychip",
      title: `${percent(share)} of these rows, ${percent(rest)} of the ${others}; holds after a correction over ${looked} properties. Click to see those rows.`,
    });
  }

  update(changed) {
    if (changed.has("rows") || changed.has("columns")) this.plan();
  }

  close() {
    clearTimeout(this.timer);
  }
}

export const whyStrip = (context) => new WhyStrip(context);
