import { button, choice, download, h, redraw, toggle } from "./dom.js";
import { TAG_KEYS } from "./decisions.js";
import { detailView } from "./detail.js";
import { galleryView } from "./gallery.js";
import { matrixView } from "./matrix.js";
import { calibrationView, causesView, classesView, compareView, rowsView, takeCauses } from "./panels.js";
import { count, percent, wilson } from "./numbers.js";
import { scatterView } from "./scatter.js";
import { stepWords, withStep } from "./selection.js";

/** The rows of the selection as CSV, with what stands in the table. */
export function csvOf({ table, rows, decisions }) {
  const names = Object.keys(table.columns);
  // a spreadsheet must not take a word for a formula
  const plain = (text) => (/^[=+@\t\r-]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
  const quoted = (text) => (/[",\n\r]/.test(plain(text)) ? `"${plain(text).replaceAll('"', '""')}"` : plain(text));
  const cell = (name, k) => {
    const { kind, categories, values } = table.columns[name];
    return quoted(kind === "number" ? String(Number.isNaN(values[k]) ? "" : values[k]) : categories[values[k]]);
  };
  const lines = [[...names.map(quoted), "tags"].join(",")];
  for (const k of rows) lines.push([...names.map((name) => cell(name, k)), quoted((decisions.get(table.id(k))?.tags ?? []).join("; "))].join(","));
  return `${lines.join("\r\n")}\r\n`;
}

/** The note with what stands between backticks as code. */
const marked = (note) => note.split("`").map((part, place) => (place % 2 ? h("code", { textContent: part }) : part));

/** A bar that says what is selected, and goes back step by step. */
function selectionBar({ store, header }) {
  const title = h("h3", { "aria-live": "polite", className: "wb-words" });
  const chips = h("div", { className: "wb-bar wb-chips" });
  const node = h("div", { className: "wb-selection" }, title, chips);
  function update() {
    const { selection } = store;
    title.textContent = store.words;
    const steps = selection.steps.map((step) => {
      const words = stepWords(step, store.table);
      return button(`${words} ✕`, () => store.set({ steps: store.selection.steps.filter((other) => other !== step) }), { title: `Take back: ${words}`, className: "wb-chip" });
    });
    const tags = [...new Set([...store.decisions.values()].flatMap(({ tags: words }) => words))].sort();
    const undo = button("↶ Back", () => store.undo(), { disabled: !store.past.length, title: "Back to the selection before" });
    const redo = button("↷ Forth", () => store.redo(), { disabled: !store.future.length });
    const only = toggle("Errors only", selection.wrong_only, () => store.set({ wrong_only: !store.selection.wrong_only }));
    const tagged = tags.length ? choice("Tagged", [["", "any"], ...tags.map((word) => [word, word])], selection.steps.find(({ kind }) => kind === "tags")?.words[0] ?? "", (word) => {
      const without = store.selection.steps.filter(({ kind }) => kind !== "tags");
      store.set({ steps: word ? [...without, { kind: "tags", words: [word] }] : without });
    }) : null;
    redraw(chips, undo, redo, only, rangeOf(), tagged, ...steps, steps.length > 1 ? button("Clear all", () => store.set({ steps: [] })) : null);
  }

  /** Narrow by a number's range. */
  function rangeOf() {
    const names = store.table.names("number").filter((name) => name !== "index");
    const [low, high] = ["from", "below"].map((text) => h("input", { type: "number", step: "any", placeholder: text, "aria-label": text }));
    const column = h("select", { "aria-label": "Column" }, names.map((name) => h("option", { value: name, textContent: store.table.columns[name].title })));
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
    return h("details", { className: "wb-menu" }, h("summary", { textContent: "Narrow by …" }), h("div", {}, column, low, high, button("Narrow", go)));
  }
  update();
  return { node, update: (changed) => ["rows", "steps", "wrong_only", "decisions", "columns"].some((name) => changed.has(name)) && update() };
}

/** Figures, rows and code to take along. */
function exportMenu({ store, source, header }, viewOf) {
  const status = h("span", { className: "wb-note", role: "status" });
  const text = h("textarea", { className: "wb-code", readOnly: true, hidden: true, rows: 8, "aria-label": "Code that shows this again" });
  text.onkeydown = (event) => event.stopPropagation();
  const menu = h("details", { className: "wb-menu" }, h("summary", { textContent: "Export" }));
  const run = (words, work) => async () => {
    menu.open = false;
    status.textContent = `${words} …`;
    try {
      status.textContent = (await work()) ?? "";
    } catch (error) {
      status.textContent = error.message;
    }
  };
  const file = ({ name, bytes }) => {
    download(name, bytes);
    return `${name} downloaded`;
  };
  const rows = run("Writing the rows", () => file({ name: "rows.csv", bytes: csvOf(store) }));
  const items = [h("h6", { textContent: "rows" }), button("Selected rows (CSV)", rows)];
  if (source.figure) {
    const views = [["current", "this view"], ["gallery", "gallery"], ["detail", "images × methods × targets"]];
    for (const [key, name] of views) {
      const formats = ["png", "svg", "pdf"].map((format) => button(format.toUpperCase(), run("Drawing", async () => file(await source.figure(key === "current" ? viewOf() : key, format)))));
      items.push(h("h6", { textContent: `figure: ${name}` }), h("span", { className: "wb-group" }, formats));
    }
    items.push(h("h6", { textContent: "decisions" }));
    items.push(button("Tags and notes (CSV)", run("Writing", async () => file(await source.table("decisions")))));
    items.push(button("Fixes for training (JSON)", run("Writing", async () => file(await source.table("fixes")))));
    items.push(h("h6", { textContent: "code" }));
    items.push(
      button("Cell that shows this again", run("Writing", async () => {
        text.value = await source.code();
        text.hidden = false;
        text.select();
        return "Copy it into a cell.";
      })),
    );
  }
  menu.append(h("div", {}, items));
  return { node: h("div", { className: "wb-export" }, menu, status), text };
}

/** All views around one store. `source` answers what the browser does not know. */
export function explorer(root, { store, source, header }) {
  const context = { store, source, header };
  root.classList.add("wb");
  const makers = {
    matrix: ["Matrix", matrixView, true],
    map: ["Map", scatterView, source.can.map],
    classes: ["Classes", classesView, true],
    calibration: ["Calibration", calibrationView, true],
    causes: ["Causes", causesView, Boolean(source.causes)],
    compare: ["Compare", compareView, Boolean(header.comparison)],
    table: ["Table", rowsView, true],
  };
  const names = Object.keys(makers).filter((name) => makers[name][2]);
  const views = Object.fromEntries(names.map((name) => [name, makers[name][1](context)]));
  const gallery = galleryView(context);
  const detail = detailView(context);
  const bar = selectionBar(context);
  let current = "matrix";
  const tabs = h("div", { className: "wb-bar wb-tabs", role: "tablist", "aria-label": "Views" });
  const left = h("div", { className: "wb-left", role: "tabpanel" });
  const taken = exportMenu(context, () => (current === "table" ? "gallery" : current));

  function open(name, focus = false) {
    current = name;
    redraw(
      tabs,
      names.map((key) =>
        button(makers[key][0], () => open(key), { role: "tab", "aria-selected": String(key === current), tabIndex: key === current ? 0 : -1, dataset: { view: key } }),
      ),
    );
    left.replaceChildren(views[name].node);
    left.setAttribute("aria-label", makers[name][0]);
    views[name].shown?.();
    if (focus) tabs.querySelector("[aria-selected=true]").focus();
  }
  tabs.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    open(names[(names.indexOf(current) + step + names.length) % names.length], true);
  });

  const [low, high] = wilson(header.rows - header.errors, header.rows);
  const title = h(
    "header",
    { className: "wb-title" },
    h("div", {}, h("b", { textContent: header.name }), `: ${percent((header.rows - header.errors) / header.rows)} right (95 % interval ${percent(low)} to ${percent(high)}), ${count(header.errors)} of ${count(header.rows)} images wrong`),
    taken.node,
  );
  const notes = header.notes.map((note) => h("div", { className: "wb-banner" }, marked(note)));
  const top = h("div", { className: "wb-top" }, h("div", { className: "wb-side" }, tabs, left), h("div", { className: "wb-main" }, gallery.node));
  root.replaceChildren(title, taken.text, ...notes, bar.node, top, detail.node);
  open("matrix");

  // keys for tags work wherever the focus is among the images
  const { decisions } = detail;
  root.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea, select")) return;
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key.toLowerCase() === "z" && source.undo) decisions.travel(!event.shiftKey);
    else if (!command && !event.altKey && TAG_KEYS[event.key] && source.decide) {
      const tile = event.target.closest?.(".wb-tile"); // the image with the focus is the one that is meant
      if (tile && !store.selection.picked.length) store.set({ selected: Number(tile.dataset.row) });
      decisions.flip(TAG_KEYS[event.key]);
    }
    else if (!command && event.key === "Backspace") store.undo();
    else if (!["Enter", " ", "Escape"].includes(event.key)) return;
    else if (event.key !== "Escape") {
      event.stopPropagation(); // Enter presses what has the focus, and must not reach the notebook
      return;
    }
    event.stopPropagation();
    event.preventDefault();
  });

  /** Fetch the map or column that a step needs and that is not there, as after a reload. */
  const bring = async () => {
    for (const step of store.selection.steps) {
      if (step.kind === "inside" && !store.maps[step.map] && source.can.map) store.addMap(step.map, await source.map(step.map));
      if (step.column === "cause" && !store.table.columns.cause && source.causes) takeCauses(store, await source.causes());
    }
  };
  const brought = () => bring().catch((error) => (bar.node.querySelector(".wb-words").textContent = error.message));

  const everything = [...Object.values(views), gallery, detail, bar];
  const leave = store.subscribe((changed) => {
    everything.forEach((view) => view.update(changed));
    if (changed.has("steps")) brought();
  });
  brought();
  root.dataset.ready = "yes";
  return () => {
    leave();
    everything.forEach((view) => view.close?.());
  };
}
