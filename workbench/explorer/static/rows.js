import { button, h, menu, redraw } from "./dom.js";

/** @import { Context, View } from "./types.d.ts" */

const ROW_HEIGHT = 28; // of a row, in pixels
const ALWAYS = new Set(["index", "label", "predicted"]);
const FIRST = ["index", "label", "predicted", "confidence", "loss", "margin", "entropy", "cause", "outcome"];

/** The selected rows as a table: virtual, so that a million rows scroll as well as ten. */
class RowsView {
  /** @param {Context} context */
  constructor({ store }) {
    this.store = store;
    this.table = store.table;
    this.frame = 0;
    this.head = h("div", { className: "wb-row wb-head", role: "row" });
    this.body = h("div", { className: "wb-space", role: "rowgroup" });
    this.hidden = new Set(); // names of columns that are not shown
    this.bar = h("div", { className: "wb-bar" });
    this.grid = h(
      "div",
      { className: "wb-rows", tabIndex: 0, role: "grid", "aria-label": "Selected rows", "aria-readonly": "true" },
      this.head,
      this.body,
    );
    this.node = h("div", { className: "wb-tableview" }, this.bar, this.grid);
    this.listen();
  }

  names() {
    const { columns } = this.table;
    return [...new Set([...FIRST, ...Object.keys(columns)])].filter((name) => columns[name] && name !== "correct");
  }

  /** The columns that are shown. */
  chosen() {
    return this.names().filter((name) => !this.hidden.has(name));
  }

  /** Which columns are shown, as a menu; the row id and both classes always are. */
  chooser() {
    const box = (name) => {
      const flip = () => {
        if (!this.hidden.delete(name)) this.hidden.add(name);
        this.drawAll();
      };
      const input = h("input", { type: "checkbox", checked: !this.hidden.has(name), onchange: flip });
      return h("label", {}, input, this.table.columns[name].title);
    };
    return menu("Columns", this.names().filter((name) => !ALWAYS.has(name)).map(box)).node;
  }

  drawAll() {
    this.drawHead();
    this.draw();
  }

  drawHead() {
    redraw(
      this.head,
      this.chosen().map((name) => this.heading(name)),
    );
  }

  heading(name) {
    const { order, descending } = this.store.selection;
    const { title, kind } = this.table.columns[name];
    const on = name === order;
    const turn = () => this.store.set(on ? { descending: !descending } : { order: name, descending: true });
    const arrow = on ? (descending ? " ▾" : " ▴") : "";
    const sort = on ? (descending ? "descending" : "ascending") : "none";
    return h(
      "span",
      { role: "columnheader", className: kind === "number" ? "wb-number" : "", "aria-sort": sort },
      button(`${title}${arrow}`, turn, { title }),
    );
  }

  draw() {
    const columns = this.chosen();
    const { rows, selection } = this.store;
    const { scrollTop, clientHeight } = this.grid;
    this.body.style.height = `${rows.length * ROW_HEIGHT}px`;
    this.grid.setAttribute("aria-rowcount", rows.length + 1);
    const first = Math.max(0, Math.floor(scrollTop / ROW_HEIGHT) - 5);
    const last = Math.min(rows.length, first + Math.ceil(clientHeight / ROW_HEIGHT) + 10);
    this.body.replaceChildren(
      ...Array.from({ length: Math.max(0, last - first) }, (_, k) => this.row(first + k, columns)),
    );
    if (selection.selected >= 0) this.grid.setAttribute("aria-activedescendant", `wb-row-${selection.selected}`);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  row(k, columns) {
    const position = this.store.rows[k];
    const id = this.table.id(position);
    const cell = (name) => {
      const text = this.table.text(name, position);
      return h("span", {
        role: "gridcell",
        className: this.table.columns[name].kind === "number" ? "wb-number" : "",
        textContent: text,
        title: text,
      });
    };
    const chosen = String(id === this.store.selection.selected);
    return h(
      "div",
      {
        className: "wb-row",
        role: "row",
        id: `wb-row-${id}`,
        tabIndex: -1,
        "aria-rowindex": k + 2,
        "aria-selected": chosen,
        dataset: { row: id },
        style: { top: `${k * ROW_HEIGHT}px` },
      },
      columns.map(cell),
    );
  }

  listen() {
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest(".wb-row");
      if (row) this.store.set({ selected: Number(row.dataset.row), picked: [] });
    });
    this.grid.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step || event.target.closest("button")) return;
      event.preventDefault();
      event.stopPropagation();
      this.move(step);
    });
    this.grid.addEventListener("scroll", () => {
      cancelAnimationFrame(this.frame);
      this.frame = requestAnimationFrame(() => this.draw());
    });
  }

  /** Select the next or previous row, and scroll to it. */
  move(step) {
    const { rows, selection } = this.store;
    if (!rows.length) return;
    const next = Math.min(rows.length - 1, Math.max(0, rows.indexOf(this.table.position(selection.selected)) + step));
    this.store.set({ selected: this.table.id(rows[next]), picked: [] });
    this.grid.scrollTop = Math.min(
      next * ROW_HEIGHT,
      Math.max(this.grid.scrollTop, (next + 2) * ROW_HEIGHT - this.grid.clientHeight),
    );
  }

  /** Called when the view comes into sight. */
  shown() {
    this.bar.replaceChildren(this.chooser());
    this.drawAll();
  }

  update(changed) {
    if (!this.node.isConnected) return;
    if (changed.has("columns")) this.bar.replaceChildren(this.chooser());
    if (changed.has("rows")) this.grid.scrollTop = 0;
    if (["rows", "columns", "selected", "order", "descending"].some((name) => changed.has(name))) this.drawAll();
  }
}

/** @type {(context: Context) => View} */
export const rowsView = (context) => new RowsView(context);
