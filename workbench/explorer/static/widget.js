import { explorer } from "./explorer.js";
import { fromRgb } from "./picture.js";
import { Store } from "./store.js";
import { Table, valuesOf } from "./table.js";
import { Thumbnails } from "./thumbnails.js";

const bytesOf = (buffer) => (buffer instanceof DataView ? new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength) : new Uint8Array(buffer));

/** Questions to the kernel, each with its promise; parts and progress come before the answer. */
function kernel(model) {
  const open = new Map();
  const view = `${Date.now().toString(36)}${Math.random().toString(36).slice(2)}`; // every view of a widget hears all answers
  let last = 0;
  const log = { messages: 0, bytes: 0 };
  const receive = (content, buffers) => {
    log.messages += 1;
    log.bytes += buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0);
    const question = open.get(content.id);
    if (!question) return;
    if (content.part !== undefined || content.progress !== undefined) {
      question.early?.(content, buffers.map(bytesOf));
      return;
    }
    open.delete(content.id);
    if (content.error !== undefined || content.stopped) {
      question.reject(Object.assign(new Error(content.error ?? "stopped"), { trace: content.trace, stopped: content.stopped }));
    } else question.resolve({ ...content, buffers: buffers.map(bytesOf) });
  };
  model.on("msg:custom", receive);
  const ask = (name, content = {}, early = null) =>
    new Promise((resolve, reject) => {
      const id = `${view}:${++last}`;
      open.set(id, { name, resolve, reject, early });
      log.messages += 1;
      model.send({ id, ask: name, ...content });
    });
  /** Give up waiting: for questions of one name, or for all of them. */
  const giveUp = (error, name = null) => {
    for (const [id, question] of open) {
      if (name !== null && question.name !== name) continue;
      open.delete(id);
      question.reject(error);
    }
  };
  const stop = (job) => {
    giveUp(Object.assign(new Error("stopped"), { stopped: true }), job);
    return ask("stop", { job }).catch(() => {}); // a kernel that is gone has stopped
  };
  return { ask, stop, giveUp, log, close: () => model.off("msg:custom", receive) };
}

const words = (tell) => (content) => content.progress && tell?.(content.progress);

/** What the views may ask for, answered by the kernel. */
function kernelSource({ ask, stop }, start) {
  const maps = ({ maps: said, buffers }) => {
    let next = 0;
    const values = (map) => (map.refused ? null : new Float32Array(buffers[next].buffer.slice(buffers[next].byteOffset, buffers[next++].byteOffset + 4 * map.grid[0] * map.grid[1])));
    return said.map((map) => ({ ...map, values: values(map) }));
  };
  const file = ({ name, buffers }) => ({ name, bytes: buffers[0] });
  const pictures = async (ids) => {
    const { rows, missing, shape, buffers } = await ask("thumbnails", { rows: ids });
    const found = new Map(missing.map((id) => [id, null]));
    const size = 3 * shape[0] * shape[1];
    rows.forEach((id, k) => found.set(id, fromRgb(buffers[0].subarray(k * size, (k + 1) * size), ...shape)));
    return found;
  };
  return {
    can: start.can,
    methods: start.methods,
    layers: start.layers,
    keeps: start.kept,
    thumbnails: new Thumbnails(pictures),
    async detail(row) {
      const found = await ask("detail", { row });
      const buffers = [...found.buffers];
      const rgb = found.shape ? buffers.shift() : null;
      const [nearest] = buffers;
      let taken = 0;
      const pictured = found.nearest.map((one) => {
        if (!one.shape) return one;
        const size = 3 * one.shape[0] * one.shape[1];
        return { ...one, rgb: nearest.subarray(taken, (taken += size)) };
      });
      return { ...found, rgb, nearest: pictured };
    },
    explain: async (what, tell) => ({ maps: maps(await ask("explain", { ...what, second: start.can.compare }, words(tell))) }),
    evidence: (what, tell) => ask("evidence", what, (content) => content.verdict && tell(content)),
    async whatIf(what) {
      const found = await ask("what_if", what);
      const [rgb, ...buffers] = found.buffers;
      return { ...found, rgb, maps: maps({ maps: found.maps, buffers }) };
    },
    async causes(tell) {
      const { column, summary, evidence, buffers } = await ask("causes", {}, words(tell));
      return { summary, evidence, column: column && { ...column, values: valuesOf(column.dtype, buffers[0]) } };
    },
    async map(name, tell) {
      const { buffers, unkept } = await ask("map", { name }, words(tell));
      if (unkept) tell?.(`This layout is not kept for the next time: ${unkept}`);
      return valuesOf("f4", buffers[0]);
    },
    decide: (change) => ask("decide", change),
    undo: () => ask("undo"),
    redo: () => ask("redo"),
    figure: async (view, format) => file(await ask("figure", { view, format })),
    table: async (what) => file(await ask("table", { what })),
    code: async () => (await ask("code")).text,
    stop,
  };
}

async function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "wb";
  root.textContent = "Loading the run …";
  el.append(root);
  const questions = kernel(model);
  const parts = {};
  const take = ({ part, column, bytes, first }, [data]) => {
    parts[part] ??= { column, data: new Uint8Array(bytes) };
    parts[part].data.set(data, first);
  };
  let leave = () => {};
  let gone = false;
  // the connection changed: is the kernel still there?
  const check = () => {
    const late = setTimeout(() => {
      const words = "The kernel is gone, so nothing is saved any more. Run this cell again.";
      questions.giveUp(new Error(words));
      root.querySelector(".wb-gone")?.remove();
      root.prepend(Object.assign(document.createElement("div"), { className: "wb-banner wb-gone", textContent: words }));
      root.querySelector(".wb-gone").setAttribute("role", "alert");
    }, 5000);
    questions.ask("ping").then(() => {
      clearTimeout(late);
      root.querySelector(".wb-gone")?.remove();
    }, () => {});
  };
  model.on("comm_live_update", check);
  questions
    .ask("start", {}, take)
    .then((start) => {
      if (gone) return;
      // what a reopened notebook shows in its place is not needed now
      root.closest(".jp-OutputArea, .output_area, .jp-Cell")?.querySelectorAll(".wb-fallback").forEach((node) => (node.hidden = true));
      const columns = Object.fromEntries(Object.entries(parts).map(([name, { column, data }]) => [name, { ...column, values: valuesOf(column.dtype, data) }]));
      const decisions = new Map(Object.entries(start.decisions).map(([row, decision]) => [Number(row), decision]));
      const store = new Store(start.header, new Table(columns), decisions);
      const source = kernelSource(questions, start);
      root.replaceChildren();
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
      if (start.can.maps) questions.ask("warm_up").catch(() => {}); // the first question for a map tells of its own failure
      leave = () => {
        model.off("change:selection", follow);
        mute();
        close();
      };
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
