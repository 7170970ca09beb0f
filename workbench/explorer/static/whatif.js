import { barsOf, enlarged } from "./bars.js";
import { button, h, problemOf } from "./dom.js";
import { mapPanels } from "./maps.js";
import { percent, short } from "./numbers.js";
import { fromRgb } from "./picture.js";

/** @import { Context } from "./types.d.ts" */

const PICTURE_SIDE = 160;
const NO_DIFFERENCE = "Moved, each place shows another part: the maps have no difference.";
const GROUPS = /** @type {[string, [string, string, number, number, number][]][]} */ ([
  [
    "light",
    [
      ["brightness", "brightness", -0.8, 0.8, 0.02],
      ["contrast", "contrast", -0.8, 0.8, 0.02],
      ["saturation", "saturation", -1, 2, 0.05],
      ["hue", "hue (degrees)", -180, 180, 1],
    ],
  ],
  [
    "quality",
    [
      ["blur", "blur (pixels)", 0, 8, 0.1],
      ["sharpness", "sharpness", 0, 1, 0.02],
      ["noise", "noise", 0, 0.5, 0.01],
      ["jpeg", "JPEG (100 less the quality)", 0, 99, 1],
    ],
  ],
  [
    "geometry",
    [
      ["rotate", "rotate (degrees)", -180, 180, 1],
      ["scale", "scale (share of the size)", -0.5, 1, 0.01],
      ["crop", "crop (share of the side)", 0, 0.7, 0.01],
    ],
  ],
]);
const MOVES = ["flip", "shift", "scale", "rotate", "crop"]; // changes after which a place of the map is another place of the image

/** The most probable class of some bars. */
const topOf = (bars) => bars.reduce((a, b) => (b.value > a.value ? b : a)).class;

/** What a change does to the answer, in words. */
export function changeWords(before, after, classes) {
  if (!before) return "";
  const [was, is] = [topOf(before), topOf(after)];
  const value = (bars, k) => bars.find((bar) => bar.class === k)?.value ?? 0;
  const moved = `${classes[was]} ${percent(value(before, was))} → ${percent(value(after, was))}`;
  return was === is ? `The answer stays ${classes[was]}: ${moved}.` : `The answer changes from ${classes[was]} to ${classes[is]}: ${moved}.`;
}

/** The maps before a change, after it, and the second less the first, those of one class together. */
export function withDifferences(before, after, images) {
  return after.flatMap((map) => {
    const was = before.find(({ target }) => target === map.target);
    if (!was?.values || !map.values) return [map];
    return [
      { ...was, title: `${map.title}, before`, image: images.before },
      { ...map, title: `${map.title}, after`, image: images.after },
      {
        ...map,
        title: `${map.title}, after less before`,
        image: images.after,
        kind: "Difference",
        ends: ["less", "more"],
        method: `difference ${map.target}`,
        signed: true,
        remark: "",
        residual: null,
        values: map.values.map((value, k) => value - was.values[k]),
      },
    ];
  });
}

/** What is said of the smallest changes: a text and the change for each that gives another answer, then the kinds that give none. */
export function flipWords(found, classes) {
  const flips = found.filter(({ change }) => change);
  const none = found.filter(({ change }) => !change).map(({ kind }) => kind);
  return {
    changes: flips.map(({ words, change, answer }) => ({ text: `${words}: ${classes[answer]}`, change })),
    none: none.length ? `No other answer by ${none.join(", ")}.` : "",
  };
}

/** Sliders that change the image, and what the model makes of it; a rectangle drawn on the image is greyed out. */
class WhatIf {
  /** @param {Context} context */
  constructor({ store, source, header }, detail, row, keep) {
    this.store = store;
    this.source = source;
    this.header = header;
    this.row = row;
    this.change = {};
    this.busy = false;
    this.again = false; // whether something changed while an answer was under way
    this.from = null; // where a rectangle begins, in shares of the side
    this.detail = detail;
    this.keep = keep; // of answers, in memory
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
    this.flips = h("ul", { className: "wb-flips", role: "status" });
    this.search = 0; // the latest search counts
    this.inputs = new Map(); // slider -> its number
    this.shown = new Set(["cutout", ...GROUPS.flatMap(([, some]) => some.map(([name]) => name))]); // a change without a slider ends when one moves
    const sliders = GROUPS.map(([name, some]) =>
      h("fieldset", {}, h("legend", { textContent: name }), some.map((slider) => this.slider(...slider))),
    );
    const bar = h(
      "div",
      { className: "wb-bar" },
      button("Reset", () => this.reset()),
      button("Smallest changes", () => this.smallest(), { title: "The smallest change of each kind that gives another answer" }),
      this.code,
    );
    const picture = h("div", { className: "wb-panel" }, h("b", { textContent: "draw to grey out" }), this.frame);
    this.node = h(
      "div",
      { className: "wb-whatif" },
      h("div", { className: "wb-columns" }, picture, h("div", { className: "wb-sliders" }, sliders, bar)),
      this.flips,
      this.result,
    );
  }

  label() {
    return this.store.table.value("label", this.store.table.position(this.row));
  }

  /** The smallest change of each kind that gives another answer, as the kernel finds it. */
  async smallest() {
    const mine = (this.search += 1);
    this.flips.replaceChildren(h("li", { textContent: "Looking for the smallest change of each kind …" }));
    try {
      const found = await this.source.flips(this.row);
      if (mine !== this.search || !this.flips.isConnected) return;
      const { changes, none } = flipWords(found, this.header.classes);
      const chip = ({ text, change }) => h("li", {}, button(text, () => this.take(change), { className: "wb-chip" }));
      this.flips.replaceChildren(...changes.map(chip), none && h("li", { textContent: none }));
    } catch (error) {
      this.flips.replaceChildren(h("li", {}, problemOf(error)));
    }
  }

  /** Make one change, and no other. */
  take(change) {
    for (const [input, shown] of this.inputs) {
      input.value = change[input.dataset.name] ?? 0;
      shown.textContent = short(Number(input.value));
    }
    this.mark.hidden = true;
    this.change = { ...change };
    this.ask();
  }

  slider(name, text, min, max, step) {
    const shown = h("output", { textContent: "0" });
    const input = h("input", { type: "range", min, max, step, value: 0, "aria-label": text, dataset: { name } });
    input.oninput = () => {
      this.change = Object.fromEntries(Object.entries(this.change).filter(([key]) => this.shown.has(key)));
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
      const found = await this.source.whatIf({ row: this.row, change: this.change, methods, layers });
      this.show(found, await this.before(found.maps));
    } catch (error) {
      this.result.replaceChildren(problemOf(error));
    }
    this.busy = false;
    if (this.again) this.ask();
  }

  /** The maps of the image as it is, of the classes and by the method of some maps; none where they can't be compared. */
  async before(maps) {
    const [first] = maps;
    const made = Object.values(this.change).flat().some(Boolean);
    if (!first || !made || MOVES.some((name) => this.change[name])) return [];
    const targets = maps.map(({ target }) => target);
    const spec = { row: this.row, methods: [first.method], layers: first.layer ? [first.layer] : [], targets };
    const found = await this.keep(JSON.stringify(spec), () => this.source.explain(spec));
    return found.maps.filter(({ model }) => !model);
  }

  show(found, before) {
    const image = fromRgb(found.rgb, ...found.shape);
    const label = this.label();
    const maps = withDifferences(before, found.maps, { before: this.detail.image, after: image });
    const { groups } = mapPanels(maps, image, this.header, { prefix: "changed image, " });
    const moved = MOVES.some((name) => this.change[name]);
    const picture = h(
      "div",
      { className: "wb-panel" },
      h("b", { textContent: "changed image" }),
      enlarged(image, PICTURE_SIDE, "changed image"),
    );
    const { classes } = this.header;
    const bars = (title, values) => h("div", {}, h("b", { textContent: title }), values ? barsOf(values, classes, label) : null);
    this.result.replaceChildren(
      picture,
      h("p", { className: "wb-note", textContent: changeWords(this.detail.bars, found.bars, classes) }),
      h("div", { className: "wb-beside" }, bars("before", this.detail.bars), bars("after", found.bars)),
      moved ? h("p", { className: "wb-note", textContent: NO_DIFFERENCE }) : "",
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

export const whatIfView = (context, detail, row, keep) => new WhatIf(context, detail, row, keep).node;
