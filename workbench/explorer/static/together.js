import { ConceptsBox } from "./concepts.js";
import { h, problemOf, redraw } from "./dom.js";
import { count } from "./numbers.js";
import { overlay, scaleOf } from "./picture.js";
import { paintThumbs, thumbOf } from "./thumbs.js";

/** @import { Context, View } from "./types.d.ts" */

const [FEWEST, MOST_ROWS] = [10, 200000]; // rows of which a mean map is asked for
const PAIRS = 12;
const MEAN_SIDE = 240;
const CHOICE_RESTS_MS = 400;
const LIKE_NOTE = "Beside each of the first images: the most similar correctly classified image of its true class, and of the predicted one (cosine of the last layer's features).";

/** The outline of a region as an SVG path over a square of its side. */
export function outlineOf(region, side) {
  const inside = (x, y) => x >= 0 && y >= 0 && x < side && y < side && region[y * side + x] === 1;
  const parts = [];
  for (let y = 0; y <= side; y++)
    for (let x = 0; x <= side; x++) {
      if (x < side && inside(x, y) !== inside(x, y - 1)) parts.push(`M${x} ${y}h1`);
      if (y < side && inside(x, y) !== inside(x - 1, y)) parts.push(`M${x} ${y}v1`);
    }
  return parts.join("");
}

/** What the selected images have in common: where the model looks, tested, and the correct images most like them. */
class Together {
  /** @param {Context} context */
  constructor({ store, source, header }) {
    this.store = store;
    this.source = source;
    this.header = header;
    this.timer = 0;
    this.number = 0; // of the selection asked about: an answer for an earlier one comes too late
    this.asked = null; // the rows that the view shows
    this.mapped = ""; // those that the mean map is of, in whatever order
    this.map = h("div", { className: "wb-together-map" });
    this.pairs = h("div", {});
    this.concepts = new ConceptsBox({ store, source, header });
    this.node = h("div", { className: "wb-together" }, this.map, this.concepts.node, this.pairs);
  }

  ids() {
    const { table, sequence } = this.store;
    return [...sequence].map((position) => table.id(position));
  }

  draw() {
    if (this.asked === this.store.rows) return;
    this.asked = this.store.rows;
    this.number += 1;
    if (this.source.can.similar) this.drawPairs();
    if (!this.source.can.maps) return;
    this.drawMap();
    this.concepts.draw();
  }

  async drawMap() {
    const rows = this.ids();
    const same = [...rows].sort((a, b) => a - b).join();
    if (same === this.mapped) return;
    this.mapped = same;
    const title = h("h5", { textContent: "Where the model looks in these images" });
    const status = h("p", { className: "wb-note", role: "status" });
    redraw(this.map, title, status);
    if (rows.length < FEWEST || rows.length > MOST_ROWS) {
      status.textContent = `Choose ${FEWEST} to ${count(MOST_ROWS)} images: a cell of the matrix, a finding, a cohort.`;
      return;
    }
    status.textContent = "Computing …";
    try {
      const found = await this.source.group(rows, (words) => (status.textContent = words));
      if (same === this.mapped) redraw(this.map, title, this.figure(found), found.sentences.map((words) => h("p", { textContent: words })));
    } catch (error) {
      if (same !== this.mapped) return;
      status.replaceChildren(error.stopped ? "Stopped." : problemOf(error));
      Object.assign(this, { mapped: "", asked: null }); // the next look asks again
    }
  }

  /** The mean map in colours, with the region that was filled in. */
  figure({ values, grid, signed, side, region, title, method, layer }) {
    const canvas = h("canvas", { width: MEAN_SIDE, height: MEAN_SIDE, role: "img", "aria-label": `Mean map, why ${title}` });
    const ramp = this.header.ramps[String(signed)];
    const pixels = overlay(null, values, grid, scaleOf([values], signed), signed, ramp, MEAN_SIDE, 1);
    canvas.getContext("2d").putImageData(new ImageData(pixels, MEAN_SIDE, MEAN_SIDE), 0, 0);
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${side} ${side}`);
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", outlineOf(region, side));
    svg.append(path);
    const words = `mean of ${[method, layer].filter(Boolean).join(" at ")}, why ${title}`;
    return h("figure", {}, h("div", { className: "wb-meanmap" }, canvas, svg), h("figcaption", { className: "wb-note", textContent: words }));
  }

  async drawPairs() {
    const mine = this.number;
    const rows = this.ids().slice(0, PAIRS);
    try {
      const { pairs } = await this.source.counterparts(rows);
      if (mine !== this.number) return;
      const head = ["selected", "most like it, of its true class", "most like it, of the predicted class"];
      redraw(
        this.pairs,
        h("h5", { textContent: "The most similar correct images" }),
        h("p", { className: "wb-note", textContent: rows.length ? LIKE_NOTE : "No image is selected." }),
        h("table", {}, h("thead", {}, h("tr", {}, head.map((words) => h("th", { scope: "col", textContent: words })))), h("tbody", {}, pairs.map((pair) => this.pair(pair)))),
      );
      await paintThumbs(this.source, this.pairs);
    } catch (error) {
      if (mine === this.number) redraw(this.pairs, problemOf(error));
    }
  }

  pair({ row, true: alike, predicted }) {
    const { table } = this.store;
    const correct = table.value("correct", table.position(row)) === 1;
    const cell = (...children) => h("td", {}, children);
    return h("tr", {}, cell(this.thumb(row)), cell(this.alike(alike)), correct ? cell(h("span", { className: "wb-note", textContent: "the same class" })) : cell(this.alike(predicted)));
  }

  alike(found) {
    if (!found) return h("span", { className: "wb-note", textContent: "no correct image of this class" });
    return this.thumb(found.row, found.similarity);
  }

  /** A picture that is shown in detail beside the selection, which stays as it is. */
  thumb(row, similarity = null) {
    return thumbOf(this.store, row, () => this.store.set({ selected: row, picked: [] }), { similarity });
  }

  /** Called when the view comes into sight. */
  shown() {
    this.draw();
  }

  update(changed) {
    if (!changed.has("rows")) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.node.isConnected && this.draw(), CHOICE_RESTS_MS); // once the hand rests
  }

  close() {
    clearTimeout(this.timer);
    this.number += 1;
  }
}

/** @type {(context: Context) => View} */
export const togetherView = (context) => new Together(context);
