import { barsOf, enlarged } from "./bars.js";
import { button, h, problemOf } from "./dom.js";
import { mapPanels } from "./maps.js";
import { fromRgb } from "./picture.js";

/** @import { Context } from "./types.d.ts" */

const PICTURE_SIDE = 160;
const SLIDERS = [
  ["rotate", "rotate (degrees)", -180, 180, 1],
  ["crop", "crop (share of the side)", 0, 0.7, 0.01],
  ["blur", "blur (pixels)", 0, 8, 0.1],
  ["brightness", "brightness", -0.8, 0.8, 0.02],
  ["contrast", "contrast", -0.8, 0.8, 0.02],
  ["noise", "noise", 0, 0.5, 0.01],
];

/** Sliders that change the image, and what the model makes of it; a rectangle drawn on the image is greyed out. */
class WhatIf {
  /** @param {Context} context */
  constructor({ store, source, header }, detail, row) {
    this.store = store;
    this.source = source;
    this.header = header;
    this.row = row;
    this.change = {};
    this.busy = false;
    this.again = false; // whether something changed while an answer was under way
    this.from = null; // where a rectangle begins, in shares of the side
    this.build(detail);
    this.listen();
    this.ask();
  }

  build(detail) {
    this.original = enlarged(detail.image, PICTURE_SIDE, "Draw a rectangle to grey it out");
    this.mark = h("i", { hidden: true });
    this.frame = h("div", { className: "wb-cutout" }, this.original, this.mark);
    this.code = h("code", { className: "wb-note" });
    this.result = h("div", { className: "wb-columns wb-result" });
    this.inputs = new Map(); // slider -> its number
    const sliders = SLIDERS.map((slider) => this.slider(...slider));
    const bar = h(
      "div",
      { className: "wb-bar" },
      button("Reset", () => this.reset()),
      this.code,
    );
    const picture = h("div", { className: "wb-panel" }, h("b", { textContent: "draw to grey out" }), this.frame);
    this.node = h(
      "div",
      { className: "wb-whatif" },
      h("div", { className: "wb-columns" }, picture, h("div", { className: "wb-sliders" }, sliders, bar)),
      this.result,
    );
  }

  slider(name, text, min, max, step) {
    const shown = h("output", { textContent: "0" });
    const input = h("input", { type: "range", min, max, step, value: 0, "aria-label": text });
    input.oninput = () => {
      this.change[name] = Number(input.value);
      shown.textContent = input.value;
      this.ask();
    };
    this.inputs.set(input, shown);
    return h("label", { className: "wb-slider" }, h("span", { textContent: text }), input, shown);
  }

  reset() {
    for (const [input, shown] of this.inputs) {
      input.value = 0;
      shown.textContent = "0";
    }
    this.change = {};
    this.mark.hidden = true;
    this.ask();
  }

  /** Ask for the changed image and its answer; of changes meanwhile the last counts. */
  async ask() {
    this.again = this.busy;
    if (this.busy) return;
    this.busy = true;
    try {
      const { methods, layers } = this.store.selection;
      this.show(await this.source.whatIf({ row: this.row, change: this.change, methods, layers }));
    } catch (error) {
      this.result.replaceChildren(problemOf(error));
    }
    this.busy = false;
    if (this.again) this.ask();
  }

  show(found) {
    const image = fromRgb(found.rgb, ...found.shape);
    const label = this.store.table.value("label", this.store.table.position(this.row));
    const { groups } = mapPanels(found.maps, image, this.header, { prefix: "changed image, " });
    const picture = h(
      "div",
      { className: "wb-panel" },
      h("b", { textContent: "changed image" }),
      enlarged(image, PICTURE_SIDE, "changed image"),
    );
    this.result.replaceChildren(
      picture,
      barsOf(found.bars, this.header.classes, label),
      h("div", { className: "wb-families" }, groups),
    );
    this.result.dataset.code = this.code.textContent = found.code;
  }

  listen() {
    this.frame.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      this.frame.setPointerCapture(event.pointerId);
      this.from = this.share(event);
    });
    this.frame.addEventListener("pointermove", (event) => this.from && this.rectangle(this.share(event)));
    this.frame.addEventListener("pointerup", (event) => {
      if (!this.from) return;
      this.change.cutout = this.rectangle(this.share(event));
      this.from = null;
      this.ask();
    });
  }

  /** The place of an event on the image, in shares of its side. */
  share(event) {
    const box = this.original.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((value) =>
      Math.min(1, Math.max(0, value)),
    );
  }

  /** Draw the rectangle from where it began: left, top, width and height, in shares of the side. */
  rectangle(to) {
    const [left, top] = [0, 1].map((k) => Math.min(this.from[k], to[k]));
    const [width, height] = [0, 1].map((k) => Math.abs(this.from[k] - to[k]));
    this.mark.hidden = width * height === 0;
    Object.assign(this.mark.style, {
      left: `${100 * left}%`,
      top: `${100 * top}%`,
      width: `${100 * width}%`,
      height: `${100 * height}%`,
    });
    return [left, top, width, height];
  }
}

export const whatIfView = (context, detail, row) => new WhatIf(context, detail, row).node;
