import { button, choice, h, keys, redraw } from "./dom.js";
import { orderOf, orders } from "./orders.js";
import { sideFor } from "./thumbnails.js";
import { layout, lineAt, tileOf } from "./tiles.js";

/** @import { Context, View } from "./types.d.ts" */

const TEXT_HEIGHT = 58; // the lines below a picture
const LINE_HEIGHT = 15; // the second model's answer
const GAP = 14; // between two tiles
const AHEAD = 200; // pixels above and below that are drawn, too
const SIZES = [
  [56, "small"],
  [84, "medium"],
  [128, "large"],
];

/** The selected images as tiles; only those in sight are on the page. */
class GalleryView {
  /** @param {Context} context */
  constructor({ store, source, header }) {
    this.store = store;
    this.source = source;
    this.marks = header.words.marks;
    this.table = store.table;
    this.size = 84;
    this.group = "";
    this.lines = [];
    /** @type {number[] | Uint32Array} */
    this.flat = []; // positions of the rows, in the order of the tiles
    this.anchor = -1; // where a range of picked images begins
    this.reachable = null; // the tile that Tab comes to
    this.tiles = new Map(); // row id, or name of a heading -> node on the page
    this.frame = 0;
    this.box = { width: 0, height: 0, top: 0 }; // of what is in sight: to ask the page for it costs a whole layout
    this.build();
    this.listen();
    this.drawControls();
  }

  build() {
    this.controls = h("div", { className: "wb-bar" });
    this.space = h("div", {
      className: "wb-space",
      role: "listbox",
      "aria-multiselectable": "true",
      "aria-label": "Selected images",
    });
    this.scroller = h("div", { className: "wb-tiles", tabIndex: -1 }, this.space);
    this.problem = h("div", { className: "wb-problem wb-quiet", role: "alert" });
    this.node = h("div", { className: "wb-gallery" }, this.controls, this.problem, this.scroller);
  }

  drawControls() {
    const { descending } = this.store.selection;
    const { choices, chosen } = orders(this.table, this.store.selection);
    const titled = (names) => names.map((name) => [name, this.table.columns[name].title]);
    const groups = [["", "no groups"], ...titled(this.table.names("class", "category", "flag"))];
    redraw(
      this.controls,
      choice("Sort by", choices, chosen, (next) => this.store.set(orderOf(next))),
      button(descending ? "↓" : "↑", () => this.store.set({ descending: !descending }), {
        title: descending ? "Highest first; turn round" : "Lowest first; turn round",
        "aria-label": descending ? "Highest first" : "Lowest first",
      }),
      choice("Group by", groups, this.group, (next) => {
        this.group = next;
        this.rebuild();
      }),
      choice("Size", SIZES, this.size, (next) => {
        this.size = Number(next);
        this.rebuild();
      }),
    );
  }

  /** Lay the tiles out anew. */
  rebuild() {
    const columns = Math.max(1, Math.floor((this.box.width - 12) / (this.size + GAP)));
    const values = this.group ? this.table.columns[this.group].values : null;
    const picture = this.source.can.images ? this.size : 0;
    const made = layout(this.store.rows, columns, picture + TEXT_HEIGHT + (this.table.columns.predicted_after ? LINE_HEIGHT : 0), values && ((k) => values[k]), (k) =>
      this.table.text(this.group, k),
    );
    this.lines = made.lines;
    this.flat = this.group ? this.lines.flatMap(({ rows }) => (rows ? [...rows] : [])) : this.store.rows;
    this.store.sequence = this.flat;
    this.space.style.height = `${made.height}px`;
    this.space.style.setProperty("--tile", `${this.size}px`);
    this.keepingFocus(() => {
      this.space.replaceChildren();
      this.tiles.clear();
      if (!this.store.rows.length)
        this.space.append(
          h("p", {
            className: "wb-note wb-empty",
            textContent: "No image is selected. Remove a filter in the bar above.",
          }),
        );
      this.draw();
    });
  }

  /** Redraw; a tile that had the focus has it again, and one that is gone gives it to the first. */
  keepingFocus(redrawn) {
    const focused = /** @type {HTMLElement | null} */ (document.activeElement?.closest(".wb-tile"))?.dataset.row;
    const keeps = focused !== undefined && this.space.contains(document.activeElement);
    redrawn();
    if (keeps)
      (this.tiles.get(Number(focused)) ?? this.space.querySelector(".wb-tile") ?? this.scroller).focus({
        preventScroll: true,
      });
  }

  draw() {
    const [top, bottom] = [this.box.top - AHEAD, this.box.top + this.box.height + AHEAD];
    const wanted = new Map(); // what is in sight -> how it is made
    for (let k = lineAt(this.lines, top); k < this.lines.length && this.lines[k].top < bottom; k++) {
      const line = this.lines[k];
      if (line.heading !== undefined)
        wanted.set(`heading ${k}`, () => h("h4", { textContent: line.heading, style: { top: `${line.top}px` } }));
      else
        line.rows.forEach((position, column) =>
          wanted.set(this.table.id(position), () => this.tile(position, line.top, column * (this.size + GAP) + 4)),
        );
    }
    for (const [key, tile] of this.tiles) {
      if (wanted.has(key)) continue;
      tile.remove();
      this.tiles.delete(key);
    }
    const fresh = [...wanted].filter(([key]) => !this.tiles.has(key)).map(([key, make]) => [key, make()]);
    fresh.forEach(([key, tile]) => this.tiles.set(key, tile));
    this.space.append(...fresh.map(([, tile]) => tile));
    this.pictures();
    this.mark();
  }

  tile(position, top, left) {
    const tags = this.store.decisions.get(this.table.id(position))?.tags ?? [];
    return tileOf(this.table, position, {
      tags,
      marks: this.marks,
      length: this.store.rows.length,
      top,
      left,
      pictured: this.source.can.images,
    });
  }

  /** Paint the pictures of the tiles on the page, once they are there. */
  async pictures() {
    if (!this.source.can.images) return;
    const ids = [...this.tiles.keys()].filter((key) => typeof key === "number");
    const { thumbnails } = this.source;
    const side = sideFor(this.size);
    const blurred = ids.filter((id) => !thumbnails.has(id, side));
    this.paint(ids);
    if (!blurred.length) return;
    try {
      await thumbnails.need(blurred, side);
      this.problem.textContent = "";
    } catch (error) {
      this.problem.textContent = `Some images can't be shown: ${error.message}`;
    }
    for (const id of blurred) delete this.tiles.get(id)?.dataset.painted; // a sharper one may be there
    this.paint(ids);
  }

  paint(ids) {
    for (const id of ids) {
      const tile = this.tiles.get(id);
      if (tile && !tile.dataset.painted && this.source.thumbnails.paint(tile.firstChild, id))
        tile.dataset.painted = "yes";
    }
    if (ids.every((id) => !this.tiles.has(id) || this.tiles.get(id).dataset.painted))
      this.node.dataset.painted = this.store.words;
  }

  mark() {
    const { selected } = this.store.selection;
    const picked = new Set(this.store.selection.picked);
    let reachable = null;
    for (const [id, tile] of this.tiles) {
      if (typeof id !== "number") continue;
      const state = `${id === selected} ${picked.has(id)}`;
      if (tile.dataset.state !== state) {
        tile.dataset.state = state; // to write what is there already costs the page as much
        tile.setAttribute("aria-selected", String(picked.has(id) || id === selected));
        tile.classList.toggle("wb-shown", id === selected);
        tile.classList.toggle("wb-picked", picked.has(id));
      }
      if (id === selected || !reachable) reachable = tile;
    }
    if (reachable === this.reachable) return;
    if (this.reachable) this.reachable.tabIndex = -1;
    if (reachable) reachable.tabIndex = 0;
    this.reachable = reachable;
  }

  /** Select an image; with Shift all from the last one on, with Ctrl one more. */
  choose(id, { shiftKey = false, ctrlKey = false, metaKey = false }) {
    const { picked } = this.store.selection;
    if (shiftKey && this.anchor >= 0) {
      const [first, last] = [this.anchor, id]
        .map((row) => this.flat.indexOf(this.table.position(row)))
        .sort((a, b) => a - b);
      this.store.set({ picked: [...this.flat.slice(first, last + 1)].map((k) => this.table.id(k)), selected: id });
      return;
    }
    this.anchor = id;
    if (ctrlKey || metaKey)
      this.store.set({ picked: picked.includes(id) ? picked.filter((row) => row !== id) : [...picked, id] });
    else this.store.set({ selected: id, picked: [] });
  }

  listen() {
    const rowOf = (event) => {
      const tile = event.target.closest?.(".wb-tile");
      return tile ? Number(tile.dataset.row) : null;
    };
    const onTile = (act) => (event) => {
      const row = rowOf(event);
      if (row === null) return false;
      act(row, event);
      return true;
    };
    this.space.addEventListener(
      "click",
      onTile((row, event) => this.choose(row, event)),
    );
    const step = (lines, tiles) => onTile((row) => this.moveFocus(this.table.position(row), lines, tiles));
    const pick = onTile((row) => this.choose(row, { ctrlKey: true }));
    keys(this.space, {
      ArrowLeft: step(0, -1),
      ArrowRight: step(0, 1),
      ArrowUp: step(-1, 0),
      ArrowDown: step(1, 0),
      " ": pick,
    });
    this.scroller.addEventListener("scroll", () => {
      cancelAnimationFrame(this.frame);
      this.frame = requestAnimationFrame(() => {
        this.box.top = this.scroller.scrollTop;
        this.draw();
      });
    });
    this.watcher = new ResizeObserver(([{ contentRect }]) => {
      Object.assign(this.box, { width: contentRect.width, height: contentRect.height });
      this.rebuild();
      const { selected } = this.store.selection;
      if (selected >= 0 && contentRect.height) this.scrollTo(this.table.position(selected)); // lines are others now
    });
    this.watcher.observe(this.scroller);
  }

  /** Move the focus by some lines or tiles; the image there is shown. */
  moveFocus(position, lines, tiles) {
    const target = lines ? this.beside(position, lines) : this.flat[this.flat.indexOf(position) + tiles];
    if (target === undefined || target < 0) return;
    this.choose(this.table.id(target), {});
    this.scrollTo(target);
    this.tiles.get(this.table.id(target))?.focus();
  }

  /** Scroll until the tile at a position is in sight. */
  scrollTo(target) {
    const line = this.lines.find(({ rows }) => rows?.includes(target));
    if (!line) return;
    const { top, height } = this.box;
    if (line.top < top) this.scroll(line.top);
    else if (line.top + line.height > top + height) this.scroll(line.top + line.height - height);
    this.draw();
  }

  scroll(top) {
    this.scroller.scrollTop = this.box.top = top;
  }

  /** The row in the same column some lines of tiles away, -1 for none; headings are stepped over. */
  beside(position, lines) {
    const at = this.lines.findIndex(({ rows }) => rows?.includes(position));
    let next = at + lines;
    while (this.lines[next] && !this.lines[next].rows) next += lines;
    const rows = this.lines[next]?.rows;
    return rows ? rows[Math.min(this.lines[at].rows.indexOf(position), rows.length - 1)] : -1;
  }

  update(changed) {
    if (["columns", "order", "descending"].some((name) => changed.has(name))) this.drawControls();
    if (changed.has("rows") || changed.has("decisions")) {
      if (changed.has("rows") && this.box.top) this.scroll(0);
      this.rebuild();
    } else if (changed.has("selected") || changed.has("picked")) {
      const { selected } = this.store.selection;
      if (selected >= 0) this.scrollTo(this.table.position(selected));
      this.mark();
    }
  }

  close() {
    this.watcher.disconnect();
  }
}

/** @type {(context: Context) => View} */
export const galleryView = (context) => new GalleryView(context);
