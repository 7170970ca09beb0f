import { colours } from "./colours.js";
import { button, choice, h, keys, redraw } from "./dom.js";
import { short } from "./numbers.js";
import { gradient } from "./picture.js";
import { fitted, nearestPoint, paintPoints } from "./points.js";
import { withStep } from "./selection.js";

/** @import { Context, View } from "./types.d.ts" */

const HINTS = {
  start: "Circle images to select them. The wheel zooms, Shift and drag moves, a double click shows all.",
  principal: "The two directions in which the model's features vary most.",
  neighbours: "Near images look alike to the model; distances between far groups mean nothing.",
};
const LASSO_POINTS = 6; // a shorter path is a click
const CLICK_PIXELS = 12;

/** The images as points on a map of their embeddings; a lasso selects. */
class ScatterView {
  /** @param {Context} context */
  constructor({ store, source, header }) {
    this.store = store;
    this.source = source;
    this.table = store.table;
    this.palette = header.palette;
    this.ramp = header.ramps.false;
    this.layouts = header.words.layouts; // name -> title
    this.layout = Object.keys(this.layouts)[0];
    this.column = "predicted"; // that gives the colours
    this.view = null; // {x, y, scale}: a point p lies at (p - x) * scale
    this.painted = null; // the colours of the rows, with the column they are of
    this.lasso = null; // x and y in turn, while it is drawn
    this.pan = null; // where a drag began, and the view then
    this.frame = 0;
    this.build();
    this.listen();
    this.drawControls();
  }

  get points() {
    return this.store.maps[this.layout];
  }

  build() {
    this.controls = h("div", { className: "wb-bar" });
    this.canvas = h("canvas", {
      className: "wb-map",
      tabIndex: 0,
      role: "img",
      "aria-label": "Map of the images; arrows move it, plus and minus zoom",
    });
    this.sketch = h("canvas", { className: "wb-sketch" });
    this.hint = h("div", { className: "wb-hover wb-note", "aria-live": "polite", textContent: HINTS.start });
    this.legend = h("div", { className: "wb-legend" });
    this.box = h("div", { className: "wb-canvas" }, this.canvas, this.sketch);
    this.node = h("div", { className: "wb-scatter" }, this.controls, this.box, this.legend, this.hint);
  }

  drawControls() {
    const columns = this.table.names("class", "category", "flag", "number").filter((name) => name !== "index");
    redraw(
      this.controls,
      choice("Layout", Object.entries(this.layouts), this.layout, (next) => {
        this.layout = next;
        this.view = null;
        return this.load();
      }),
      choice(
        "Colour",
        columns.map((name) => [name, this.table.columns[name].title]),
        this.column,
        (next) => {
          this.column = next;
          this.painted = null;
          this.draw();
        },
      ),
      button("Show all", () => this.showAll()),
      button("Select what is in view", () => this.view && this.points && this.enclose(this.corners()), {
        title: "By keyboard: move with the arrows, zoom with plus and minus, then this",
      }),
    );
  }

  showAll() {
    this.view = null;
    this.draw();
  }

  async load() {
    const wanted = this.layout;
    if (!this.store.maps[wanted]) {
      this.hint.textContent = "Placing the images …";
      try {
        this.store.addMap(wanted, await this.source.map(wanted, (words) => (this.hint.textContent = words)));
        this.hint.textContent = HINTS[wanted] ?? "";
      } catch (error) {
        this.hint.textContent = error.message;
      }
    }
    this.draw();
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.paint());
  }

  paint() {
    const { width, height } = this.box.getBoundingClientRect();
    if (!this.points || !width) return;
    const ratio = window.devicePixelRatio || 1;
    this.resize(Math.round(width * ratio), Math.round(height * ratio));
    this.view ??= fitted(this.points, this.canvas.width, this.canvas.height);
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(this.canvas.width, this.canvas.height);
    paintPoints(image, this.points, this.view, this.coloured().rgb, this.store.rows, ratio);
    context.putImageData(image, 0, 0);
    this.drawSketch();
    this.drawLegend();
    this.node.dataset.painted = `${this.layout} ${this.store.rows.length}`;
  }

  resize(width, height) {
    for (const one of [this.canvas, this.sketch]) {
      if (one.width !== width) one.width = width;
      if (one.height !== height) one.height = height;
    }
  }

  coloured() {
    const { column, table } = this;
    if (this.painted?.column !== column || this.painted.rows !== table.length) {
      this.painted = { ...colours(table.columns[column], this.palette, this.ramp), column, rows: table.length };
    }
    return this.painted;
  }

  /** The ring around the selected image, and the lasso. */
  drawSketch() {
    const context = this.sketch.getContext("2d");
    context.clearRect(0, 0, this.sketch.width, this.sketch.height);
    context.strokeStyle = getComputedStyle(this.node).color;
    context.lineWidth = 2;
    const on = (x, y) => [(x - this.view.x) * this.view.scale, (y - this.view.y) * this.view.scale];
    const place = this.table.position(this.store.selection.selected);
    if (place >= 0) {
      const [x, y] = on(this.points[2 * place], this.points[2 * place + 1]);
      context.beginPath();
      context.arc(x, y, 9, 0, 2 * Math.PI);
      context.stroke();
    }
    const step = this.store.selection.steps.find(({ kind, map }) => kind === "inside" && map === this.layout);
    const path = this.lasso ?? step?.polygon;
    if (!path) return;
    context.beginPath();
    for (let k = 0; k < path.length; k += 2) context.lineTo(...on(path[k], path[k + 1]));
    if (!this.lasso) context.closePath();
    context.setLineDash([6, 4]);
    context.stroke();
    context.setLineDash([]);
  }

  drawLegend() {
    const { legend, ends } = this.coloured();
    if (legend) {
      this.legend.replaceChildren(
        ...legend.map(([name, rgb]) =>
          h("span", { title: name }, h("i", { style: { background: `rgb(${rgb})` } }), name),
        ),
      );
      return;
    }
    const [low, high] = ends.map((value) => h("span", { textContent: short(value) }));
    this.legend.replaceChildren(low, h("b", { style: { background: gradient(this.ramp) } }), high);
  }

  /** The place of an event on the canvas, in its own pixels. */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / box.width;
    return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
  }

  /** @param {number[]} place */
  toData([x, y]) {
    return [this.view.x + x / this.view.scale, this.view.y + y / this.view.scale];
  }

  /** @param {number[]} place */
  zoom([x, y], factor) {
    const [u, v] = this.toData([x, y]);
    const scale = this.view.scale * factor;
    this.view = { scale, x: u - x / scale, y: v - y / scale };
    this.draw();
  }

  listen() {
    const { sketch } = this;
    sketch.addEventListener("pointerdown", (event) => this.pressed(event));
    sketch.addEventListener("pointermove", (event) => this.dragged(event));
    sketch.addEventListener("pointerup", (event) => this.released(event));
    sketch.addEventListener("dblclick", () => this.showAll());
    const wheel = (event) => {
      if (!this.view) return;
      event.preventDefault();
      this.zoom(this.at(event), 1.0015 ** -event.deltaY);
    };
    sketch.addEventListener("wheel", wheel, { passive: false });
    const shift = (x, y) => () => this.shifted(x, y);
    const closer = (factor) => () =>
      this.view && (this.zoom([this.canvas.width / 2, this.canvas.height / 2], factor), true);
    keys(this.canvas, {
      ArrowLeft: shift(-1, 0),
      ArrowRight: shift(1, 0),
      ArrowUp: shift(0, -1),
      ArrowDown: shift(0, 1),
      "+": closer(1.25),
      "-": closer(0.8),
    });
    this.watcher = new ResizeObserver(() => this.showAll());
    this.watcher.observe(this.box);
  }

  pressed(event) {
    if (!this.view || event.button) return;
    this.sketch.setPointerCapture(event.pointerId);
    if (event.shiftKey) this.pan = { from: this.at(event), view: this.view };
    else this.lasso = [...this.toData(this.at(event))];
  }

  dragged(event) {
    if (this.pan) {
      const [x, y] = this.at(event);
      const { from, view } = this.pan;
      this.view = {
        ...this.view,
        x: view.x - (x - from[0]) / this.view.scale,
        y: view.y - (y - from[1]) / this.view.scale,
      };
      this.draw();
    } else if (this.lasso) {
      this.lasso.push(...this.toData(this.at(event)));
      this.drawSketch();
    }
  }

  released(event) {
    const drawn = this.lasso;
    this.lasso = this.pan = null;
    if (!drawn) return;
    if (drawn.length >= 2 * LASSO_POINTS) this.enclose(drawn);
    else this.choosePoint(this.at(event));
  }

  /** Select what lies within a polygon; its corners are rounded as the points are. */
  enclose(polygon) {
    this.store.set(
      withStep(this.store.selection, {
        kind: "inside",
        map: this.layout,
        polygon: polygon.map((value) => Math.fround(value)),
      }),
    );
  }

  /** The corners of the canvas, as data. */
  corners() {
    const { width, height } = this.canvas;
    return [
      [0, 0],
      [width, 0],
      [width, height],
      [0, height],
    ].flatMap((corner) => this.toData(corner));
  }

  choosePoint(place) {
    const best = nearestPoint(this.points, this.view, this.store.rows, place, CLICK_PIXELS);
    if (best >= 0) this.store.set({ selected: this.table.id(best), picked: [] });
  }

  shifted(x, y) {
    if (!this.view) return false;
    const { scale } = this.view;
    this.view = {
      scale,
      x: this.view.x + (x * this.canvas.width) / 10 / scale,
      y: this.view.y + (y * this.canvas.height) / 10 / scale,
    };
    this.draw();
    return true;
  }

  /** Called when the view comes into sight. */
  shown() {
    return this.load();
  }

  update(changed) {
    if (changed.has("columns")) {
      this.painted = null;
      this.drawControls();
    }
    if (this.node.isConnected && ["rows", "selected", "columns", "maps"].some((name) => changed.has(name))) this.draw();
  }

  close() {
    this.watcher.disconnect();
  }
}

/** @type {(context: Context) => View} */
export const scatterView = (context) => new ScatterView(context);
