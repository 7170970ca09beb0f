import { h } from "./dom.js";
import { explorer } from "./explorer.js";
import { Questions, columnsOf, kernelSource } from "./kernel.js";
import { Store, decisionsOf } from "./store.js";
import { Table, valuesOf } from "./table.js";

const BUSY_AFTER_MS = 1000;
const SELECTION_RESTS_MS = 50; // before the kernel is told
const PATIENCE_MS = 5000; // a kernel without other work answers within
const START_MS = 30000; // the first answer is large, and may come over a slow line
const GONE = "The kernel is gone, so nothing is saved any more. Run this cell again.";
const BUSY = "The kernel is busy with another cell. What you do here is answered when that is done.";

/** The columns that the kernel sends ahead of its first answer, in parts. */
class Columns {
  constructor() {
    this.parts = {};
    this.take = ({ part, column, bytes, first }, [data]) => {
      this.parts[part] ??= { column, data: new Uint8Array(bytes) };
      this.parts[part].data.set(data, first);
    };
  }

  table() {
    const whole = ([name, { column, data }]) => [name, { ...column, values: valuesOf(column.dtype, data) }];
    return new Table(Object.fromEntries(Object.entries(this.parts).map(whole)));
  }
}

const SILENT = "The kernel has not answered for some seconds: it is busy with another cell, or gone.";

/** What silence means, by what the host knows of the kernel: its words, and whether nothing will be answered any more. */
function silence(model) {
  const status = model.widget_manager?.kernel?.status;
  if (status === "busy") return { words: BUSY, gone: false };
  return status === undefined || status === "unknown" ? { words: SILENT, gone: false } : { words: GONE, gone: true };
}

const STATES = {
  live: "The kernel answers.",
  busy: "The kernel is at work. What you do here is answered after that.",
  restarting: "The kernel restarts: then run this cell again.",
  gone: GONE,
};

/** What the host knows of the kernel, as one of `STATES`; of a host that tells nothing it is live until it is silent. */
export function kernelState(status, live = true) {
  if (!live || ["dead", "terminating"].includes(status)) return "gone";
  if (["restarting", "autorestarting", "starting"].includes(status)) return "restarting";
  return status === "busy" ? "busy" : "live";
}

/** A dot that tells how the kernel is, beside the title; what is returned ends that. */
function kernelDot(root, model) {
  const dot = h("i", { className: "wb-dot", role: "img" });
  const kernel = model.widget_manager?.kernel;
  let lost = false; // a kernel that was restarted knows nothing of this widget any more
  let late = 0;
  const draw = (rested = false) => {
    lost ||= ["restarting", "autorestarting", "dead"].includes(kernel?.status);
    let state = lost && kernel?.status === "idle" ? "gone" : kernelState(kernel?.status, model.comm_live !== false);
    clearTimeout(late);
    if (state === "busy" && !rested) {
      late = setTimeout(() => draw(true), BUSY_AFTER_MS); // every answer makes it busy for a moment
      state = "live";
    }
    Object.assign(dot.dataset, { state });
    dot.title = STATES[state];
    dot.setAttribute("aria-label", STATES[state]);
  };
  const changed = () => draw();
  draw();
  root.querySelector(".wb-title")?.prepend(dot);
  kernel?.statusChanged?.connect(changed);
  model.on("comm_live_update", changed);
  return () => {
    clearTimeout(late);
    kernel?.statusChanged?.disconnect(changed);
    model.off("comm_live_update", changed);
  };
}

/** While the kernel does not answer: say whether it is busy, or after `patience` gone; what is returned ends that. */
function watchKernel(root, model, questions, patience = PATIENCE_MS) {
  const since = Date.now();
  let late = 0;
  const say = (words, gone = false) => {
    root.querySelector(".wb-kernel")?.remove();
    const className = `wb-banner wb-kernel${gone ? " wb-gone" : ""}`;
    if (words) root.prepend(h("div", { className, textContent: words, role: "alert" }));
  };
  const wait = () => {
    late = setTimeout(() => {
      const { words, gone } = silence(model);
      const over = gone && Date.now() - since >= patience;
      if (over) questions.giveUp(new Error(GONE));
      else wait();
      if (over || !gone) say(words, gone);
    }, PATIENCE_MS);
  };
  const end = () => clearTimeout(late);
  const answered = () => {
    end();
    say("");
  };
  wait();
  questions.ask("ping").then(answered, () => {}); // one that can't be asked is not answered
  return end;
}

/** What a reopened notebook shows in place of an explorer. */
const fallbackOf = (root) => [
  ...(root.closest(".jp-OutputArea, .output_area, .jp-Cell")?.querySelectorAll(".wb-fallback") ?? []),
];

/** Draw the explorer of what the kernel sent; what is returned takes it away. */
function begin(root, model, questions, start, table, thumbnails, failed) {
  fallbackOf(root).forEach((node) => (node.hidden = true)); // not needed now
  const store = new Store(start.header, table, decisionsOf(start.decisions));
  const source = kernelSource(questions, start, thumbnails);
  store.set(model.get("selection"), false);
  const close = explorer(root, { store, source, header: start.header });
  const undot = kernelDot(root, model);
  // the selection is one: here, in the kernel, and in every other view of this widget
  let unsaved = 0;
  const follow = () => unsaved || store.set(model.get("selection"), false); // what was chosen here since is newer
  model.on("change:selection", follow);
  questions.settle = () => {
    if (!unsaved) return;
    clearTimeout(unsaved);
    model.set("selection", { ...store.selection });
    unsaved = 0; // after it, as the model tells of every change, also of this one
    model.save_changes();
  };
  const mute = store.subscribe((changed) => {
    if (![...changed].some((name) => name in store.selection)) return;
    clearTimeout(unsaved);
    unsaved = setTimeout(questions.settle, SELECTION_RESTS_MS); // what is on the screen comes first
  });
  root.log = questions.log;
  if (failed) source.decisions().then((decisions) => store.replaceDecisions(decisions), failed); // since the widget was made
  if (start.can.maps) source.warmUp().catch(() => {}); // the first question for a map reports its failure
  return () => {
    model.off("change:selection", follow);
    mute();
    questions.settle();
    undot();
    close();
  };
}

/** Wait until a node stands in the document, as the copy that the notebook keeps beside it can't be found before. */
async function placed(node, over) {
  while (!node.isConnected && !over()) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function render({ model, el }) {
  const root = h("div", { className: "wb", textContent: "Loading the run …" });
  el.append(root);
  const questions = new Questions(model);
  const columns = new Columns();
  let leave = () => {};
  let gone = false;
  let rest = () => {};
  const check = (patience = PATIENCE_MS) => {
    rest(); // of several checks the latest counts
    rest = watchKernel(root, model, questions, patience);
  };
  const changed = () => check();
  model.on("comm_live_update", changed);
  const failed = (error) => {
    leave();
    leave = () => {};
    fallbackOf(root).forEach((node) => Object.assign(node, { hidden: false, open: true }));
    root.textContent = `The explorer could not start: ${error.message}`;
    root.classList.add("wb-problem");
  };
  const { start, columns: own, thumbnails = null } = model.get("first") ?? {};
  const begun = start
    ? placed(root, () => gone).then(() => {
        if (!gone) leave = begin(root, model, questions, start, new Table(columnsOf(own)), thumbnails, failed);
      })
    : questions.ask("start", {}, columns.take).then((answer) => {
        if (!gone) leave = begin(root, model, questions, answer, columns.table());
      });
  begun.catch(failed);
  check(START_MS);
  return () => {
    gone = true;
    leave();
    rest();
    model.off("comm_live_update", changed);
    questions.close();
  };
}

export default { render };
