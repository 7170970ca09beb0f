import { h, redraw, toggle } from "./dom.js";
import { count, short } from "./numbers.js";
import { selectRows } from "./selection.js";

/** @import { Context, View } from "./types.d.ts" */

const BINS = 32;
const ACROSS = 320;
const TALL = 46;
const MOST_VALUES = 12; // of a column of words that are listed
const BRUSH_RESTS_MS = 120;

/** Edges of equal bins between a column's finite ends; null without two values that differ. */
export function edgesOf(values, bins = BINS) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return high > low ? { low, high, bins } : null;
}

/** How many of the rows fall into each bin; the last is closed. */
export function histogram(values, rows, { low, high, bins }) {
  const counts = new Uint32Array(bins);
  for (const k of rows) {
    const value = values[k];
    if (Number.isFinite(value)) counts[Math.min(bins - 1, Math.floor((bins * (value - low)) / (high - low)))]++;
  }
  return counts;
}

/** How many of the rows have each value of a column of words. */
export function tally({ values, categories }, rows) {
  const counts = new Uint32Array(categories.length);
  for (const k of rows) counts[values[k]]++;
  return counts;
}

/** Histograms and values of every column; brushing one or choosing a value filters, and all counts follow. */
class FacetsView {
  /** @param {Context} context */
  constructor({ store }) {
    this.store = store;
    this.table = store.table;
    this.timer = 0;
    this.node = h("div", { className: "wb-facets" });
  }

  plan() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.node.isConnected && this.draw(), BRUSH_RESTS_MS);
  }

  draw() {
    const numbers = this.table.names("number").filter((name) => name !== "index");
    const words = this.table.names("class", "category", "flag").filter((name) => name !== "correct");
    const { wrong_only } = this.store.selection;
    const note = `Grey: all ${wrong_only ? "errors" : "images"}. Blue: what is selected, each as high as its own highest bin. Drag over a histogram, or choose values.`;
    this.base = selectRows({ ...this.store.selection, steps: [] }, this.store);
    redraw(
      this.node,
      h("p", { className: "wb-note", textContent: note }),
      numbers.map((name) => this.numberFacet(name)),
      words.map((name) => this.wordFacet(name)),
    );
  }

  /** The rows that the other filters leave, so that a facet shows what it could be set to. */
  rowsWithout(name) {
    const { selection } = this.store;
    const others = selection.steps.filter(({ column }) => column !== name);
    return others.length === selection.steps.length
      ? this.store.rows
      : selectRows({ ...selection, steps: others }, this.store);
  }

  numberFacet(name) {
    const { title, values } = this.table.columns[name];
    const edges = edgesOf(values);
    if (!edges) return null;
    const [all, here] = [histogram(values, this.base, edges), histogram(values, this.rowsWithout(name), edges)];
    const step = this.store.selection.steps.find((one) => one.kind === "range" && one.column === name);
    const at = (value) => (ACROSS * (value - edges.low)) / (edges.high - edges.low);
    const rect = (k, height, className) =>
      `<rect class="${className}" x="${(k * ACROSS) / BINS + 0.5}" width="${ACROSS / BINS - 1}" y="${TALL - height}" height="${height}"/>`;
    const bars = (counts, className) => {
      const most = Math.max(1, ...counts);
      return [...counts].map((n, k) => (n ? rect(k, Math.max(1.5, (TALL * n) / most), className) : "")).join("");
    };
    const chosen = step
      ? `<rect class="wb-brushed" x="${step.low === null ? 0 : at(step.low)}" y="0" height="${TALL}" width="${Math.max(2, (step.high === null ? ACROSS : at(step.high)) - (step.low === null ? 0 : at(step.low)))}"/>`
      : "";
    const plot = h("div", { className: "wb-histogram", role: "img", "aria-label": this.said(title, edges, here) });
    plot.innerHTML = `<svg viewBox="0 0 ${ACROSS} ${TALL}" preserveAspectRatio="none" aria-hidden="true">${bars(all, "wb-all")}${bars(here, "wb-here")}${chosen}</svg>`;
    this.listen(plot, name, edges);
    const ends = h("div", { className: "wb-ends" }, [edges.low, edges.high].map((end) => h("span", { textContent: short(end) })));
    return h("div", { className: "wb-facet", dataset: { column: name } }, h("h5", { textContent: title }), plot, ends);
  }

  said(title, edges, counts) {
    const total = counts.reduce((sum, n) => sum + n, 0);
    return `${title}: ${count(total)} rows from ${short(edges.low)} to ${short(edges.high)}`;
  }

  /** Dragging over a histogram selects a range; a click without a drag removes it. */
  listen(plot, name, edges) {
    const share = (event) => {
      const box = plot.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    };
    const mark = h("i", { hidden: true });
    plot.append(mark);
    let from = null;
    plot.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      plot.setPointerCapture(event.pointerId);
      from = share(event);
    });
    plot.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const [a, b] = [from, share(event)].sort((x, y) => x - y);
      mark.hidden = false;
      Object.assign(mark.style, { left: `${100 * a}%`, width: `${100 * (b - a)}%` });
    });
    plot.addEventListener("pointerup", (event) => {
      if (from === null) return;
      const [a, b] = [from, share(event)].sort((x, y) => x - y);
      from = null;
      mark.hidden = true;
      this.choose(name, edges, a, b);
    });
  }

  choose(name, { low, high }, a, b) {
    const others = this.store.selection.steps.filter((one) => !(one.kind === "range" && one.column === name));
    if (b - a < 1 / BINS) {
      this.store.set({ steps: others });
      return;
    }
    const value = (share) => Number((low + share * (high - low)).toPrecision(6));
    const step = { kind: "range", column: name, low: a === 0 ? null : value(a), high: b === 1 ? null : value(b) };
    if (step.low !== null || step.high !== null) this.store.set({ steps: [...others, step] });
    else this.store.set({ steps: others });
  }

  wordFacet(name) {
    const column = this.table.columns[name];
    const [all, here] = [tally(column, this.base), tally(column, this.rowsWithout(name))];
    const order = column.categories.map((_, k) => k).sort((a, b) => all[b] - all[a] || a - b);
    const shown = order.filter((k) => all[k]).slice(0, MOST_VALUES);
    if (shown.length < 2) return null;
    const step = this.store.selection.steps.find((one) => one.kind === "any" && one.column === name);
    const values = shown.map((k) => this.value(name, column.categories[k], here[k], all[k], step));
    const more = order.filter((k) => all[k]).length - shown.length;
    return h(
      "div",
      { className: "wb-facet", dataset: { column: name } },
      h("h5", { textContent: column.title }),
      h("div", { className: "wb-values" }, values),
      more ? h("p", { className: "wb-note", textContent: `and ${count(more)} more` }) : null,
    );
  }

  value(name, word, here, all, step) {
    const on = step?.values.includes(word) ?? false;
    const flip = () => {
      const values = on ? step.values.filter((other) => other !== word) : [...(step?.values ?? []), word];
      const others = this.store.selection.steps.filter((one) => one !== step);
      this.store.set({ steps: values.length ? [...others, { kind: "any", column: name, values }] : others });
    };
    return toggle("", on, flip, { className: "wb-value", title: `${word}: ${count(here)} of ${count(all)}` }).appendChild(
      h(
        "span",
        {},
        h("i", { style: { width: `${all ? (100 * here) / all : 0}%` } }),
        h("span", { textContent: word }),
        h("span", { className: "wb-note", textContent: `${count(here)} of ${count(all)}` }),
      ),
    ).parentElement;
  }

  /** Called when the view comes into sight. */
  shown() {
    this.draw();
  }

  update(changed) {
    if (this.node.isConnected && ["rows", "steps", "wrong_only", "columns"].some((name) => changed.has(name))) this.plan();
  }

  close() {
    clearTimeout(this.timer);
  }
}

/** @type {(context: Context) => View} */
export const facetsView = (context) => new FacetsView(context);
