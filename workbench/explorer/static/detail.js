import { barsOf, enlarged } from "./bars.js";
import { decisionBar } from "./decisions.js";
import { button, h, problemOf, redraw, toggle } from "./dom.js";
import { historyOf } from "./history.js";
import { mapsSection } from "./mapsection.js";
import { count, short } from "./numbers.js";
import { fromRgb } from "./picture.js";
import { paintThumbs, thumbOf } from "./thumbs.js";
import { whatIfView } from "./whatif.js";
import { Zoom } from "./zoom.js";

/** @import { Context } from "./types.d.ts" */

const CHOOSE = "Choose an image to look closer.";
const MOST_ANSWERS = 200; // of the kernel, kept in memory
const ORIGINS_NOTE =
  "Influence: what a step of training on that image alone does to the lead, through the last layer (TracIn). Whether an answer hangs on them only a refit without them tells.";
const SECTIONS = {
  maps: ["Maps", () => true],
  what_if: ["What if", ({ source, detail }) => source.can.maps && source.whatIf && detail?.shape],
  history: ["Training history", ({ detail }) => detail?.history],
  similar: ["Similar images", ({ source }) => source.can.similar],
  nearest: ["Nearest train images", ({ detail }) => detail?.nearest?.length],
  origins: ["Train images behind it", (view) => view.source.can.origins && view.detail && view.isWrong()],
};

/** The size of an image, and the one at which the model sees it, if that is another. */
export function sizeWords({ shape, whole = shape }) {
  const [own, seen] = [whole, shape].map(([rows, columns]) => `${columns}×${rows}`);
  return own === seen ? `${own} pixels` : `${own} pixels, seen at ${seen}`;
}

/** One image: its picture, what the model answers, maps, and what else is known of it. */
class DetailView {
  /** @param {Context} context */
  constructor(context) {
    this.context = context;
    this.store = context.store;
    this.source = context.source;
    this.header = context.header;
    this.section = "maps";
    this.detail = null; // of the image shown
    this.number = 0; // of the image shown: an answer for an earlier one comes too late
    this.answers = new Map();
    this.decisions = decisionBar(context);
    this.build();
    this.maps = mapsSection(context, this);
    this.show();
  }

  build() {
    this.heading = h("h3", { textContent: CHOOSE });
    this.tabs = h("div", { className: "wb-bar wb-tabs", role: "group", "aria-label": "About this image" });
    this.picture = h("div", { className: "wb-picture" });
    this.bars = h("div", {});
    this.body = h("div", { className: "wb-section" });
    this.stage = h("div", { className: "wb-stage" });
    this.why = h("div", { className: "wb-why wb-quiet" });
    this.place = h("span", { className: "wb-note" });
    const step = (text, places, title) =>
      button(text, () => this.store.walk(places), { title, "aria-label": title.split(" (")[0] });
    this.walker = h(
      "span",
      { className: "wb-walker" },
      step("‹", -1, "Previous image (left arrow)"),
      this.place,
      step("›", 1, "Next image (right arrow)"),
      button("✕", () => this.store.set({ selected: -1 }), { className: "wb-shut", title: "Close", "aria-label": "Close" }),
    );
    this.pair = h("div", { className: "wb-pair" }, this.picture, this.stage);
    this.zoom = new Zoom(this.pair);
    this.node = h(
      "aside",
      { className: "wb-detail", "aria-label": "The image in detail" },
      h("div", { className: "wb-head-line" }, this.heading, this.walker),
      this.pair,
      this.bars,
      this.why,
      this.decisions.node,
      this.tabs,
      this.body,
    );
  }

  async show() {
    const { selected } = this.store.selection;
    const mine = ++this.number;
    this.maps.rest();
    this.decisions.update();
    this.node.classList.toggle("wb-none", selected < 0);
    if (selected < 0) {
      this.clear();
      return;
    }
    this.drawHeading(selected);
    this.maps.ask(); // at once; its failure is told below
    try {
      const found = await this.keep(`detail ${selected}`, () => this.source.detail(selected));
      if (mine !== this.number) return;
      this.detail = found;
    } catch (error) {
      if (mine === this.number) this.body.replaceChildren(problemOf(error));
      return;
    }
    this.drawPicture(selected);
    await Promise.all([this.maps.drawStage(), this.drawSection()]);
    if (mine === this.number) this.fetchAhead(selected);
  }

  /** Ask for what the images beside this one will show, one after another, unless another is shown by then. */
  async fetchAhead(row) {
    const mine = this.number;
    try {
      for (const next of this.store.beside(row)) {
        if (mine !== this.number) return;
        await this.keep(`detail ${next}`, () => this.source.detail(next));
        if (this.source.can.maps && !this.maps.isSlow()) await this.maps.request({ ...this.maps.spec(), row: next });
      }
    } catch {
      return; // told when that image is shown
    }
  }

  clear() {
    this.detail = null;
    this.heading.textContent = CHOOSE;
    [this.picture, this.stage, this.bars, this.why, this.body, this.tabs, this.place].forEach((part) => part.replaceChildren());
    delete this.tabs.dataset.drawn;
    delete this.node.dataset.row;
  }

  drawHeading(row) {
    const { table, evidence } = this.store;
    const position = table.position(row);
    const [label, predicted] = ["label", "predicted"].map((name) => table.text(name, position));
    const { sequence } = this.store;
    const at = sequence.indexOf(position);
    this.place.textContent = `${at < 0 ? "–" : count(at + 1)} / ${count(sequence.length)}`;
    const why = evidence?.[row];
    const words = `#${row}: ${label}, ${label === predicted ? "correct" : `predicted as ${predicted}`}`;
    this.heading.textContent = words;
    this.why.textContent = why ?? "";
    this.why.title = why ?? "";
  }

  drawPicture(row) {
    const { detail, header } = this;
    detail.image ??= detail.rgb ? fromRgb(detail.rgb, ...detail.shape) : null;
    const missing = () =>
      h("p", {
        className: detail.problem ? "wb-problem" : "wb-note",
        role: detail.problem ? "alert" : null,
        textContent: detail.problem || "No image on this machine.",
      });
    const picture = () => h("div", { className: "wb-zoom" }, enlarged(detail.image, 192, `Image ${row}`));
    this.zoom.reset();
    this.picture.replaceChildren(detail.image ? picture() : missing());
    if (detail.shape) this.picture.append(h("span", { className: "wb-note", textContent: sizeWords(detail) }));
    const label = this.label();
    this.bars.replaceChildren(detail.bars ? barsOf(detail.bars, header.classes, label) : "");
    if (detail.compared)
      this.bars.append(
        h("h5", { textContent: header.comparison.name }),
        barsOf(detail.compared, header.classes, label),
      );
    this.node.dataset.row = row;
  }

  async drawSection() {
    const names = Object.keys(SECTIONS).filter((key) => SECTIONS[key][1](this));
    if (!names.includes(this.section)) this.section = "maps";
    const tab = (key) =>
      toggle(SECTIONS[key][0], key === this.section, () => {
        this.section = key;
        this.drawSection();
      });
    const drawn = [this.section, ...names].join();
    if (drawn !== this.tabs.dataset.drawn) redraw(this.tabs, names.map(tab));
    this.tabs.dataset.drawn = drawn;
    try {
      await this.drawBody();
    } catch (error) {
      this.body.replaceChildren(problemOf(error));
    }
  }

  async drawBody() {
    const { body, detail, section } = this;
    if (section === "maps") await this.maps.draw();
    else if (section === "history") body.replaceChildren(historyOf(detail.history, this.header.classes, this.label()));
    else if (section === "nearest")
      body.replaceChildren(h("div", { className: "wb-panels" }, detail.nearest.map(trainPanel)));
    else if (section === "similar") await this.similar(body);
    else if (section === "origins") await this.origins(body);
    else body.replaceChildren(whatIfView(this.context, detail, this.store.selection.selected, (key, ask) => this.keep(key, ask)));
  }

  /** The images of the run that the model sees most alike. */
  async similar(body) {
    const { table, selection } = this.store;
    const { selected } = selection;
    const found = await this.keep(`similar ${selected}`, () => this.source.similar(selected));
    if (selected !== this.store.selection.selected || this.section !== "similar") return;
    const wrong = found.rows.filter((row) => table.position(row) >= 0 && !table.value("correct", table.position(row))).length;
    const note = `The ${count(found.rows.length)} images of this run whose features are most like this one's (cosine of the last layer's): ${count(wrong)} are misclassified.`;
    const words = `most similar to #${selected}`;
    const show = () =>
      this.store.set({ steps: [{ kind: "rows", rows: [selected, ...found.rows], words }], wrong_only: false });
    body.replaceChildren(
      h("p", { className: "wb-note", textContent: note }),
      h("div", { className: "wb-similar" }, found.rows.map((row, k) => thumbOf(this.store, row, () => this.store.look(row), { similarity: found.similarity[k] }))),
      h("p", {}, button("Show them in the gallery", show)),
    );
    await paintThumbs(this.source, body);
  }

  /** The train images that speak for the answer and against it. */
  async origins(body) {
    const { selected } = this.store.selection;
    const found = await this.keep(`origins ${selected}`, () => this.source.origins(selected));
    if (selected !== this.store.selection.selected || this.section !== "origins") return;
    const side = (words, rows) => [h("h5", { textContent: words }), h("div", { className: "wb-panels" }, rows.map(trainPanel))];
    body.replaceChildren(
      h("p", { className: "wb-note", textContent: ORIGINS_NOTE }),
      ...side(`Train images that speak for ${found.of} over ${found.over}`, found.for),
      ...side(`Train images that speak against it`, found.against),
    );
  }

  /** Whether the image shown is misclassified. */
  isWrong() {
    const { table, selection } = this.store;
    return table.value("correct", table.position(selection.selected)) === 0;
  }

  /** The label of the image shown, as a class number. */
  label() {
    const { table, selection } = this.store;
    return table.value("label", table.position(selection.selected));
  }

  /** The answer to a question, from memory if it is known or under way. */
  keep(key, ask) {
    if (!this.answers.has(key)) {
      const answer = ask();
      this.answers.set(key, answer);
      answer.catch(() => this.answers.delete(key));
      if (this.answers.size > MOST_ANSWERS) this.answers.delete(this.answers.keys().next().value);
    }
    return this.answers.get(key);
  }

  update(changed) {
    const { selected } = this.store.selection;
    if (changed.has("selected")) this.show();
    else {
      if (this.detail && ["methods", "layers", "targets"].some((name) => changed.has(name))) {
        this.maps.drawStage();
        if (this.section === "maps") this.maps.draw();
      }
      if (selected >= 0 && (changed.has("rows") || changed.has("columns"))) this.drawHeading(selected);
    }
    if (changed.has("decisions") || changed.has("picked")) this.decisions.update();
  }
}

function trainPanel({ row, label, predicted = label, similarity, score, rgb, shape, problem }) {
  const picture = rgb
    ? enlarged(fromRgb(rgb, ...shape), score === undefined ? 128 : 80, `train image ${row}: ${label}`)
    : problem
      ? h("span", { className: "wb-note", textContent: problem })
      : null;
  const note = h("span", { className: "wb-note", textContent: [`train #${row}`, ...(predicted === label ? [] : [`predicted as ${predicted}`]), score === undefined ? `similarity ${short(similarity)}` : `influence ${short(score)}`].join(", ") });
  return h("div", { className: "wb-panel" }, h("b", { textContent: label }), picture, note);
}

export const detailView = (context) => new DetailView(context);
