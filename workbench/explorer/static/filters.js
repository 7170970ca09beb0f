import { button, choice, h, menu, redraw, toggle } from "./dom.js";
import { stepWords, withStep } from "./selection.js";

/** @import { Context } from "./types.d.ts" */

/**
 * A bar that says what is selected, with each filter as a chip that removes it.
 * @param {Context} context
 */
export function filterBar({ store }) {
  const title = h("h3", { "aria-live": "polite", className: "wb-words" });
  const chips = h("div", { className: "wb-bar wb-chips" });
  const node = h("div", { className: "wb-selection" }, title, chips);

  function chip(step) {
    const words = stepWords(step, store.table);
    const remove = () => store.set({ steps: store.selection.steps.filter((other) => other !== step) });
    return button(`${words} ✕`, remove, { title: `Remove filter: ${words}`, className: "wb-chip" });
  }

  function draw() {
    const { steps, wrong_only } = store.selection;
    title.textContent = store.words;
    redraw(
      chips,
      button("↶ Undo", () => store.undo(), {
        disabled: !store.past.length,
        title: "Back to the selection before (Backspace)",
        "aria-label": "Undo the last filter change",
      }),
      button("↷ Redo", () => store.redo(), {
        disabled: !store.future.length,
        title: "Forward again",
        "aria-label": "Redo the filter change",
      }),
      toggle("Errors only", wrong_only, () => store.set({ wrong_only: !store.selection.wrong_only })),
      rangeFilter(store),
      tagFilter(store),
      steps.map(chip),
      steps.length > 1 ? button("Remove all filters", () => store.set({ steps: [] })) : null,
    );
  }
  draw();
  const watched = ["rows", "steps", "wrong_only", "decisions", "columns"];
  return { node, title, update: (changed) => watched.some((name) => changed.has(name)) && draw() };
}

/** Rows with one of the tags in use; null while there is none. */
function tagFilter(store) {
  const tags = [...new Set([...store.decisions.values()].flatMap(({ tags: words }) => words))].sort();
  if (!tags.length) return null;
  const chosen = store.selection.steps.find(({ kind }) => kind === "tags")?.words[0] ?? "";
  return choice("Tagged", [["", "any"], ...tags.map((word) => [word, word])], chosen, (word) => {
    const others = store.selection.steps.filter(({ kind }) => kind !== "tags");
    store.set({ steps: word ? [...others, { kind: "tags", words: [word] }] : others });
  });
}

/** Rows within a number's range. */
function rangeFilter(store) {
  const names = store.table.names("number").filter((name) => name !== "index");
  const [low, high] = ["from", "below"].map((text) =>
    h("input", { type: "number", step: "any", placeholder: text, "aria-label": text }),
  );
  const column = h(
    "select",
    { "aria-label": "Column" },
    names.map((name) => h("option", { value: name, textContent: store.table.columns[name].title })),
  );
  const value = (input) => (input.value === "" ? null : Number(input.value));
  const go = () => {
    if (value(low) === null && value(high) === null) return;
    store.set(withStep(store.selection, { kind: "range", column: column.value, low: value(low), high: value(high) }));
  };
  for (const input of [low, high]) {
    input.onkeydown = (event) => {
      event.stopPropagation();
      if (event.key === "Enter") go();
    };
  }
  return menu("Filter by …", column, low, high, button("Filter", go)).node;
}
