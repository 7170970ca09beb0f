import { quoted } from "./csv.js";

/** @import { Decision } from "./types.d.ts" */

const NOTHING = { tags: [], label: null, note: "" };

/** A decision as a change makes it, as the kernel does. */
export function changedBy({ add = [], remove = [], label = null, clear_label = false, note = null }, before = NOTHING) {
  const tags = [...new Set([...before.tags, ...add])].filter((word) => !remove.includes(word)).sort();
  return { tags, label: clear_label ? null : (label ?? before.label), note: note ?? before.note };
}

/** Whether a decision says nothing. */
export const isNothing = (decision) => alike(decision, NOTHING);

const alike = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** Decisions that a page keeps while it is open; they change as the kernel's do. */
export class LocalDecisions {
  /** @param {Map<number, Decision>} rows */
  constructor(rows) {
    this.rows = new Map(rows);
    this.past = [];
    this.future = [];
  }

  decide({ rows, ...change }) {
    const values = new Map(rows.map((row) => [row, changedBy(change, this.rows.get(row))]));
    const before = new Map(rows.map((row) => [row, this.rows.get(row) ?? NOTHING]));
    if ([...values].every(([row, value]) => alike(value, before.get(row)))) return { changed: {} };
    this.past.push(before);
    this.future = [];
    return this.put(values);
  }

  undo() {
    return this.travel(this.past, this.future);
  }

  redo() {
    return this.travel(this.future, this.past);
  }

  travel(from, to) {
    const values = from.pop();
    if (!values) return { changed: {} };
    to.push(new Map([...values.keys()].map((row) => [row, this.rows.get(row) ?? NOTHING])));
    return this.put(values);
  }

  /** What changed, as the kernel answers it: no decision is null. */
  put(values) {
    const changed = {};
    for (const [row, value] of values) {
      const none = isNothing(value);
      if (none) this.rows.delete(row);
      else this.rows.set(row, value);
      changed[row] = none ? null : value;
    }
    return { changed };
  }

  /** The decisions as CSV, in the columns of the kernel's `decisions.csv`. */
  csv(table, classes, { data, split }) {
    const lines = ["index,label,predicted,tags,corrected_label,note,data,split"];
    for (const [row, { tags, label, note }] of [...this.rows].sort(([a], [b]) => a - b)) {
      const position = table.position(row);
      const named = ["label", "predicted"].map((name) => (position < 0 ? "" : table.text(name, position)));
      const cells = [...named, tags.join("; "), label === null ? "" : classes[label], note, data ?? "", split ?? ""];
      lines.push([row, ...cells.map(quoted)].join(","));
    }
    return `${lines.join("\r\n")}\r\n`;
  }
}
