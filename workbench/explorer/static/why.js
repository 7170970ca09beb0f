import { button, h, redraw } from "./dom.js";
import { percent, wilson } from "./numbers.js";
import { withStep } from "./selection.js";

/** @import { Context } from "./types.d.ts" */

const LEAST = 5; // rows of the selection that have a property
const SHOWN = 4;
const HAND_RESTS_MS = 150;
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
    const among = (positions) => positions.reduce((sum, k) => sum + (values[k] === yes ? 1 : 0), 0);
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
  constructor({ store }) {
    this.store = store;
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
    const used = new Set(selection.steps.map(({ column }) => column));
    const names = marks(table).filter((name) => !used.has(name));
    const { correct } = table.columns;
    const base = Array.from({ length: table.length }, (_, k) => k).filter(
      (k) => !selection.wrong_only || correct.values[k] === 0,
    );
    const found = selection.steps.length && names.length ? enriched(table, rows, base, names) : [];
    const rest = selection.wrong_only ? "other errors" : "other images";
    redraw(
      this.node,
      found.length ? h("span", { className: "wb-note", textContent: `Against the ${rest}:` }) : null,
      found.slice(0, SHOWN).map((one) => this.chip(one, names.length, rest)),
    );
    this.node.hidden = !found.length;
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
