import { button, h, problemOf, redraw } from "./dom.js";
import { hasStep, line } from "./lines.js";
import { count, counted } from "./numbers.js";
import { withStep } from "./selection.js";

/** @import { Context, View } from "./types.d.ts" */

const NOTE =
  "A cohort is a named selection, kept beside the run. Rates are of all its rows, with 95 % intervals; the difference " +
  "is to all other rows. Rows that were chosen because they are misclassified say nothing about a rate.";
const LONGEST_NAME = 80; // characters of a name

/** A difference of two shares in words: "+3.1 points (+1.2 to +5.0)". */
export function pointsOf(value, low, high) {
  if (value === null || value === undefined) return "–";
  const said = (share) => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(1)}`;
  return `${said(value)} points (${said(low)} to ${said(high)})`;
}

/** Named selections: save the rows in sight, choose, compare and remove them. */
class CohortsView {
  /** @param {Context} context */
  constructor({ store, source, header }) {
    this.store = store;
    this.prefix = header.words.cohort; // of the names of their columns
    this.source = source;
    this.cohorts = null;
    this.name = h("input", { type: "text", maxLength: LONGEST_NAME, placeholder: "name", "aria-label": "Name of the cohort" });
    this.name.onkeydown = (event) => {
      event.stopPropagation();
      if (event.key === "Enter") this.save();
    };
    this.saver = button("", () => this.save());
    this.status = h("p", { className: "wb-note", role: "status" });
    this.list = h("div", { className: "wb-lines" });
    this.node = h(
      "div",
      { className: "wb-cohorts" },
      source.saveCohort ? h("div", { className: "wb-bar" }, this.name, this.saver) : null,
      this.status,
      this.list,
      h("p", { className: "wb-note", textContent: NOTE }),
    );
    this.drawSaver();
  }

  /** The number of rows that would be saved: those picked, if there are several, or all that are selected. */
  drawSaver() {
    const { picked } = this.store.selection;
    const rows = picked.length > 1 ? picked.length : this.store.rows.length;
    this.saver.textContent = `Save ${counted(rows, picked.length > 1 ? "picked image" : "image")} as cohort`;
    this.saver.disabled = !rows;
  }

  async load() {
    try {
      this.take(await this.source.cohorts());
    } catch (error) {
      this.list.replaceChildren(problemOf(error));
    }
  }

  take({ cohorts, columns }) {
    this.cohorts = cohorts;
    this.store.replaceColumns(this.prefix, columns);
    this.draw();
  }

  async change(make, words) {
    try {
      this.take(await make());
      this.status.textContent = words;
      this.status.classList.remove("wb-problem");
    } catch (error) {
      this.status.textContent = error.message;
      this.status.classList.add("wb-problem");
    }
  }

  async save() {
    const name = this.name.value.trim();
    const { selection, words } = this.store;
    if (!name) {
      this.status.textContent = "Give it a name first.";
      this.name.focus();
      return;
    }
    const said = selection.picked.length > 1 ? `${selection.picked.length} picked of ${words}` : words;
    await this.change(() => this.source.saveCohort({ name, words: said, selection: { ...selection } }), `${name} is saved.`);
    if (!this.status.classList.contains("wb-problem")) this.name.value = "";
  }

  draw() {
    const empty = h("p", {
      className: "wb-note",
      textContent: "No cohort yet: filter or pick images, give them a name, and they are here tomorrow.",
    });
    const largest = Math.max(0.01, ...this.cohorts.map(({ high }) => high ?? 0));
    redraw(this.list, this.cohorts.length ? this.cohorts.map((one) => this.lineOf(one, largest)) : empty);
  }

  lineOf(one, largest) {
    const step = { kind: "any", column: one.column, values: ["yes"] };
    const choose = () =>
      this.store.set({ ...withStep(this.store.selection, step), wrong_only: false });
    const chosen = one.errors === 0 || one.errors === one.rows; // alike by choice: no rate to compare
    const words = [
      chosen ? null : `${pointsOf(one.difference, one.difference_low, one.difference_high)} against the other rows`,
      one.change ? `second model: accuracy ${pointsOf(one.change.difference, one.change.low, one.change.high)}` : null,
      one.words,
    ];
    const shown = line({
      name: one.cohort,
      value: chosen ? null : one.error_rate,
      low: one.low,
      high: one.high,
      largest,
      note: `${count(one.errors)} of ${count(one.rows)} misclassified`,
      on: hasStep(this.store, step),
      choose,
    });
    const remove = () => this.change(() => this.source.removeCohort(one.cohort), `${one.cohort} is removed.`);
    return h(
      "div",
      { className: "wb-cohort", dataset: { cohort: one.cohort } },
      shown,
      h(
        "p",
        { className: "wb-note" },
        words.filter(Boolean).join("; "),
        this.source.removeCohort ? button("Remove", remove, { "aria-label": `Remove the cohort ${one.cohort}` }) : null,
      ),
    );
  }

  /** Called when the view comes into sight: another person may have saved one since. */
  shown() {
    this.load();
  }

  update(changed) {
    if (["rows", "picked"].some((name) => changed.has(name))) this.drawSaver();
    if (changed.has("steps") && this.cohorts && this.node.isConnected) this.draw();
  }
}


/** @type {(context: Context) => View} */
export const cohortsView = (context) => new CohortsView(context);
