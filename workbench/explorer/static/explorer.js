import { calibrationView } from "./calibration.js";
import { classesView } from "./classes.js";
import { corruptionsView } from "./corruptions.js";
import { compareView } from "./compare.js";
import { cohortsView } from "./cohorts.js";
import { detailView } from "./detail.js";
import { button, h, redraw } from "./dom.js";
import { exportMenu } from "./exports.js";
import { helpBox } from "./help.js";
import { findingsView, takeFindings } from "./findings.js";
import { facetsView } from "./facets.js";
import { filterBar } from "./filters.js";
import { galleryView } from "./gallery.js";
import { mapGrid } from "./mapgrid.js";
import { matrixView } from "./matrix.js";
import { count, percent, wilson } from "./numbers.js";
import { rowsView } from "./rows.js";
import { scatterView } from "./scatter.js";
import { togetherView } from "./together.js";
import { tourOf } from "./tour.js";
import { deckOf } from "./triage.js";
import { whyStrip } from "./why.js";

/** @import { Context, View } from "./types.d.ts" */

/** Every view of the left side: its title, what makes it, and whether there is something to show. */
const VIEWS = /** @type {Record<string, [string, (context: Context) => View, (context: Context) => boolean]>} */ ({
  findings: ["Findings", findingsView, ({ source }) => Boolean(source.findings)],
  matrix: ["Matrix", matrixView, () => true],
  facets: ["Filter", facetsView, () => true],
  cohorts: ["Cohorts", cohortsView, ({ source }) => Boolean(source.cohorts)],
  map: ["Map", scatterView, ({ source }) => source.can.map],
  maps: ["Attributions", mapGrid, ({ source }) => source.can.maps],
  together: ["Selection", togetherView, ({ source }) => Boolean(source.group) && (source.can.maps || source.can.similar)],
  classes: ["Classes", classesView, () => true],
  calibration: ["Calibration", calibrationView, () => true],
  robustness: ["Robustness", corruptionsView, ({ header }) => Boolean(header.robustness)],
  compare: ["Compare", compareView, ({ header }) => Boolean(header.comparison)],
  table: ["Table", rowsView, () => true],
});

/** The figure of a view that has none called like it. */
const FIGURE_OF = { table: "gallery", robustness: "gallery", facets: "gallery", cohorts: "gallery", maps: "detail", together: "gallery" };

/** A note with what stands between backticks as code. */
const marked = (note) => note.split("`").map((part, place) => (place % 2 ? h("code", { textContent: part }) : part));

function accuracyWords({ rows, errors }) {
  const [low, high] = wilson(rows - errors, rows);
  return `: accuracy ${percent((rows - errors) / rows)} (95 % interval ${percent(low)} to ${percent(high)}), ${count(errors)} of ${count(rows)} images misclassified`;
}

/** All views around one store. */
class ExplorerView {
  /**
   * @param {HTMLElement} root
   * @param {Context} context
   */
  constructor(root, context) {
    this.root = root;
    this.store = context.store;
    this.source = context.source;
    this.tagKeys = Object.fromEntries(context.header.words.tags.map((word, k) => [String(k + 1), word]));
    this.names = Object.keys(VIEWS).filter((name) => VIEWS[name][2](context));
    this.views = Object.fromEntries(this.names.map((name) => [name, VIEWS[name][1](context)]));
    this.gallery = galleryView(context);
    this.detail = detailView(context);
    this.filters = filterBar(context);
    this.why = whyStrip(context);
    this.deck = context.source.decide ? deckOf(context, (change) => this.detail.decisions.make(change)) : null;
    this.help = helpBox();
    this.exports = exportMenu(context, () => FIGURE_OF[this.current] ?? this.current);
    this.build(context.header);
    this.open(this.names[0]);
    this.listen();
  }

  build(header) {
    this.tabs = h("div", { className: "wb-bar wb-tabs", role: "tablist", "aria-label": "Views" });
    this.left = h("div", { className: "wb-left", role: "tabpanel" });
    const title = h(
      "header",
      { className: "wb-title" },
      h("div", {}, h("b", { textContent: header.name }), accuracyWords(header)),
      h("div", { className: "wb-bar wb-tools" }, this.tools(), this.exports.node),
    );
    const notes = header.notes.map((note) => h("div", { className: "wb-banner" }, marked(note)));
    const top = h(
      "div",
      { className: "wb-top" },
      h("div", { className: "wb-side" }, this.tabs, this.left),
      h("div", { className: "wb-main" }, this.gallery.node),
      this.detail.node,
    );
    this.root.classList.add("wb");
    const boxes = [this.help, this.deck?.node].filter(Boolean);
    const tour = tourOf(this.root);
    this.root.replaceChildren(title, this.exports.text, ...notes, tour?.node ?? "", this.filters.node, top, ...boxes);
    this.filters.node.append(this.why.node);
    tour?.start();
  }

  tools() {
    const whole = document.fullscreenEnabled
      ? button("Full screen", () => this.wholeScreen(), { title: "Full screen, and back (F)" })
      : null;
    return [
      this.deck ? button("Review", () => this.deck.open(), { title: "Review the labels of the selected images one by one (R)" }) : null,
      whole,
      button("?", () => this.help.showModal(), { title: "Keys (?)", "aria-label": "Keys" }),
    ];
  }

  wholeScreen() {
    if (document.fullscreenElement === this.root) document.exitFullscreen();
    else this.root.requestFullscreen().catch(() => {}); // a host that forbids it leaves the explorer as it is
  }

  /** Show a view on the left. */
  open(name) {
    this.current = name;
    const tab = (key) =>
      button(VIEWS[key][0], () => this.open(key), {
        role: "tab",
        "aria-selected": String(key === name),
        tabIndex: key === name ? 0 : -1,
        dataset: { view: key },
      });
    redraw(this.tabs, this.names.map(tab));
    this.left.replaceChildren(this.views[name].node);
    this.left.setAttribute("aria-label", VIEWS[name][0]);
    this.views[name].shown?.();
  }

  listen() {
    this.tabs.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      this.open(this.names[(this.names.indexOf(this.current) + step + this.names.length) % this.names.length]);
      this.tabs.querySelector("[aria-selected=true]").focus();
    });
    this.root.addEventListener("keydown", (event) => {
      const typed = /** @type {Element} */ (event.target).matches("input, textarea, select");
      const taken = typed ? false : this.pressed(event);
      const command = event.ctrlKey || event.metaKey || event.altKey;
      if (taken || !command) event.stopPropagation(); // a plain key must not reach the notebook: d d deletes a cell there
      if (taken && taken !== "pressed") event.preventDefault();
    });
    /** @type {View[]} */
    const everything = [...Object.values(this.views), this.gallery, this.detail, this.filters, this.why];
    const leave = this.store.subscribe((changed) => {
      everything.forEach((view) => view.update(changed));
      if (changed.has("steps")) this.bring();
    });
    this.close = () => {
      leave();
      everything.forEach((view) => view.close?.());
    };
    this.bring();
  }

  /** Act on a key, wherever the focus is: whether it is taken; "pressed" for one that presses what has the focus. */
  pressed(event) {
    const { store, source, detail } = this;
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key.toLowerCase() === "z" && source.undo) {
      detail.decisions.travel(!event.shiftKey);
      return true;
    }
    if (!command && !event.altKey && this.tagKeys[event.key] && source.decide) {
      const tile = event.target.closest?.(".wb-tile"); // the image with the focus is the one that is meant
      if (tile && !store.selection.picked.length) store.set({ selected: Number(tile.dataset.row) });
      detail.decisions.flip(this.tagKeys[event.key]);
      return true;
    }
    const places = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!command && !event.altKey && places) return store.walk(places);
    const box = {
      "?": () => this.help.showModal(),
      r: () => this.deck?.open(),
      m: () => this.detail.maps.turn(),
      "+": () => detail.zoom.step(1),
      "=": () => detail.zoom.step(1), // where + needs Shift
      "-": () => detail.zoom.step(-1),
      0: () => detail.zoom.reset(),
      f: () => document.fullscreenEnabled && this.wholeScreen(),
    }[event.key.toLowerCase()];
    if (!command && !event.altKey && box) {
      box();
      return true;
    }
    if (!command && event.key === "Backspace") {
      store.undo();
      return true;
    }
    return ["Enter", " ", "Escape"].includes(event.key) && "pressed"; // Escape closes an open menu
  }

  /** Fetch the map or column that a filter needs and that is not there, as after a reload. */
  async bring() {
    const { store, source } = this;
    try {
      for (const step of store.selection.steps) {
        if (step.kind === "inside" && !store.maps[step.map] && source.can.map)
          store.addMap(step.map, await source.map(step.map));
        if (step.column && !store.table.columns[step.column] && source.findings && !store.table.columns.cause)
          takeFindings(store, await source.findings());
      }
    } catch (error) {
      this.filters.title.textContent = error.message;
    }
  }
}

/** Draw the explorer into `root`; what it returns takes it away. `source` answers what the browser does not know. */
export function explorer(root, context) {
  const view = new ExplorerView(root, context);
  root.dataset.ready = "yes";
  return view.close;
}
