import { counted, count, percent, short } from "./numbers.js";
import { sorted } from "./table.js";

/** Whether each point (x, y in turn) lies within the polygon, by the even-odd rule, as the kernel has it. */
export function insidePolygon(points, polygon) {
  const n = points.length / 2;
  const odd = new Uint8Array(n);
  for (let a = 0; a < polygon.length; a += 2) {
    const b = (a + 2) % polygon.length;
    const [x0, y0, x1, y1] = [polygon[a], polygon[a + 1], polygon[b], polygon[b + 1]];
    if (y0 === y1) continue;
    for (let k = 0; k < n; k++) {
      const y = points[2 * k + 1];
      if (y0 > y !== y1 > y && points[2 * k] < x0 + ((y - y0) / (y1 - y0)) * (x1 - x0)) odd[k] ^= 1;
    }
  }
  return odd;
}

/** A function from positions to whether one step holds. */
function test(step, { table, maps, decisions }) {
  if (step.kind === "cells") {
    const [label, predicted] = [table.columns.label.values, table.columns.predicted.values];
    const classes = table.columns.label.categories.length;
    const wanted = new Set(step.cells.map(([t, p]) => (t + 1) * (classes + 1) + p + 1));
    const key = (t, p) => wanted.has((t + 1) * (classes + 1) + p + 1);
    const [rows, columns] = [step.cells.some(([, p]) => p < 0), step.cells.some(([t]) => t < 0)];
    return (k) =>
      key(label[k], predicted[k]) ||
      (rows && key(label[k], -1)) ||
      (columns && key(-1, predicted[k])) ||
      (rows && columns && key(-1, -1));
  }
  if (step.kind === "rows") {
    const wanted = new Set(step.rows);
    return (k) => wanted.has(table.id(k));
  }
  if (step.kind === "tags") {
    const words = new Set(step.words);
    return (k) => (decisions.get(table.id(k))?.tags ?? []).some((word) => words.has(word));
  }
  if (step.kind === "inside") {
    const points = maps[step.map];
    if (!points) return () => false; // the map is on its way
    const within = insidePolygon(points, step.polygon);
    return (k) => within[k] === 1;
  }
  const column = table.columns[step.column];
  if (!column) return () => false; // likewise a column
  const { values, kind, categories, dtype } = column;
  if (step.kind === "any") {
    const wanted = new Set(step.values.map((value) => (kind === "number" ? Number(value) : categories.indexOf(value))));
    return (k) => wanted.has(values[k]);
  }
  // a bound is rounded as the column is, as the kernel does
  const round = dtype === "f4" ? Math.fround : (value) => value;
  const [low, high] = [step.low, step.high].map((bound) => (bound === null ? null : round(bound)));
  return (k) => (low === null || values[k] >= low) && (high === null || values[k] < high);
}

/** Positions of the selected rows, in their order; `without` omits the steps of one kind. */
export function selectRows(selection, data, without = null) {
  const { table } = data;
  const steps = selection.steps.filter((step) => step.kind !== without);
  const tests = steps.map((step) => test(step, data));
  const correct = table.columns.correct.values;
  const found = new Uint32Array(table.length);
  let n = 0;
  for (let k = 0; k < table.length; k++) {
    if (selection.wrong_only && correct[k]) continue;
    let holds = true;
    for (let s = 0; holds && s < tests.length; s++) holds = tests[s](k);
    if (holds) found[n++] = k;
  }
  const { values } = table.columns[selection.order] ?? table.columns.loss;
  return sorted(found.subarray(0, n), (k) => values[k], selection.descending);
}

function cellWords([t, p], classes) {
  if (t < 0 && p < 0) return "any class";
  if (t < 0) return `predicted as ${classes[p]}`;
  if (p < 0) return `true class ${classes[t]}`;
  return t === p ? `${classes[t]} correct` : `${classes[t]} predicted as ${classes[p]}`;
}

/** A step in words. */
export function stepWords(step, table) {
  const classes = table.columns.label.categories;
  const title = table.columns[step.column]?.title ?? step.column;
  switch (step.kind) {
    case "cells":
      return step.cells.length > 3
        ? `${step.cells.length} cells of the matrix`
        : step.cells.map((cell) => cellWords(cell, classes)).join(" or ");
    case "any":
      return step.values.length === 1 && step.values[0] === "yes" ? title : `${title}: ${step.values.join(" or ")}`;
    case "inside":
      return "circled on the map";
    case "rows":
      return step.words;
    case "tags":
      return `tagged ${step.words.join(" or ")}`;
    default: {
      const say = (value) =>
        ["confidence", "label_probability"].includes(step.column) ? percent(value) : short(value);
      if (step.high === null) return `${title} of ${say(step.low)} or more`;
      if (step.low === null) return `${title} below ${say(step.high)}`;
      return `${title} ${say(step.low)} to ${say(step.high)}`;
    }
  }
}

/** The selection in words, such as "46 of 953 errors: cat predicted as dog, confidence of 90.0 % or more". */
export function describe(selection, table, found, errors, rows) {
  const noun = selection.wrong_only ? "error" : "image";
  const total = selection.wrong_only ? errors : rows;
  if (!selection.steps.length)
    return found === total ? `All ${counted(found, noun)}` : `${count(found)} of ${counted(total, noun)}`;
  const words = selection.steps.map((step) => stepWords(step, table)).join(", ");
  return `${count(found)} of ${counted(total, noun)}: ${words}`;
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** The place of the step that a new one would replace: of one kind, and for columns of one column; -1 for none. */
function rival(steps, step) {
  return steps.findIndex(({ kind, column }) => kind === step.kind && column === step.column);
}

/** The selection with a step more; the same step again takes it back, another of its kind takes its place. */
export function withStep(selection, step) {
  const place = rival(selection.steps, step);
  const steps = [...selection.steps];
  if (place < 0) steps.push(step);
  else if (same(steps[place], step)) steps.splice(place, 1);
  else steps[place] = step;
  return { ...selection, steps };
}

/** The selection with cells of the matrix; with `more` beside those that are selected already. */
export function withCells(selection, cells, more) {
  const before = selection.steps.find(({ kind }) => kind === "cells")?.cells ?? [];
  let wanted = cells;
  if (more) {
    const added = cells.filter((cell) => !before.some((other) => same(cell, other)));
    wanted = added.length ? [...before, ...added] : before.filter((cell) => !cells.some((other) => same(cell, other)));
  }
  const next = wanted.length
    ? withStep(selection, { kind: "cells", cells: wanted })
    : { ...selection, steps: selection.steps.filter(({ kind }) => kind !== "cells") };
  // correct images lie on the diagonal alone
  const diagonal = wanted.some(([t, p]) => t === p && t >= 0);
  return { ...next, wrong_only: diagonal ? false : selection.wrong_only };
}
