import { h } from "./dom.js";
import { percent } from "./numbers.js";

/** A line with a name, a bar with its interval, and a note; choosing it filters the selection. */
export function line({ name, value, low, high, largest, note, on, choose }) {
  const at = (share) => `${(100 * share) / largest}%`;
  const known = value !== null;
  const bar = known
    ? [h("i", { style: { width: at(value) } }), h("b", { style: { left: at(low), width: at(high - low) } })]
    : [];
  const said = known
    ? `${name}: ${percent(value)}, 95 % interval ${percent(low)} to ${percent(high)}, ${note}`
    : `${name}: ${note}`;
  return h(
    "button",
    {
      type: "button",
      className: "wb-line",
      title: said,
      "aria-label": said,
      "aria-pressed": String(on),
      onclick: choose,
    },
    h("span", { textContent: name }),
    h("span", { className: "wb-rate" }, bar),
    h("span", { textContent: known ? percent(value) : "–" }),
    h("span", { className: "wb-note", textContent: note }),
  );
}

/** Whether a step is among those of the selection. */
export const hasStep = (store, wanted) =>
  store.selection.steps.some((step) => JSON.stringify(step) === JSON.stringify(wanted));

/** A view that is drawn anew when the selection's steps change. */
export function redrawn(node, draw) {
  draw();
  return { node, update: (changed) => changed.has("steps") && draw() };
}
