import { button, h, redraw } from "./dom.js";
import { hasStep, line } from "./lines.js";
import { counted } from "./numbers.js";
import { withStep } from "./selection.js";

/** @import { Context, View } from "./types.d.ts" */

const NOTE =
  "Each error under the most specific finding that explains it, as a share of all errors. Each image gives its evidence.";

/** Take in the causes' evidence and column, for all views. */
export function takeCauses(store, { evidence, column }) {
  store.evidence = evidence;
  if (column) store.addColumn("cause", column);
}

/** The causes of the errors; they are looked for when the view is first shown. */
class CausesView {
  /** @param {Context} context */
  constructor({ store, source }) {
    this.store = store;
    this.source = source;
    this.summary = null;
    this.asked = false;
    this.node = h("div", { className: "wb-lines" });
  }

  async load() {
    this.asked = true;
    const status = h("p", { className: "wb-note", textContent: "Looking for the cause of every error …" });
    this.node.replaceChildren(status);
    try {
      const found = await this.source.causes((words) => (status.textContent = words));
      this.summary = found.summary;
      takeCauses(this.store, found);
      this.draw();
    } catch (error) {
      this.asked = false;
      this.node.replaceChildren(
        h("p", { className: "wb-problem", role: "alert", textContent: error.message }),
        button("Try again", () => this.load()),
      );
    }
  }

  draw() {
    if (!this.summary) return;
    const largest = Math.max(0.01, ...this.summary.map(({ high }) => high));
    redraw(
      this.node,
      h("p", { className: "wb-note", textContent: NOTE }),
      this.summary.flatMap((one) => this.linesOf(one, largest)),
    );
  }

  linesOf({ verdict, errors, share, low, high, action }, largest) {
    const { store } = this;
    const step = { kind: "any", column: "cause", values: [verdict] };
    const choose = () => store.set(withStep({ ...store.selection, wrong_only: true }, step));
    return [
      line({
        name: verdict,
        value: share,
        low,
        high,
        largest,
        note: counted(errors, "error"),
        on: hasStep(store, step),
        choose,
      }),
      h("div", { className: "wb-note wb-action", textContent: `→ ${action}` }),
    ];
  }

  /** Called when the view comes into sight. */
  shown() {
    if (!this.asked) this.load();
  }

  update(changed) {
    if (changed.has("steps")) this.draw();
  }
}

/** @type {(context: Context) => View} */
export const causesView = (context) => new CausesView(context);
