import { button, h, redraw } from "./dom.js";
import { stagedMap } from "./maps.js";
import { count } from "./numbers.js";
import { fromRgb } from "./picture.js";

/** @import { Context, View } from "./types.d.ts" */

const AT_A_TIME = 12; // images

/** Maps of many selected images at once: a row for each image, a column for each method and target. */
class MapGrid {
  /** @param {Context} context */
  constructor({ store, source, header }) {
    this.store = store;
    this.source = source;
    this.header = header;
    this.first = 0; // of the images shown, in the gallery's order
    this.number = 0; // of the request: a later one stops it
    this.node = h("div", { className: "wb-mapgrid" });
  }

  spec(row) {
    const { methods, layers, targets } = this.store.selection;
    return { row, methods, layers, targets };
  }

  async draw() {
    const mine = ++this.number;
    const { table, sequence } = this.store;
    const rows = [...sequence.slice(this.first, this.first + AT_A_TIME)].map((position) => table.id(position));
    const status = h("p", { className: "wb-note", role: "status" });
    const body = h("div", { className: "wb-maprows" });
    const turn = (places) => {
      this.first += places;
      this.draw();
    };
    redraw(
      this.node,
      h(
        "div",
        { className: "wb-bar" },
        button("‹", () => turn(-AT_A_TIME), { disabled: this.first === 0, "aria-label": "Earlier images" }),
        h("span", { textContent: `${count(Math.min(this.first + 1, sequence.length))} to ${count(this.first + rows.length)} of ${count(sequence.length)}` }),
        button("›", () => turn(AT_A_TIME), { disabled: this.first + AT_A_TIME >= sequence.length, "aria-label": "Later images" }),
        h("span", { className: "wb-note", textContent: "Methods, layers and targets as in the inspector. Each method has one scale over all images." }),
      ),
      status,
      body,
    );
    const found = [];
    try {
      for (const row of rows) {
        status.textContent = `Computing the maps: ${found.length} of ${rows.length} images …`;
        const [detail, { maps }] = [await this.source.detail(row), await this.source.explain(this.spec(row))];
        if (mine !== this.number || !this.node.isConnected) return;
        detail.image ??= detail.rgb ? fromRgb(detail.rgb, ...detail.shape) : null;
        found.push({ row, image: detail.image, maps });
        this.drawRows(body, found);
      }
      status.textContent = rows.length ? "" : "No image is selected.";
    } catch (error) {
      if (mine === this.number) status.textContent = error.stopped ? "Stopped." : error.message;
    }
  }

  /** All rows anew, as a later image may have the largest value. */
  drawRows(body, found) {
    const all = found.flatMap(({ maps }) => maps);
    const line = ({ row, image, maps }) => {
      const position = this.store.table.position(row);
      const [label, predicted] = ["label", "predicted"].map((name) => this.store.table.text(name, position));
      const words = label === predicted ? label : `${label} → ${predicted}`;
      const open = button("", () => this.store.look(row), { className: "wb-maprow-image", "aria-label": `Show image ${row}: ${words}` });
      if (image) {
        const canvas = h("canvas", { width: image.width, height: image.height });
        canvas.getContext("2d").putImageData(image, 0, 0);
        open.append(canvas);
      }
      open.append(h("span", { className: label === predicted ? "wb-note" : "wb-wrong", textContent: words }));
      return h("div", { className: "wb-maprow", dataset: { row } }, open, maps.map((map) => stagedMap(map, all, image, this.header, { brief: true })));
    };
    body.replaceChildren(...found.map(line));
  }

  /** Called when the view comes into sight. */
  shown() {
    this.draw();
  }

  update(changed) {
    if (changed.has("rows")) this.first = 0;
    if (["rows", "methods", "layers", "targets"].some((name) => changed.has(name)) && this.node.isConnected) this.draw();
  }

  close() {
    this.number += 1;
  }
}

/** @type {(context: Context) => View} */
export const mapGrid = (context) => new MapGrid(context);
