import { countsOf, describeCell, mostConfused, overviewPixels, strength } from "./confusion.js";
import { button, choice, h, keys, redraw, toggle } from "./dom.js";
import { withCells } from "./selection.js";

/** @import { Context, View } from "./types.d.ts" */

const MODES = { counts: "images", by_true: "% of true class", by_predicted: "% of predicted class" };
const SORTS = [
  ["plain", "as given"],
  ["similar", "by similarity"],
  ["errors", "by errors"],
];
const SHOWN_CLASSES = 24;
const HINT = "Rows: true class. Columns: predicted class. Click a cell, a class's name, or drag over several cells.";

/** The confusion matrix: cells and class names select rows; of many classes an overview leads to a part. */
class MatrixView {
  /** @param {Context} context */
  constructor({ store, header }) {
    this.store = store;
    this.classes = header.classes;
    this.cells = header.cells;
    this.similar = header.order;
    this.plain = header.classes.map((_, k) => k);
    this.counts = countsOf(header);
    this.sums = {
      by_true: this.counts.map((row) => row.reduce((a, b) => a + b, 0)),
      by_predicted: this.plain.map((p) => this.counts.reduce((sum, row) => sum + row[p], 0)),
    };
    this.many = this.classes.length > SHOWN_CLASSES;
    this.mode = "counts";
    this.sorting = this.many ? "similar" : "plain";
    this.zoomed = []; // classes in the grid
    this.buttons = []; // its cells, line by line
    this.heads = { row: [], col: [] };
    this.drag = null; // {from, to} while cells are dragged over
    this.build();
    this.listen();
    this.draw();
  }

  build() {
    this.bar = h("div", { className: "wb-bar", role: "group", "aria-label": "What the cells show" });
    this.grid = h("table", { className: "wb-matrix-grid" });
    this.overview = h("canvas", { className: "wb-overview", tabIndex: 0, role: "img" });
    this.hover = h("div", { className: "wb-hover wb-note", "aria-live": "polite" });
    const overview = this.many ? this.overview : null;
    this.node = h(
      "div",
      { className: "wb-matrix" },
      this.bar,
      overview,
      h("div", { className: "wb-scroll" }, this.grid),
      this.hover,
    );
  }

  draw() {
    this.drawBar();
    this.drawGrid();
    this.drawOverview();
    this.mark();
    this.say(null);
  }

  /** What a cell shows: a count or a share. */
  value(t, p) {
    if (this.mode === "counts") return this.counts[t][p];
    const sum = this.sums[this.mode][this.mode === "by_true" ? t : p];
    return sum ? this.counts[t][p] / sum : 0;
  }

  text(t, p) {
    if (this.mode !== "counts") return (100 * this.value(t, p)).toFixed(1);
    const rows = this.counts[t][p];
    return rows >= 10000 ? `${Math.round(rows / 1000)}k` : String(rows);
  }

  /** All classes in the chosen order. */
  order() {
    if (this.sorting === "similar") return this.similar;
    if (this.sorting === "plain") return this.plain;
    const errors = (t) => this.sums.by_true[t] - this.counts[t][t];
    return [...this.plain].sort((a, b) => errors(b) - errors(a));
  }

  drawBar() {
    const modes = Object.entries(MODES).map(([key, text]) =>
      toggle(text, this.mode === key, () => {
        this.mode = key;
        this.draw();
      }),
    );
    const sorting = choice("Classes", SORTS, this.sorting, (next) => {
      this.sorting = next;
      this.zoomed = [];
      this.draw();
    });
    redraw(this.bar, modes, sorting);
    if (this.many) this.bar.append(button("Most confused", () => this.zoom(this.mostConfused())));
  }

  mostConfused() {
    return mostConfused(this.counts, this.order(), SHOWN_CLASSES);
  }

  zoom(classes) {
    this.zoomed = classes;
    this.drawGrid();
    this.mark();
    this.drawOverview();
  }

  drawGrid() {
    if (!this.zoomed.length) this.zoomed = this.many ? this.mostConfused() : this.order();
    const shown = this.zoomed;
    const largest = Math.max(0, ...shown.flatMap((t) => shown.filter((p) => p !== t).map((p) => this.value(t, p))));
    this.buttons = [];
    this.heads = { row: [], col: [] };
    const rows = shown.map((t) =>
      h(
        "tr",
        {},
        this.heading(t, "row", [t, -1]),
        shown.map((p) => h("td", {}, this.cell(t, p, largest))),
      ),
    );
    if (this.buttons.length) this.buttons[0].tabIndex = 0;
    const corner = h("th", { className: "wb-corner" }, h("span", {}, "predicted →", h("br"), "true ↓"));
    const longest = Math.max(...shown.map((k) => this.classes[k].length));
    this.grid.classList.toggle("wb-upright", longest <= 3); // names that short fit above their column as they are
    this.grid.style.setProperty("--across", String(shown.length));
    redraw(
      this.grid,
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          corner,
          shown.map((p) => this.heading(p, "col", [-1, p])),
        ),
      ),
      h("tbody", {}, rows),
    );
  }

  heading(k, scope, cell) {
    const name = scope === "row" ? `all of true class ${this.classes[k]}` : `all predicted as ${this.classes[k]}`;
    const head = button(this.classes[k], (event) => this.pick([cell], event), { tabIndex: -1, "aria-label": name });
    this.heads[scope].push(head);
    return h("th", { scope, title: this.classes[k] }, head);
  }

  cell(t, p, largest) {
    const label = describeCell(this.classes, this.counts, t, p);
    const cell = button(this.text(t, p), null, {
      "aria-label": label,
      tabIndex: -1,
      dataset: { true: t, predicted: p },
    });
    this.buttons.push(cell);
    if (t === p) {
      cell.className = "wb-right";
      return cell;
    }
    const share = strength(this.value(t, p), largest);
    cell.style.background = `rgba(181, 64, 58, ${share})`;
    if (share > 0.75) cell.style.color = "#fff";
    if (!this.counts[t][p]) cell.className = "wb-zero";
    return cell;
  }

  drawOverview() {
    if (!this.many) return;
    const order = this.order();
    const side = order.length;
    this.overview.width = this.overview.height = side;
    const context = this.overview.getContext("2d");
    const image = context.createImageData(side, side);
    overviewPixels(image.data, order, this.cells);
    context.putImageData(image, 0, 0);
    this.overview.setAttribute(
      "aria-label",
      `All ${side} classes; click to look closer, Enter for the most confused ones`,
    );
  }

  pick(cells, event) {
    this.store.set(withCells(this.store.selection, cells, event.ctrlKey || event.metaKey || event.shiftKey));
  }

  mark() {
    const step = this.store.selection.steps.find(({ kind }) => kind === "cells");
    const chosen = new Set((step?.cells ?? []).map(([t, p]) => `${t},${p}`));
    for (const cell of this.buttons) {
      const { true: t, predicted: p } = cell.dataset;
      cell.setAttribute(
        "aria-pressed",
        String(chosen.has(`${t},${p}`) || chosen.has(`${t},-1`) || chosen.has(`-1,${p}`)),
      );
    }
  }

  say(place) {
    this.hover.textContent = place ? describeCell(this.classes, this.counts, place[0], place[1]) : HINT;
  }

  /** The cell under an event, as true and predicted class. */
  placeOf(event) {
    const cell = event.target.closest?.("td button");
    return cell ? [Number(cell.dataset.true), Number(cell.dataset.predicted)] : null;
  }

  /**
   * The cells of the rectangle between two, as they are shown.
   * @param {number[]} from
   * @param {number[]} to
   */
  between([t0, p0], [t1, p1]) {
    const [rows, columns] = [
      [t0, t1],
      [p0, p1],
    ].map((ends) => {
      const [a, b] = ends.map((k) => this.zoomed.indexOf(k)).sort((x, y) => x - y);
      return this.zoomed.slice(a, b + 1);
    });
    return rows.flatMap((t) => columns.map((p) => [t, p]));
  }

  outline(cells) {
    const inside = new Set(cells.map(String));
    for (const cell of this.buttons)
      cell.classList.toggle("wb-dragged", inside.has(`${cell.dataset.true},${cell.dataset.predicted}`));
  }

  listen() {
    const { grid, overview } = this;
    grid.addEventListener("pointerdown", (event) => {
      const place = this.placeOf(event);
      if (place && event.button === 0) this.drag = { from: place, to: place };
    });
    grid.addEventListener("pointerover", (event) => this.over(this.placeOf(event)));
    this.release = (event) => this.dropped(event);
    document.addEventListener("pointerup", this.release);
    grid.addEventListener("click", (event) => {
      const place = this.placeOf(event);
      if (place) this.pick([place], event);
    });
    grid.addEventListener("pointerleave", () => this.say(null));
    grid.addEventListener("focusin", (event) => {
      const place = this.placeOf(event);
      if (place) this.say(place);
    });
    const move = (down, across) => (event) => this.moved(event.target, down, across);
    keys(grid, { ArrowUp: move(-1, 0), ArrowDown: move(1, 0), ArrowLeft: move(0, -1), ArrowRight: move(0, 1) });
    overview.addEventListener("click", (event) => this.zoomAt(event));
    keys(overview, { Enter: () => this.zoom(this.mostConfused()) });
  }

  over(place) {
    if (!place) return;
    this.say(place);
    if (!this.drag) return;
    this.drag.to = place;
    this.outline(this.between(this.drag.from, this.drag.to));
  }

  dropped(event) {
    if (!this.drag) return;
    const { from, to } = this.drag;
    this.drag = null;
    this.outline([]);
    if (String(from) !== String(to))
      this.pick(
        this.between(from, to).filter(([t, p]) => t !== p),
        event,
      );
  }

  /** Move the focus from a cell or heading; the headings are the line above the first and the column before it. */
  moved(target, down, across) {
    const n = this.zoomed.length;
    const [at, atRow, atColumn] = [this.buttons, this.heads.row, this.heads.col].map((nodes) => nodes.indexOf(target));
    if (Math.max(at, atRow, atColumn) < 0) return false;
    const from = at >= 0 ? [Math.floor(at / n), at % n] : atRow >= 0 ? [atRow, -1] : [-1, atColumn];
    const [row, column] = [from[0] + down, from[1] + across].map((k) => Math.min(n - 1, Math.max(-1, k)));
    if (row < 0 && column < 0) return true;
    const next = row < 0 ? this.heads.col[column] : column < 0 ? this.heads.row[row] : this.buttons[row * n + column];
    target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
    return true;
  }

  /** Show the classes around the place of the overview that was clicked. */
  zoomAt(event) {
    const box = this.overview.getBoundingClientRect();
    const all = this.order();
    const half = SHOWN_CLASSES / 2;
    const near = (share) =>
      Math.min(Math.max(0, all.length - SHOWN_CLASSES), Math.max(0, Math.round(share * all.length - half)));
    const [row, column] = [near((event.clientY - box.top) / box.height), near((event.clientX - box.left) / box.width)];
    const both = new Set([...all.slice(row, row + half + 1), ...all.slice(column, column + half + 1)]);
    this.zoom(all.filter((k) => both.has(k)));
  }

  update(changed) {
    if (changed.has("steps")) this.mark();
  }

  close() {
    document.removeEventListener("pointerup", this.release);
  }
}

/** @type {(context: Context) => View} */
export const matrixView = (context) => new MatrixView(context);
