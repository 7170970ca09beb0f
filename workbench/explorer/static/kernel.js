import { fromRgb } from "./picture.js";
import { valuesOf } from "./table.js";
import { Thumbnails } from "./thumbnails.js";

const bytesOf = (buffer) =>
  buffer instanceof DataView
    ? new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)
    : new Uint8Array(buffer);

const OF_THE_SELECTION = ["figure", "table", "code", "save_cohort"]; // answered of what is selected in the kernel

/** Questions to the kernel, each with its promise; parts and progress come before the answer. */
export class Questions {
  constructor(model) {
    this.model = model;
    this.settle = () => {}; // tells the kernel the selection, ahead of a question that depends on it
    this.open = new Map();
    this.view = `${Date.now().toString(36)}${Math.random().toString(36).slice(2)}`; // every view of a widget hears all answers
    this.last = 0;
    this.log = { messages: 0, bytes: 0 };
    this.receive = (content, buffers) => this.received(content, buffers);
    model.on("msg:custom", this.receive);
  }

  /** The answer to a question; `early` hears parts and progress. */
  ask(name, content = {}, early = null) {
    if (OF_THE_SELECTION.includes(name)) this.settle();
    return new Promise((resolve, reject) => {
      const id = `${this.view}:${++this.last}`;
      this.open.set(id, { name, resolve, reject, early });
      this.log.messages += 1;
      this.model.send({ id, ask: name, ...content });
    });
  }

  received(content, buffers) {
    this.log.messages += 1;
    this.log.bytes += buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0);
    const question = this.open.get(content.id);
    if (!question) return;
    if (content.part !== undefined || content.progress !== undefined) {
      question.early?.(content, buffers.map(bytesOf));
      return;
    }
    this.open.delete(content.id);
    if (content.error !== undefined || content.stopped) {
      question.reject(
        Object.assign(new Error(content.error ?? "stopped"), { trace: content.trace, stopped: content.stopped }),
      );
    } else question.resolve({ ...content, buffers: buffers.map(bytesOf) });
  }

  /** Give up waiting: for questions of one name, or for all of them. */
  giveUp(error, name = null) {
    for (const [id, question] of this.open) {
      if (name !== null && question.name !== name) continue;
      this.open.delete(id);
      question.reject(error);
    }
  }

  stop(job) {
    this.giveUp(Object.assign(new Error("stopped"), { stopped: true }), job);
    return this.ask("stop", { job }).catch(() => {}); // a kernel that is gone has stopped
  }

  close() {
    this.model.off("msg:custom", this.receive);
  }
}

const words = (tell) => (content) => content.progress && tell?.(content.progress);
const fileOf = ({ name, buffers }) => ({ name, bytes: buffers[0] });

/** Maps with their values, from what is said of them and one buffer for each that is there. */
function mapsOf({ maps, buffers }) {
  let next = 0;
  const values = (map) =>
    map.refused ? null : valuesOf("f4", buffers[next++].subarray(0, 4 * map.grid[0] * map.grid[1]));
  return maps.map((map) => ({ ...map, values: values(map) }));
}

function picturesOf({ rows, missing, shape }, rgb) {
  const found = new Map(missing.map((id) => [id, null]));
  const size = 3 * shape[0] * shape[1];
  rows.forEach((id, k) => found.set(id, fromRgb(rgb.subarray(k * size, (k + 1) * size), ...shape)));
  return found;
}

/** The columns in a widget's own state. */
export function columnsOf(columns) {
  const whole = ([name, { data, ...column }]) => [name, { ...column, values: valuesOf(column.dtype, bytesOf(data)) }];
  return Object.fromEntries(Object.entries(columns).map(whole));
}

/** What is known of one image, with its pixels and those of the nearest train images. */
function detailOf(found) {
  const buffers = [...found.buffers];
  const rgb = found.shape ? buffers.shift() : null;
  return { ...found, rgb, nearest: pictured(found.nearest, buffers[0]) };
}

/** Train rows with their pictures, which stand one after another in a buffer. */
function pictured(rows, buffer) {
  let taken = 0;
  return rows.map((one) => {
    if (!one.shape) return one;
    const size = 3 * one.shape[0] * one.shape[1];
    return { ...one, rgb: buffer.subarray(taken, (taken += size)) };
  });
}

/** An answer with the values of its columns, from what is said of them and one buffer each. */
function withColumns({ columns, buffers, ...found }) {
  const whole = ([name, column], k) => [name, { ...column, values: valuesOf(column.dtype, buffers[k]) }];
  return { ...found, columns: Object.fromEntries(Object.entries(columns).map(whole)) };
}

/** What the views may ask for, answered by the kernel; its questions have the names in `header.words.questions`. */
export function kernelSource(questions, start, thumbnails = null) {
  let found = null; // the findings, asked for once by whichever view needs them first
  const kept = thumbnails ? picturesOf(thumbnails, bytesOf(thumbnails.data)) : new Map();
  const parted = (tell, seen) => {
    const maps = [];
    return {
      maps,
      early(content, buffers) {
        if (content.part) {
          maps.push(...mapsOf({ maps: content.maps, buffers }));
          seen?.([...maps]);
        } else words(tell)(content);
      },
    };
  };
  const ask = Object.fromEntries(
    start.header.words.questions.map((name) => [name, (content, early) => questions.ask(name, content, early)]),
  );
  return {
    can: start.can,
    methods: start.methods,
    layers: start.layers,
    keeps: start.kept,
    thumbnails: new Thumbnails(
      async (rows, side) => {
        const answer = await ask.thumbnails({ rows, side });
        return picturesOf(answer, answer.buffers[0]);
      },
      kept,
      thumbnails?.side,
    ),
    decisions: async () => (await ask.decisions()).decisions,
    detail: async (row) => detailOf(await ask.detail({ row })),
    async explain(what, tell, seen) {
      const { maps, early } = parted(tell, seen);
      const last = mapsOf(await ask.explain({ ...what, second: start.can.compare }, early));
      return { maps: [...maps, ...last] };
    },
    async group(rows, tell) {
      const { buffers, ...found } = await ask.group({ rows }, words(tell));
      return { ...found, values: valuesOf("f4", buffers[0]), region: buffers[1] };
    },
    async concepts(pair, rows, tell) {
      const { buffers, ...found } = await ask.concepts({ pair, rows }, words(tell));
      return { ...found, values: valuesOf("f4", buffers[0]) };
    },
    async origins(row) {
      const { buffers, ...found } = await ask.origins({ row });
      const whole = pictured([...found.for, ...found.against], buffers[0]);
      return { ...found, for: whole.slice(0, found.for.length), against: whole.slice(found.for.length) };
    },
    counterparts: (rows) => ask.counterparts({ rows }),
    evidence: (what, tell) => ask.evidence(what, (content) => content.verdict && tell(content)),
    async whatIf(what) {
      const found = await ask.what_if(what);
      const [rgb, ...buffers] = found.buffers;
      return { ...found, rgb, maps: mapsOf({ maps: found.maps, buffers }) };
    },
    flips: async (row) => (await ask.flips({ row })).flips,
    findings(tell) {
      found ??= ask.findings({}, words(tell)).then(withColumns);
      found.catch(() => (found = null)); // the next view asks again
      return found;
    },
    cohorts: async () => withColumns(await ask.cohorts()),
    saveCohort: async (what) => withColumns(await ask.save_cohort(what)),
    removeCohort: async (name) => withColumns(await ask.remove_cohort({ name })),
    similar: (row) => ask.similar({ row }),
    async map(name, tell) {
      const { buffers, unkept } = await ask.map({ name }, words(tell));
      if (unkept) tell?.(`This layout is not kept for the next time: ${unkept}`);
      return valuesOf("f4", buffers[0]);
    },
    decide: (change) => ask.decide(change),
    undo: () => ask.undo(),
    redo: () => ask.redo(),
    figure: async (view, format) => fileOf(await ask.figure({ view, format })),
    table: async (what) => fileOf(await ask.table({ what })),
    code: async () => (await ask.code()).text,
    warmUp: () => ask.warm_up(),
    stop: (job) => questions.stop(job),
  };
}
