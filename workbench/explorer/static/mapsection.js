import { button, h, problemOf, redraw } from "./dom.js";
import { MapBar } from "./mapbar.js";
import { mapPanels, showVerdict, stagedMap } from "./maps.js";
import { STRENGTH } from "./picture.js";
import { plainOf } from "./variants.js";

/** @import { Context } from "./types.d.ts" */

const NO_MAP = "No map: a correct image has no other class to compare with.";
const REST_MS = 500; // the evidence waits until the eye has come to rest

/** The maps of the image shown: what is explained and how, the maps, and the evidence for each. */
class MapsSection {
  /** @param {Context} context */
  constructor({ store, source, header }, detail) {
    this.store = store;
    this.source = source;
    this.header = header;
    this.detail = detail; // the view that this is a section of
    this.strength = STRENGTH; // of the map beside the picture, 0 to 1
    /** @type {(() => void) | null} */
    this.staged = null; // draws that map anew
    this.own = false; // whether each map has its own scale
    this.controls = new MapBar(this);
    this.timer = 0;
    this.testing = false; // whether evidence is under way
    /** @type {HTMLElement | null} */
    this.bar = null; // the controls, drawn for `drawn`
    this.drawn = "";
    /** @type {(words: string) => void} */
    this.tell = () => {};
  }

  /** What is asked for now. */
  spec() {
    const { selected, methods, layers, targets } = this.store.selection;
    return { row: selected, methods, layers, targets };
  }

  request(spec) {
    const seen = (maps) => this.early(spec, maps);
    return this.detail.keep(JSON.stringify(spec), () => this.source.explain(spec, (words) => this.tell(words), seen));
  }

  /** Whether a question is about what is shown now. */
  isShown(spec) {
    return JSON.stringify(spec) === JSON.stringify(this.spec()) && this.detail.node.dataset.row === String(spec.row);
  }

  /** Draw the maps that are there while others are still computed. */
  early(spec, maps) {
    if (!this.isShown(spec)) return;
    if (!this.staged) this.stageFirst(maps);
    const place = this.detail.section === "maps" && this.detail.body.querySelector(".wb-families");
    if (place) place.replaceChildren(...this.panels(maps).groups);
  }

  panels(maps) {
    return mapPanels(maps, this.detail.detail.image, this.header, { own: this.own });
  }

  /** Draw the first of some maps beside the picture; where there is none say so. */
  stageFirst(maps) {
    const first = maps.find(({ values }) => values) ?? maps[0];
    if (!first) this.detail.stage.replaceChildren(h("p", { className: "wb-note", textContent: NO_MAP }));
    else this.staged = () => this.drawStaged(first, maps);
    this.staged?.();
  }

  /** Ask for the maps ahead of drawing them. */
  ask() {
    if (this.source.can.maps) this.request(this.spec()).catch(() => {}); // told when they are drawn
  }

  /** Whether one of the methods takes long. */
  isSlow() {
    const { methods } = this.store.selection;
    // with other settings a method may take much longer: it is treated as slow
    const slow = (name) => name !== plainOf(name) || this.source.methods.find((method) => method.name === name)?.slow;
    return methods.some(slow);
  }

  /** Draw the first map beside the picture. */
  async drawStage() {
    const { stage, number } = this.detail;
    if (!this.source.can.maps) {
      stage.replaceChildren(h("p", { className: "wb-note", textContent: this.whyNone() }));
      return;
    }
    const spec = this.spec();
    this.staged = null;
    stage.replaceChildren(h("div", { className: "wb-skeleton", "aria-hidden": "true" })); // never another image's map
    try {
      const found = await this.request(spec);
      if (number !== this.detail.number || JSON.stringify(spec) !== JSON.stringify(this.spec())) return;
      this.stageFirst(found.maps);
      this.detail.node.dataset.staged = String(spec.row);
    } catch (error) {
      const words = error.stopped ? "Stopped." : "No map."; // why stands among the maps below
      if (number === this.detail.number) stage.replaceChildren(h("p", { className: "wb-note", textContent: words, title: error.message }));
    }
  }

  /** The first map over its picture, with a slider for how strong it is. */
  drawStaged(map, maps) {
    const { stage, detail } = this.detail;
    const figure = () => stagedMap(map, maps, detail.image, this.header, { own: this.own, strength: this.strength });
    const shown = stage.querySelector("figure");
    if (shown) {
      shown.replaceWith(figure());
      stage.querySelector("input").value = String(this.strength);
      return;
    }
    const slider = h("input", { type: "range", min: 0, max: 1, step: 0.05, value: this.strength, "aria-label": "Strength of the map", title: "Strength of the map (M)" });
    slider.oninput = () => this.turn(Number(slider.value));
    slider.onkeydown = (event) => event.stopPropagation();
    stage.replaceChildren(figure(), map.values ? slider : "");
  }

  /** Show the map with a strength; without one: alone, then the picture alone, then over it. */
  turn(strength = null) {
    this.strength = strength ?? (this.strength === 1 ? 0 : this.strength === 0 ? STRENGTH : 1);
    this.staged?.();
  }

  /** Stop what is under way for the image shown before. */
  rest() {
    clearTimeout(this.timer);
    if (this.testing) this.source.stop?.("evidence");
    this.testing = false;
  }

  async draw() {
    const { body } = this.detail;
    if (!this.source.can.maps) {
      body.replaceChildren(h("p", { className: "wb-note", textContent: this.whyNone() }));
      return;
    }
    const [mine, spec] = [this.detail.number, this.spec()];
    const status = this.statusOf();
    const place = h("div", { className: "wb-families" });
    place.append(...body.querySelectorAll(".wb-families > *")); // the old ones stay until the new ones are there
    const wrong = this.store.table.value("correct", this.store.table.position(spec.row)) === 0;
    const drawn = JSON.stringify([spec.methods, spec.layers, spec.targets, wrong, this.own]);
    if (this.bar?.parentElement === body && drawn === this.drawn) {
      while (this.bar.nextSibling) this.bar.nextSibling.remove();
      body.append(status, place);
    } else this.drawAll(status, place);
    this.drawn = drawn;
    try {
      const found = await this.request(spec);
      if (mine === this.detail.number && this.detail.section === "maps" && place.isConnected)
        this.place(spec, found, place, status);
    } catch (error) {
      if (mine === this.detail.number) status.replaceChildren(error.stopped ? "Stopped." : problemOf(error));
    }
  }

  /** Controls, status and place of the maps anew; a menu that was open stays open. */
  drawAll(status, place) {
    this.bar = this.controls.draw((bar) => redraw(this.detail.body, bar, status, place));
  }

  whyNone() {
    if (this.source.noMaps) return this.source.noMaps;
    return `No maps: ${this.source.can.images ? "the model is" : "the images are"} not on this machine.`;
  }

  statusOf() {
    const status = h("p", { className: "wb-note", role: "status" });
    const slow = this.isSlow();
    status.textContent = slow ? "Computing the maps …" : "";
    if (slow)
      status.append(
        " ",
        button("Stop", () => this.source.stop("explain")),
      );
    this.tell = (words) => status.firstChild && (status.firstChild.textContent = words);
    return status;
  }

  place(spec, found, place, status) {
    const { row, methods, layers, targets } = spec;
    const { groups, chips } = this.panels(found.maps);
    status.textContent = found.maps.length ? "" : NO_MAP;
    place.replaceChildren(...groups);
    this.detail.node.dataset.maps = found.maps.length;
    this.detail.node.dataset.explained = `${row} ${methods} ${layers} ${targets}`;
    this.judge(spec, found, chips);
  }

  /** Show the verdicts that are known, and ask for the others once the eye rests. */
  judge(spec, found, chips) {
    if (!this.source.evidence) return;
    found.verdicts ??= new Map();
    const open = () => [...chips].filter(([place]) => !found.verdicts.has(place) && !found.maps[place].model);
    const show = (place) => showVerdict(chips.get(place), found.verdicts.get(place), this.header.words.verdicts);
    for (const place of chips.keys()) if (found.verdicts.has(place)) show(place);
    for (const [, chip] of open()) chip.textContent = "evidence: waiting …";
    if (!open().length) return;
    const mine = this.detail.number;
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      for (const [, chip] of open()) chip.textContent = "evidence: testing …";
      this.testing = true;
      try {
        await this.source.evidence(spec, (said) => {
          found.verdicts.set(said.place, said);
          if (mine === this.detail.number && chips.has(said.place)) show(said.place);
        });
      } catch (error) {
        if (!error.stopped && mine === this.detail.number)
          for (const [, chip] of open()) chip.textContent = `no evidence: ${error.message}`;
      }
      if (mine === this.detail.number)
        for (const [, chip] of open()) if (/testing/.test(chip.textContent)) chip.textContent = "";
      if (mine === this.detail.number) this.testing = false;
    }, REST_MS);
  }
}

export const mapsSection = (context, detail) => new MapsSection(context, detail);
