import { button, choice, h, redraw, toggle } from "./dom.js";
import { changedBy, isNothing } from "./local.js";
import { counted } from "./numbers.js";

/** @import { Context } from "./types.d.ts" */

const UNDECIDED = { tags: [], label: null, note: "" };
const AS_IT_IS = "-1"; // the choice of no corrected label

/** Tags, corrected label and note of the picked images, or of the one shown. */
class DecisionBar {
  /** @param {Context} context */
  constructor({ store, source, header }) {
    this.store = store;
    this.source = source;
    this.header = header;
    this.node = h("div", { className: "wb-bar wb-decisions", role: "group", "aria-label": "Decisions" });
    this.status = h("span", { className: "wb-note", role: "status" });
  }

  /** Row ids that a decision is about. */
  rows() {
    const { picked, selected } = this.store.selection;
    return picked.length ? picked : selected >= 0 ? [selected] : [];
  }

  decisionOf(row) {
    return this.store.decisions.get(row) ?? UNDECIDED;
  }

  async change(fields) {
    const rows = this.rows();
    if (rows.length) await this.make({ rows, ...fields });
  }

  /** A change of some rows, or none to undo the last: why it is not kept, or an empty text. */
  make(change) {
    return change ? this.commit(() => this.source.decide(change), change) : this.travel(true);
  }

  /** Show a change before it is confirmed; what is returned takes it back. */
  foresee({ rows, ...fields }) {
    const { decisions } = this.store;
    const before = Object.fromEntries(rows.map((row) => [row, decisions.get(row) ?? null]));
    const after = rows.map((row) => [row, changedBy(fields, decisions.get(row))]);
    this.store.decide(Object.fromEntries(after.map(([row, value]) => [row, isNothing(value) ? null : value])));
    return () => this.store.decide(before);
  }

  /** Undo, or redo, the last decision. */
  travel(back) {
    return this.commit(() => (back ? this.source.undo() : this.source.redo()));
  }

  /** Make a change, and say whether it is kept; what is returned says why not. */
  async commit(make, change = null) {
    const back = change ? this.foresee(change) : () => {};
    this.status.textContent = "saving …";
    try {
      const { changed, unsaved } = await make();
      this.store.decide(changed);
      this.status.classList.toggle("wb-problem", Boolean(unsaved));
      if (unsaved) this.status.textContent = `Not saved, and kept here until the next try: ${unsaved}`;
      else this.status.textContent = this.source.keeps ? "saved" : this.source.kept ?? "kept until the kernel ends: this run has no folder";
      return unsaved ?? "";
    } catch (error) {
      back();
      this.status.classList.add("wb-problem");
      this.status.textContent = error.message;
      return error.message;
    }
  }

  /** Add a tag, or remove it where all rows have it. */
  flip(word) {
    const all = this.rows().every((row) => this.decisionOf(row).tags.includes(word));
    return this.change(all ? { remove: [word] } : { add: [word] });
  }

  update() {
    const rows = this.rows();
    this.node.hidden = !rows.length || !this.source.decide;
    if (this.node.hidden) return;
    const first = this.decisionOf(rows[0]);
    const [added, note] = [this.tagInput(), this.noteInput(first)];
    const typing =
      this.node.contains(document.activeElement) && document.activeElement.matches("input, textarea")
        ? document.activeElement
        : null;
    const many = rows.length > 1 ? h("b", { textContent: counted(rows.length, "image") }) : "";
    redraw(this.node, many, this.tags(rows), added, this.labelChoice(first), note, this.history(), this.status);
    if (typing) this.typeOn(typing, [added, note], rows);
    this.node.dataset.rows = rows.join();
  }

  tags(rows) {
    const fixed = this.header.words.tags;
    const own = [...new Set([...this.store.decisions.values()].flatMap(({ tags }) => tags))].filter(
      (word) => !fixed.includes(word),
    );
    const on = (word) => rows.every((row) => this.decisionOf(row).tags.includes(word));
    const keyed = fixed.map((word, k) =>
      toggle(`${word} (${k + 1})`, on(word), () => this.flip(word), { title: `Key ${k + 1}` }),
    );
    return [...keyed, ...own.map((word) => toggle(word, on(word), () => this.flip(word)))];
  }

  tagInput() {
    const input = h("input", { type: "text", placeholder: "own tag", maxLength: 60, "aria-label": "Add your own tag" });
    input.onkeydown = (event) => {
      event.stopPropagation();
      if (event.key === "Enter" && input.value.trim()) this.change({ add: [input.value.trim()] });
    };
    return input;
  }

  noteInput({ note }) {
    const input = h("textarea", {
      placeholder: "note",
      rows: 2,
      value: note,
      maxLength: 2000,
      className: "wb-noteinput",
      "aria-label": "Note",
    });
    input.onkeydown = (event) => event.stopPropagation();
    input.onchange = () => this.change({ note: input.value });
    return input;
  }

  labelChoice({ label }) {
    const labels = [[AS_IT_IS, "label is correct"], ...this.header.classes.map((name, k) => [String(k), name])];
    const take = (next) => this.change(next === AS_IT_IS ? { clear_label: true } : { label: Number(next) });
    return choice("Should be", labels, label === null ? AS_IT_IS : String(label), take);
  }

  history() {
    return [
      button("Undo", () => this.travel(true), { title: "Undo the last decision (Ctrl+Z)" }),
      button("Redo", () => this.travel(false), { title: "Redo it (Ctrl+Shift+Z)" }),
    ];
  }

  /** What is being typed stays, whatever is drawn anew around it. */
  typeOn(typing, inputs, rows) {
    const same = inputs.find((input) => input.getAttribute("aria-label") === typing.getAttribute("aria-label"));
    if (rows.join() === this.node.dataset.rows) same.value = typing.value;
    same.focus({ preventScroll: true });
  }
}

export const decisionBar = (context) => new DecisionBar(context);
