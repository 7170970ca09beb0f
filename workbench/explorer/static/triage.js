import { barsOf, enlarged } from "./bars.js";
import { button, choice, download, h, problemOf, redraw } from "./dom.js";
import { stagedMap } from "./maps.js";
import { count, counted, percent } from "./numbers.js";
import { fromRgb } from "./picture.js";

/** @import { Context } from "./types.d.ts" */

const MOST_DETAILS = 40; // kept in memory
const [MODEL_SAYS, NEXT_CHOICE] = ["The model says", "The model's next choice"];
const MEANINGS = { yes: "the label is wrong", no: "the label is correct", unsure: "don't know" };

/** What the decision on a row answers to "is the label wrong?", by the tags of the answers; null while it answers nothing. */
export function answerOf(decision, answers) {
  if (!decision) return null;
  if (decision.label !== null) return "yes";
  return Object.keys(answers).find((what) => decision.tags.includes(answers[what])) ?? null;
}

/** The class that people prefer to the label, or else the most probable other one, and who suggests it. */
export function suggestion(bars, label) {
  const best = (value) => bars.reduce((a, b) => (value(b) > value(a) ? b : a), bars[0]);
  if (bars.some(({ votes }) => votes !== null)) {
    const people = best(({ votes }) => votes);
    const own = bars.find((bar) => bar.class === label)?.votes ?? 0;
    if (people.votes > own) return { label: people.class, by: "People prefer" };
  }
  const others = bars.filter((bar) => bar.class !== label);
  if (!others.length) return null;
  const model = others.reduce((a, b) => (b.value > a.value ? b : a));
  return { label: model.class, by: model.value > (bars.find((bar) => bar.class === label)?.value ?? 0) ? MODEL_SAYS : NEXT_CHOICE };
}

/** Accuracy with the labels that were corrected, before and after, and how many were. */
export function corrected({ table, decisions, header }) {
  let [labels, gained] = [0, 0];
  for (const [row, { label }] of decisions) {
    const position = table.position(row);
    if (label === null || position < 0 || label === table.value("label", position)) continue;
    labels += 1;
    const predicted = table.value("predicted", position);
    gained += Number(label === predicted) - Number(table.value("label", position) === predicted);
  }
  const right = header.rows - header.errors;
  return { labels, before: right / header.rows, after: (right + gained) / header.rows };
}

/** Rows one by one, large, with one question: is the label wrong? */
class Deck {
  /** @param {Context} context */
  constructor({ store, source, header }, decide) {
    this.store = store;
    this.source = source;
    this.header = header;
    this.decide = decide; // makes a change, and says whether it is kept
    this.rows = [];
    this.at = 0;
    this.seen = -1; // the row that is shown
    this.details = new Map();
    this.chosen = null; // the class that "wrong" corrects to
    this.build();
  }

  build() {
    this.title = h("h3", {});
    this.bar = h("i", {});
    this.body = h("div", { className: "wb-deck-body" });
    this.status = h("span", { className: "wb-note", role: "status" });
    this.node = h(
      "dialog",
      { className: "wb-deck", "aria-label": "Review labels one by one" },
      h("div", { className: "wb-head-line" }, this.title, button("✕", () => this.node.close(), { "aria-label": "Close the review" })),
      h("div", { className: "wb-progress", "aria-hidden": "true" }, this.bar),
      this.body,
      this.status,
    );
    this.node.addEventListener("keydown", (event) => this.pressed(event));
  }

  /** Begin with the rows of the gallery, in its order. */
  async open() {
    this.rows = [...this.store.sequence].map((position) => this.store.table.id(position));
    this.at = 0;
    this.status.textContent = "";
    this.node.showModal();
    if (!this.rows.length) {
      this.body.replaceChildren(h("p", { textContent: "No image is selected: remove a filter first." }));
      return;
    }
    try {
      if (this.source.decisions) this.store.replaceDecisions(await this.source.decisions()); // another person's, too
      const open = this.rows.findIndex((row) => this.answered(row) === null);
      this.at = open < 0 ? this.rows.length : open;
    } catch (error) {
      this.status.textContent = error.message;
    }
    await this.show();
  }

  pressed(event) {
    event.stopPropagation();
    if (/** @type {Element} */ (event.target).matches("select, input") || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      y: () => this.answer("yes"),
      n: () => this.answer("no"),
      d: () => this.answer("unsure"),
      u: () => this.undo(),
      ArrowLeft: () => this.go(-1),
      ArrowRight: () => this.go(1),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  answered(row) {
    return answerOf(this.store.decisions.get(row), this.header.words.answers);
  }

  go(places) {
    this.at = Math.min(this.rows.length, Math.max(0, this.at + places));
    return this.show();
  }

  async answer(what) {
    const row = this.rows[this.at];
    if (row === undefined || row !== this.seen) return; // what is not shown yet can't be judged
    const { [what]: tag, ...others } = this.header.words.answers;
    const label = what === "yes" && this.chosen !== null ? { label: this.chosen } : { clear_label: true };
    const kept = this.decide({ rows: [row], add: [tag], remove: Object.values(others), ...label });
    await this.go(1);
    await this.told(kept);
  }

  async undo() {
    const taken = this.decide(null);
    await this.go(-1);
    await this.told(taken);
    if (this.at < this.rows.length) await this.show(); // as it is without the decision
  }

  async told(kept) {
    const problem = await kept;
    this.status.textContent = problem;
    this.status.classList.toggle("wb-problem", Boolean(problem));
  }

  async show() {
    const answered = this.rows.filter((row) => this.answered(row) !== null).length;
    this.bar.style.width = `${(100 * answered) / Math.max(1, this.rows.length)}%`;
    const row = this.rows[this.at];
    if (row === undefined) {
      this.end();
      return;
    }
    const mine = this.at;
    try {
      const detail = await this.detail(row);
      if (mine !== this.at || !this.node.open) return;
      this.title.textContent = `${count(this.at + 1)} of ${count(this.rows.length)}`;
      this.draw(row, detail);
      this.seen = row;
      this.map(row, detail, mine);
      const next = this.rows[this.at + 1];
      if (next !== undefined) this.detail(next).catch(() => {}); // told when it is shown
    } catch (error) {
      if (mine === this.at) this.body.replaceChildren(problemOf(error));
    }
  }

  /** What is known of an image, from memory if it was asked for already. */
  detail(row) {
    if (!this.details.has(row)) {
      const answer = this.source.detail(row);
      this.details.set(row, answer);
      answer.catch(() => this.details.delete(row));
      if (this.details.size > MOST_DETAILS) this.details.delete(this.details.keys().next().value);
    }
    return this.details.get(row);
  }

  draw(row, detail) {
    const { table, decisions } = this.store;
    const position = table.position(row);
    const label = table.value("label", position);
    const image = (detail.image ??= detail.rgb ? fromRgb(detail.rgb, ...detail.shape) : null);
    const suggested = detail.bars ? suggestion(detail.bars, label) : null;
    const before = decisions.get(row);
    this.chosen = before?.label ?? suggested?.label ?? null;
    const said = this.answered(row);
    this.stage = h("div", { className: "wb-stage" });
    const picture = image
      ? enlarged(image, 320, `Image ${row}`)
      : h("p", { className: "wb-note", textContent: detail.problem ?? "No image on this machine." });
    const classes = this.header.classes.map((name, k) => [String(k), name]).filter(([k]) => Number(k) !== label);
    const wrong = choice("It should be", [["", "not said"], ...classes], this.chosen === null ? "" : String(this.chosen), (next) => {
      this.chosen = next === "" ? null : Number(next);
    });
    redraw(
      this.body,
      h("div", { className: "wb-pair wb-deck-pictures" }, h("div", { className: "wb-picture" }, picture), this.stage),
      h(
        "div",
        { className: "wb-deck-side" },
        h("h3", {}, "Is the label wrong? ", h("b", { textContent: this.header.classes[label] })),
        h("p", {
          className: "wb-note",
          textContent: suggested ? `${suggested.by}: ${this.header.classes[suggested.label]}` : "Nothing is suggested.",
        }),
        detail.bars ? barsOf(detail.bars, this.header.classes, label) : null,
        this.nearest(detail),
        wrong,
        h(
          "div",
          { className: "wb-bar wb-answers" },
          this.key("Wrong", "Y", "yes", said),
          this.key("Correct", "N", "no", said),
          this.key("Don't know", "D", "unsure", said),
          button("Undo (U)", () => this.undo()),
          button("‹", () => this.go(-1), { "aria-label": "Previous image", title: "Left arrow" }),
          button("›", () => this.go(1), { "aria-label": "Next image", title: "Right arrow" }),
        ),
      ),
    );
    this.node.dataset.row = String(row);
    if (!this.node.contains(document.activeElement) || document.activeElement === this.node) this.body.querySelector("button")?.focus();
  }

  key(text, letter, what, said) {
    return button(`${text} (${letter})`, () => this.answer(what), { "aria-pressed": String(said === what), title: MEANINGS[what] });
  }

  nearest({ nearest }) {
    const shown = nearest?.filter(({ rgb }) => rgb).slice(0, 4) ?? [];
    if (!shown.length) return null;
    const one = ({ rgb, shape, label, row }) =>
      h("figure", {}, enlarged(fromRgb(rgb, ...shape), 64, `train image ${row}: ${label}`), h("figcaption", { className: "wb-note", textContent: label }));
    return h("div", {}, h("h5", { textContent: "Nearest train images" }), h("div", { className: "wb-bar" }, shown.map(one)));
  }

  /** The map of the answer, once it is there: it holds nobody up. */
  async map(row, detail, mine) {
    if (!this.source.can.maps) return;
    const { methods, layers, targets } = this.store.selection;
    try {
      const { maps } = await this.source.explain({ row, methods: methods.slice(0, 1), layers, targets });
      const first = maps.find(({ values }) => values);
      if (first && mine === this.at && this.node.open) this.stage.replaceChildren(stagedMap(first, maps, detail.image, this.header));
    } catch (error) {
      if (mine === this.at) this.stage.replaceChildren(h("p", { className: "wb-note", textContent: error.message }));
    }
  }

  /** What the review came to. */
  end() {
    const answers = this.rows.map((row) => this.answered(row));
    const of = (what) => answers.filter((one) => one === what).length;
    this.title.textContent = `${counted(this.rows.length - of(null), "image")} of ${count(this.rows.length)} reviewed`;
    const { labels, before, after } = corrected({ ...this.store, header: this.header });
    const effect = labels
      ? `${counted(labels, "label")} of this run ${labels === 1 ? "is" : "are"} corrected: accuracy on corrected labels ` +
        `${percentOf(before)} → ${percentOf(after)}. Only labels that somebody looked at are corrected, so this is no ` +
        "estimate for those that nobody looked at."
      : "No label is corrected: accuracy stays as it is.";
    const table = (what) => async () => {
      try {
        const { name, bytes } = await this.source.table(what);
        download(name, bytes);
      } catch (error) {
        this.status.textContent = error.message;
      }
    };
    redraw(
      this.body,
      h(
        "div",
        { className: "wb-deck-side" },
        h("p", {
          textContent: `Wrong: ${count(of("yes"))}. Correct: ${count(of("no"))}. Don't know: ${count(of("unsure"))}. Not answered: ${count(of(null))}.`,
        }),
        h("p", { textContent: effect }),
        h(
          "div",
          { className: "wb-bar" },
          button("‹ Back", () => this.go(-1)),
          this.source.table ? button("Tags and notes (CSV)", table("decisions")) : null,
          this.source.can.fixes ? button("Fixes for training (JSON)", table("fixes")) : null,
          button("Close", () => this.node.close()),
        ),
      ),
    );
    delete this.node.dataset.row;
  }
}

/** Accuracy with two digits, since a few labels change no more. */
const percentOf = (share) => (Math.abs(share - 1) < 1e-12 ? percent(share) : `${(100 * share).toFixed(2)} %`);

export const deckOf = (context, decide) => new Deck(context, decide);
