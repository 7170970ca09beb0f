import { button, h, problemOf, redraw } from "./dom.js";
import { percent, short } from "./numbers.js";
import { overlay, scaleOf } from "./picture.js";
import { paintThumbs, thumbOf } from "./thumbs.js";

/** @import { Context } from "./types.d.ts" */

const [FEWEST_OF_CONCEPTS, MOST_OF_CONCEPTS] = [10, 20000]; // rows
const EXAMPLE_SIDE = 64;
const ACCOUNT_NOTE =
  "Bars: what each concept adds to the lead, mean over these images with its 95 % interval. The pictures show the concept most; where it lies is coloured, the strongest patch framed.";
const CONCEPTS_TITLE = "The concepts that decide";

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

/** The one pair of classes that all rows are of, [true, predicted] as numbers; null for several, or correct rows. */
export function pairOf(table, rows) {
  const [label, predicted] = [table.columns.label.values, table.columns.predicted.values];
  if (rows.length < FEWEST_OF_CONCEPTS || label[rows[0]] === predicted[rows[0]]) return null;
  const [t, p] = [label[rows[0]], predicted[rows[0]]];
  return rows.every((k) => label[k] === t && predicted[k] === p) ? [t, p] : null;
}

/** A frame around a patch, given by shares of the picture. */
function framePatch(context, [top, left, height, width]) {
  const box = [left, top, width, height].map((share) => share * EXAMPLE_SIDE);
  for (const [colour, line] of [["#000", 3], ["#fff", 1.5]]) Object.assign(context, { strokeStyle: colour, lineWidth: line }).strokeRect(box[0] + 1, box[1] + 1, box[2] - 2, box[3] - 2);
}

/** What decides in the selection, or between the two classes of a confusion: asked for by a button, as it takes a while. */
export class ConceptsBox {
  /** @param {Context} context */
  constructor({ store, source, header }) {
    this.store = store;
    this.source = source;
    this.header = header;
    this.known = new Map(); // pair or rows -> what was found
    this.key = "";
    this.node = h("div", { className: "wb-concepts" });
  }

  /** Show what is known of the selection's pair of classes or rows, or how to find it. */
  draw() {
    const { table, rows } = this.store;
    if (!this.source.concepts || rows.length < FEWEST_OF_CONCEPTS || rows.length > MOST_OF_CONCEPTS) {
      this.key = "";
      this.node.replaceChildren();
      return;
    }
    const pair = pairOf(table, rows)?.map((k) => this.header.classes[k]) ?? [];
    const ids = pair.length ? [] : [...rows].map((place) => table.id(place)).sort((a, b) => a - b);
    this.key = JSON.stringify([pair, ids]);
    if (this.known.has(this.key)) this.show(this.known.get(this.key));
    else {
      const text = pair.length ? `Why ${pair[1]} and not ${pair[0]}?` : "Which concepts decide in these images?";
      const ask = button(text, () => this.find(this.key, pair, ids), { title: "Find the concepts that decide: about half a minute" });
      redraw(this.node, h("h5", { textContent: CONCEPTS_TITLE }), h("p", { className: "wb-bar" }, ask));
    }
  }

  async find(key, pair, rows) {
    const status = h("p", { className: "wb-note", role: "status", textContent: "Looking for concepts …" });
    redraw(this.node, h("h5", { textContent: CONCEPTS_TITLE }), status);
    try {
      const found = await this.source.concepts(pair, rows, (words) => (status.textContent = words));
      this.known.set(key, found);
      if (this.key === key) this.show(found);
    } catch (error) {
      status.replaceChildren(error.stopped ? "Stopped." : problemOf(error));
    }
  }

  show(found) {
    const reach = Math.max(0.01, ...found.lines.flatMap((line) => [line.mean_low ?? line.mean, line.mean_high ?? line.mean].map(Math.abs)));
    const intro = `Of ${found.group} (layer ${found.layer}); the concepts account for ${percent(found.explained)} of the activations' squares.`;
    redraw(
      this.node,
      h("h5", { textContent: CONCEPTS_TITLE }),
      h("p", { textContent: `${found.sentence}.` }),
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
    const beside = found.beside ? [`${found.beside} ${signed(one.other_mean)}`] : [];
    const note = [...beside, without, `stability ${short(one.stability)}`].join("; ");
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
      h("div", { className: "wb-effect", role: "img", "aria-label": `${one.name}: adds ${added} to the lead; ${note}` }, h("b", { textContent: one.name }), axis, h("span", { textContent: added })),
      h("p", { className: "wb-note", textContent: note }),
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
        const context = canvas.getContext("2d");
        context.putImageData(new ImageData(pixels, EXAMPLE_SIDE, EXAMPLE_SIDE), 0, 0);
        framePatch(context, found.lines[place].patches[k]);
      });
    }
  }
}
