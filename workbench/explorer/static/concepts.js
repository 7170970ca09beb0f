import { button, h, problemOf, redraw } from "./dom.js";
import { percent, short } from "./numbers.js";
import { overlay, scaleOf } from "./picture.js";
import { paintThumbs, thumbOf } from "./thumbs.js";

/** @import { Context } from "./types.d.ts" */

const FEWEST_ERRORS = 10;
const EXAMPLE_SIDE = 64;
const ACCOUNT_NOTE =
  "Bars: what each concept adds to the lead, mean over these errors with its 95 % interval. The pictures show the concept most; where it lies is coloured.";

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

/** The one pair of classes that all rows are of, [true, predicted] as numbers; null for several, or correct rows. */
export function pairOf(table, rows) {
  const [label, predicted] = [table.columns.label.values, table.columns.predicted.values];
  if (rows.length < FEWEST_ERRORS || label[rows[0]] === predicted[rows[0]]) return null;
  const [t, p] = [label[rows[0]], predicted[rows[0]]];
  return rows.every((k) => label[k] === t && predicted[k] === p) ? [t, p] : null;
}

/** The account in one line: "dog leads cat by 1.66 = concept 4 +1.45 …". */
export function accountWords({ predicted, true: label, margin, rest, constant, lines }) {
  const parts = [...lines.map(({ name, mean }) => `${name} ${signed(mean)}`), `rest ${signed(rest)}`, `constant ${signed(constant)}`];
  return `${predicted} leads ${label} by ${signed(margin).replace("+", "")} logits: ${parts.join(", ")}.`;
}

/** What decides between the two classes of a confusion: asked for by a button, as it takes a while. */
export class ConceptsBox {
  /** @param {Context} context */
  constructor({ store, source, header }) {
    this.store = store;
    this.source = source;
    this.header = header;
    this.known = new Map(); // pair -> what was found
    this.pair = null;
    this.node = h("div", { className: "wb-concepts" });
  }

  /** Show what is known of the selection's pair of classes, or how to find it. */
  draw() {
    this.pair = pairOf(this.store.table, this.store.rows);
    if (!this.pair || !this.source.concepts) {
      this.node.replaceChildren();
      return;
    }
    const key = this.pair.join();
    if (this.known.has(key)) this.show(this.known.get(key));
    else {
      const [t, p] = this.pair.map((k) => this.header.classes[k]);
      const ask = button(`Why ${p} and not ${t}?`, () => this.find(key, t, p), { title: "Find the concepts that decide: about half a minute" });
      redraw(this.node, h("h5", { textContent: "The concepts that decide" }), h("p", { className: "wb-bar" }, ask));
    }
  }

  async find(key, label, predicted) {
    const status = h("p", { className: "wb-note", role: "status", textContent: "Looking for concepts …" });
    redraw(this.node, h("h5", { textContent: "The concepts that decide" }), status);
    try {
      const found = await this.source.concepts(label, predicted, (words) => (status.textContent = words));
      this.known.set(key, found);
      if (this.pair?.join() === key) this.show(found);
    } catch (error) {
      status.replaceChildren(error.stopped ? "Stopped." : problemOf(error));
    }
  }

  show(found) {
    const reach = Math.max(0.01, ...found.lines.flatMap((line) => [line.mean_low ?? line.mean, line.mean_high ?? line.mean].map(Math.abs)));
    const intro = `Of ${found.errors} errors (layer ${found.layer}); the concepts account for ${percent(found.explained)} of the activations' squares.`;
    redraw(
      this.node,
      h("h5", { textContent: "The concepts that decide" }),
      h("p", { textContent: accountWords(found) }),
      h("p", { className: "wb-note", textContent: `${intro} ${ACCOUNT_NOTE}` }),
      found.lines.map((line, place) => this.line(found, line, place, reach)),
    );
    this.paint(found);
  }

  line(found, one, place, reach) {
    const at = (value) => `${50 + (50 * value) / reach}%`;
    const [low, high] = [one.mean_low ?? one.mean, one.mean_high ?? one.mean];
    const added = `${signed(one.mean)} (${signed(low)} to ${signed(high)})`;
    const without = one.needed
      ? `without it ${percent(one.changed)} of the answers change, without as much of random directions ${percent(one.control)}`
      : "that the answers depend on it is not shown";
    const words = `${one.name}: adds ${added} to ${found.predicted}; in correct images of ${found.true} ${signed(one.other_mean)}; ${without}; stability ${short(one.stability)}`;
    const axis = h(
      "span",
      { className: "wb-axis" },
      h("u", { style: { left: "50%" } }),
      h("i", { style: { left: at(low), width: `calc(${at(high)} - ${at(low)})` } }),
      h("b", { style: { left: at(one.mean) } }),
    );
    return h(
      "div",
      { className: "wb-concept", dataset: { concept: one.name } },
      h("div", { className: "wb-effect", role: "img", "aria-label": words }, h("b", { textContent: one.name }), axis, h("span", { textContent: added })),
      h("p", { className: "wb-note", textContent: `in correct images of ${found.true} ${signed(one.other_mean)}; ${without}; stability ${short(one.stability)}` }),
      h(
        "span",
        { className: "wb-strip", dataset: { place } },
        one.rows.map((row) => thumbOf(this.store, row, () => this.store.set({ selected: row, picked: [] }), { brief: true })),
      ),
    );
  }

  /** The examples, coloured where they show the concept. */
  async paint(found) {
    if (!this.source.can.images) return;
    await paintThumbs(this.source, this.node);
    const [rows, columns] = found.grid;
    const size = rows * columns;
    const ramp = this.header.ramps.false;
    for (const strip of /** @type {NodeListOf<HTMLElement>} */ (this.node.querySelectorAll(".wb-strip"))) {
      const place = Number(strip.dataset.place);
      const canvases = [...strip.querySelectorAll("canvas")];
      const maps = canvases.map((_, k) => found.values.subarray((place * canvases.length + k) * size, (place * canvases.length + k + 1) * size));
      const top = scaleOf(maps, false);
      canvases.forEach((canvas, k) => {
        const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const pixels = overlay(image, maps[k], [rows, columns], top, false, ramp, EXAMPLE_SIDE, 0.5);
        Object.assign(canvas, { width: EXAMPLE_SIDE, height: EXAMPLE_SIDE });
        canvas.getContext("2d").putImageData(new ImageData(pixels, EXAMPLE_SIDE, EXAMPLE_SIDE), 0, 0);
      });
    }
  }
}
