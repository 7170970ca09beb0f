import { button, h, redraw, toggle } from "./dom.js";
import { hasStep } from "./lines.js";
import { count, counted, percent } from "./numbers.js";
import { withStep } from "./selection.js";
import { paintThumbs, thumbOf } from "./thumbs.js";

/** @import { Context, View } from "./types.d.ts" */

const LOOKING = "Looking for what this model gets wrong, and why …";
const POINTS = /difference|less|beyond/; // measures that are differences of shares

/** An effect in words: a difference in points, another share in per cent. */
function effectWords({ effect, low, high, measure }) {
  const say = POINTS.test(measure)
    ? (value) => `${value < 0 ? "−" : "+"}${Math.abs(100 * value).toFixed(1)}`
    : (value) => (100 * value).toFixed(1);
  const unit = POINTS.test(measure) ? "points" : "%";
  return low === null ? `${say(effect)} ${unit}` : `${say(effect)} ${unit} (${say(low)} to ${say(high)})`;
}

const RESTATED = ["confusions", "calibration"]; // kinds whose rows follow from the answer: they explain no selection

/** Take in the columns of the findings and under which each error comes, for all views. */
export function takeFindings(store, { evidence, columns, cards }) {
  store.evidence = evidence;
  store.addColumns(columns);
  for (const { kind, column } of cards)
    if (RESTATED.includes(kind) && store.table.columns[column]) store.table.columns[column].restates = true;
}

/** What the model gets wrong, most costly first: a card a finding, the remainder, and what was not looked for. */
class FindingsView {
  /** @param {Context} context */
  constructor({ store, source }) {
    this.store = store;
    this.source = source;
    this.found = null;
    this.asked = false;
    this.node = h("div", { className: "wb-findings" });
  }

  async load() {
    this.asked = true;
    const status = h("p", { className: "wb-note", role: "status", textContent: LOOKING });
    const waiting = [0, 1, 2].map(() => h("div", { className: "wb-card wb-skeleton", "aria-hidden": "true" }));
    this.node.replaceChildren(status, ...waiting);
    try {
      this.found = await this.source.findings((words) => (status.textContent = words));
      takeFindings(this.store, this.found);
      this.draw();
    } catch (error) {
      this.asked = false;
      this.node.replaceChildren(
        h("p", { className: "wb-problem", role: "alert", textContent: error.message }),
        button("Try again", () => this.load()),
      );
    }
  }

  draw() {
    if (!this.found) return;
    const { cards, remainder, missing, errors, rows, sampled } = this.found;
    const judged = sampled ? ` Judged on a random sample of ${count(rows)} rows.` : "";
    const none = h("p", { className: "wb-note", textContent: `No finding holds on these ${count(rows)} rows.` });
    redraw(
      this.node,
      cards.length ? null : none,
      sampled ? h("p", { className: "wb-note", textContent: judged.trim() }) : null,
      cards.map((card) => this.card(card, cards)),
      errors ? this.remainderCard(remainder, errors) : null,
      missing.length ? this.missingCard(missing) : null,
    );
    this.pictures();
  }

  /** Whether the rows of a column are selected, and a button that selects them or all again. */
  chooser(column, text, wrongOnly) {
    const { store } = this;
    const step = { kind: "any", column, values: ["yes"] };
    const on = hasStep(store, step);
    const choose = () => {
      const others = store.selection.steps.filter((one) => !(one.kind === "any" && this.columns().has(one.column)));
      const steps = on ? others : withStep({ ...store.selection, steps: others }, step).steps;
      store.set({ steps, wrong_only: on ? store.selection.wrong_only : wrongOnly });
    };
    return { on, node: toggle(on ? `${text} ✓` : text, on, choose, { className: "wb-choose" }) };
  }

  columns() {
    return new Set([...this.found.cards, this.found.remainder].map(({ column }) => column));
  }

  card(one, cards) {
    // of a finding about rows that are correct, too, all are shown
    const { on, node } = this.chooser(one.column, `Show ${counted(one.rows, "image")}`, false);
    const cost = one.cost >= 0.5 ? `about ${count(Math.round(one.cost))} errors, ${percent(one.share)} of all` : "";
    return h(
      "article",
      { className: `wb-card${on ? " wb-on" : ""}`, dataset: { kind: one.kind } },
      h("h4", { textContent: one.subject[0].toUpperCase() + one.subject.slice(1) }),
      h("p", { textContent: one.sentence }),
      intervalOf(one, cards),
      h(
        "p",
        { className: "wb-note" },
        [cost, one.gap, `checked: ${one.checked}`, one.stable].filter(Boolean).join("; "),
      ),
      h("p", { className: "wb-note" }, `→ ${one.action}${one.forecast ? `: ${one.forecast}` : ""}`),
      h("div", { className: "wb-bar" }, this.strip(one.examples), node),
    );
  }

  remainderCard({ column, errors, unexplained, examples }, all) {
    const { on, node } = this.chooser(column, `Show ${counted(errors, "error")}`, true);
    const words =
      `${count(errors)} of ${counted(all, "error")} lie outside every finding that may explain them; counting each ` +
      `finding's excess alone, about ${count(Math.round(unexplained))} are unexplained.`;
    return h(
      "article",
      { className: `wb-card${on ? " wb-on" : ""}`, dataset: { kind: "remainder" } },
      h("h4", { textContent: "Explained by no finding" }),
      h("p", { textContent: words }),
      errors ? h("div", { className: "wb-bar" }, this.strip(examples), node) : null,
    );
  }

  missingCard(missing) {
    return h(
      "article",
      { className: "wb-card wb-missing-rules" },
      h("h4", { textContent: "Not looked for" }),
      h(
        "ul",
        {},
        missing.map((line) => h("li", { textContent: line })),
      ),
    );
  }

  /** Small pictures of some rows; one that is chosen is shown in detail. */
  strip(rows) {
    if (!this.source.can.images) return null;
    return h("span", { className: "wb-strip" }, rows.map((row) => thumbOf(this.store, row, () => this.store.look(row), { brief: true })));
  }

  async pictures() {
    try {
      await paintThumbs(this.source, this.node);
    } catch {
      return; // the gallery reports that pictures can't be shown
    }
  }

  /** Called when the view comes into sight. */
  shown() {
    if (!this.asked) this.load();
    else this.draw();
  }

  update(changed) {
    if (changed.has("steps") && this.node.isConnected) this.draw(); // out of sight it is drawn when it is shown
  }
}

/** The effect and its interval on an axis that the cards of one measure share. */
function intervalOf(one, cards) {
  if (one.effect === null || one.low === null) return null;
  const alike = cards.filter(({ measure, low }) => measure === one.measure && low !== null);
  const low = Math.min(0, ...alike.map((card) => card.low));
  const high = Math.max(0, ...alike.map((card) => card.high));
  const at = (value) => `${(100 * (value - low)) / (high - low || 1)}%`;
  const words = effectWords(one);
  return h(
    "div",
    { className: "wb-effect", role: "img", "aria-label": `${one.measure}: ${words}`, title: one.measure },
    h(
      "span",
      { className: "wb-axis" },
      h("u", { style: { left: at(0) } }),
      h("i", { style: { left: at(one.low), width: `calc(${at(one.high)} - ${at(one.low)})` } }),
      h("b", { style: { left: at(one.effect) } }),
    ),
    h("span", { textContent: words }),
  );
}

/** @type {(context: Context) => View} */
export const findingsView = (context) => new FindingsView(context);
