import { h } from "./dom.js";
import { explorer } from "./explorer.js";
import { Questions, kernelSource } from "./kernel.js";
import { Store, decisionsOf } from "./store.js";
import { Table, valuesOf } from "./table.js";

const PATIENCE_MS = 5000;
const GONE = "The kernel is gone, so nothing is saved any more. Run this cell again.";

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

/** After the connection changed: say so if the kernel does not answer within some seconds. */
function checkKernel(root, questions) {
  const clear = () => root.querySelector(".wb-gone")?.remove();
  const late = setTimeout(() => {
    questions.giveUp(new Error(GONE));
    clear();
    root.prepend(h("div", { className: "wb-banner wb-gone", textContent: GONE, role: "alert" }));
  }, PATIENCE_MS);
  const answered = () => {
    clearTimeout(late);
    clear();
  };
  questions.ask("ping").then(answered, () => {});
}

/** Draw the explorer of what the kernel sent; what is returned takes it away. */
function begin(root, model, questions, start, table) {
  // what a reopened notebook shows in its place is not needed now
  root
    .closest(".jp-OutputArea, .output_area, .jp-Cell")
    ?.querySelectorAll(".wb-fallback")
    .forEach((node) => (node.hidden = true));
  const store = new Store(start.header, table, decisionsOf(start.decisions));
  const source = kernelSource(questions, start);
  store.set(model.get("selection"), false);
  const close = explorer(root, { store, source, header: start.header });
  // the selection is one: here, in the kernel, and in every other view of this widget
  const follow = () => store.set(model.get("selection"), false);
  model.on("change:selection", follow);
  const mute = store.subscribe((changed) => {
    if (![...changed].some((name) => name in store.selection)) return;
    model.set("selection", { ...store.selection });
    model.save_changes();
  });
  root.log = questions.log;
  if (start.can.maps) source.warmUp().catch(() => {}); // the first question for a map reports its failure
  return () => {
    model.off("change:selection", follow);
    mute();
    close();
  };
}

async function render({ model, el }) {
  const root = h("div", { className: "wb", textContent: "Loading the run …" });
  el.append(root);
  const questions = new Questions(model);
  const columns = new Columns();
  let leave = () => {};
  let gone = false;
  const check = () => checkKernel(root, questions);
  model.on("comm_live_update", check);
  questions
    .ask("start", {}, columns.take)
    .then((start) => {
      if (!gone) leave = begin(root, model, questions, start, columns.table());
    })
    .catch((error) => {
      root.textContent = `The explorer could not start: ${error.message}`;
      root.classList.add("wb-problem");
    });
  return () => {
    gone = true;
    leave();
    model.off("comm_live_update", check);
    questions.close();
  };
}

export default { render };
