import { selectRows, describe } from "./selection.js";

/** @import { Decision, Header } from "./types.d.ts" */
/** @import { Table } from "./table.js" */

const FREE = new Set(["selected", "picked"]); // changes of these alone are no step to undo

/** Decisions by row id, from JSON. */
export const decisionsOf = (values) =>
  new Map(Object.entries(values).map(([row, decision]) => [Number(row), decision]));

/** The one selection, what follows from it, and its history. Views are told with the set of fields that changed. */
export class Store {
  /**
   * @param {Header} header
   * @param {Table} table
   * @param {Map<number, Decision>} decisions
   */
  constructor(header, table, decisions) {
    this.header = header;
    this.table = table;
    this.decisions = decisions; // row id -> {tags, label, note}
    /** @type {Record<string, Float32Array>} */
    this.maps = {};
    /** @type {Record<string, string> | null} */
    this.evidence = null; // row id -> why it is an error, once the findings are known
    /** @type {number[] | Uint32Array} */
    this.sequence = []; // positions of the selected rows as the gallery has them, by group
    this.selection = { ...header.start };
    this.past = [];
    this.future = [];
    this.listeners = new Set();
    this.follow();
  }

  follow() {
    this.rows = selectRows(this.selection, this);
    this.sequence = this.rows;
    this.words = describe(this.selection, this.table, this.rows.length, this.header.errors, this.header.rows);
  }

  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  tell(changed) {
    for (const listener of [...this.listeners]) listener(changed);
  }

  /** Set some fields; with `remember` the way back is kept. */
  set(fields, remember = true) {
    const changed = Object.keys(fields).filter(
      (name) => JSON.stringify(fields[name]) !== JSON.stringify(this.selection[name]),
    );
    if (!changed.length) return;
    if (remember && changed.some((name) => !FREE.has(name))) {
      this.past.push(this.selection);
      this.future = [];
    }
    this.apply({ ...this.selection, ...fields }, changed);
  }

  apply(selection, changed) {
    this.selection = selection;
    const moved = ["steps", "wrong_only", "order", "descending"].some((name) => changed.includes(name));
    if (moved) {
      this.follow();
      if (this.selection.selected >= 0 && !this.rows.includes(this.table.position(this.selection.selected))) {
        this.selection = { ...this.selection, selected: -1 };
        changed.push("selected");
      }
      if (this.selection.picked.length) {
        this.selection = { ...this.selection, picked: [] };
        changed.push("picked");
      }
    }
    this.tell(new Set(moved ? [...changed, "rows"] : changed));
  }

  travel(from, to) {
    if (!from.length) return;
    to.push(this.selection);
    const next = from.pop();
    this.apply(
      next,
      Object.keys(this.header.start).filter(
        (name) => JSON.stringify(next[name]) !== JSON.stringify(this.selection[name]),
      ),
    );
  }

  undo() {
    this.travel(this.past, this.future);
  }

  redo() {
    this.travel(this.future, this.past);
  }

  /** Columns that came later, such as those of findings. */
  addColumns(columns) {
    for (const [name, column] of Object.entries(columns)) this.table.add(name, column);
    this.refresh("columns");
  }

  /** Columns whose names begin alike, as they are now: those that are not among them any more are gone. */
  replaceColumns(prefix, columns) {
    const { columns: known } = this.table;
    const gone = Object.keys(known).filter((name) => name.startsWith(prefix) && !(name in columns));
    const same = (name) => known[name] && JSON.stringify(known[name].values) === JSON.stringify(columns[name].values);
    const fresh = Object.keys(columns).filter((name) => !same(name));
    if (!gone.length && !fresh.length) return;
    gone.forEach((name) => this.table.remove(name));
    fresh.forEach((name) => this.table.add(name, columns[name]));
    const steps = this.selection.steps.filter(({ column }) => !gone.includes(column));
    if (steps.length < this.selection.steps.length) this.set({ steps }, false);
    this.refresh("columns");
  }

  /** Show an image in detail; where the selection does not hold it, all filters are removed. */
  look(row) {
    const held = this.rows.includes(this.table.position(row));
    this.set(held ? { selected: row, picked: [] } : { selected: row, picked: [], steps: [], wrong_only: false });
  }

  /** Show the image some places on in the gallery, whose order is `sequence`; whether there is one. */
  walk(places) {
    const { selected } = this.selection;
    const at = selected < 0 ? -1 : this.sequence.indexOf(this.table.position(selected));
    const next = this.sequence[at < 0 ? 0 : at + places];
    if (next === undefined) return false;
    this.set({ selected: this.table.id(next), picked: [] });
    return true;
  }

  /** The row ids beside one in the gallery, the next one first. */
  beside(row) {
    const at = this.sequence.indexOf(this.table.position(row));
    return [at + 1, at - 1].filter((k) => k >= 0 && k < this.sequence.length).map((k) => this.table.id(this.sequence[k]));
  }

  addMap(name, points) {
    this.maps[name] = points;
    this.refresh("maps");
  }

  /** Decisions that changed: row id -> decision, null for none. */
  decide(changed) {
    for (const [row, decision] of Object.entries(changed)) {
      if (decision) this.decisions.set(Number(row), decision);
      else this.decisions.delete(Number(row));
    }
    this.refresh("decisions");
  }

  /** All decisions anew, from JSON, where they differ. */
  replaceDecisions(values) {
    const next = decisionsOf(values);
    const text = (decisions) => JSON.stringify([...decisions].sort(([a], [b]) => a - b));
    if (text(next) === text(this.decisions)) return;
    this.decisions = next;
    this.refresh("decisions");
  }

  refresh(what) {
    const before = this.rows;
    this.follow();
    const moved = before.length !== this.rows.length || before.some((row, k) => row !== this.rows[k]);
    this.tell(new Set(moved ? [what, "rows"] : [what]));
  }
}
