import assert from "node:assert/strict";
import test from "node:test";

import { pointsOf } from "../../workbench/explorer/static/cohorts.js";
import { edgesOf, histogram, tally } from "../../workbench/explorer/static/facets.js";
import { LocalDecisions } from "../../workbench/explorer/static/local.js";
import { Store } from "../../workbench/explorer/static/store.js";
import { Table } from "../../workbench/explorer/static/table.js";
import { answerOf, corrected, suggestion } from "../../workbench/explorer/static/triage.js";
import { changeWords, flipWords } from "../../workbench/explorer/static/whatif.js";
import { kernelState } from "../../workbench/explorer/static/widget.js";
import { enriched } from "../../workbench/explorer/static/why.js";
import { START } from "./start.mjs";

const ANSWERS = { yes: "wrong", no: "right", unsure: "unclear" };
const decision = (tags, label = null, note = "") => ({ tags, label, note });
const flag = (values) => ({ title: "f", kind: "category", dtype: "u1", categories: ["no", "yes"], values });

function table(predicted, label, more = {}) {
  const classes = ["ant", "bee", "cow"];
  const words = (values) => ({ title: "c", kind: "class", dtype: "u2", categories: classes, values: Uint16Array.from(values) });
  const numbers = (values) => ({ title: "n", kind: "number", dtype: "f8", categories: [], values: Float64Array.from(values) });
  return new Table({
    index: numbers(label.map((_, k) => k)),
    label: words(label),
    predicted: words(predicted),
    correct: { ...words(label.map((one, k) => Number(one === predicted[k]))), kind: "flag", categories: ["misclassified", "correct"] },
    loss: numbers(label.map((_, k) => k)),
    ...more,
  });
}

test("what a decision answers", () => {
  assert.equal(answerOf(undefined, ANSWERS), null);
  assert.equal(answerOf(decision(["other"]), ANSWERS), null);
  assert.equal(answerOf(decision([], 2), ANSWERS), "yes");
  assert.deepEqual(["wrong", "right", "unclear"].map((tag) => answerOf(decision([tag]), ANSWERS)), ["yes", "no", "unsure"]);
});

test("people suggest before the model does, unless they agree with the label", () => {
  const bars = (votes) => [0, 1, 2].map((k) => ({ class: k, value: [0.2, 0.7, 0.1][k], votes: votes && votes[k] }));
  assert.deepEqual(suggestion(bars(null), 1), { label: 0, by: "The model's next choice" });
  assert.deepEqual(suggestion(bars([0, 0.1, 0.9]), 1), { label: 2, by: "People prefer" });
  assert.equal(suggestion(bars([0.5, 0.5, 0]), 1).by, "The model's next choice"); // people are divided
  assert.deepEqual(suggestion(bars([0, 0.9, 0.1]), 1), { label: 0, by: "The model's next choice" });
  assert.deepEqual(suggestion(bars(null), 0), { label: 1, by: "The model says" });
  assert.equal(suggestion([{ class: 1, value: 1, votes: null }], 1), null);
});

test("accuracy on corrected labels counts what the corrections change, and no label that stays", () => {
  const rows = table([0, 1, 2, 0], [0, 0, 2, 1]);
  const decisions = new Map([
    [0, decision([], 2)], // was correct, is not any more
    [1, decision([], 1)], // was misclassified, is correct
    [2, decision([], 2)], // the label that it has
    [3, decision([], 0)],
    [9, decision([], 1)], // no row of the table
  ]);
  assert.deepEqual(corrected({ table: rows, decisions, header: { rows: 4, errors: 2 } }), { labels: 3, before: 0.5, after: 0.75 });
});

test("a property of the selection is told where its interval holds no 0, and none is told of a random choice", () => {
  const n = 2000;
  const base = Array.from({ length: n }, (_, k) => k);
  const rows = base.filter((k) => k < 200);
  const columns = {
    special: flag(Uint8Array.from(base, (k) => Number(k < 200 ? k % 2 : k % 10 === 0))),
    even: flag(Uint8Array.from(base, (k) => k % 2)),
  };
  const whole = table(base.map(() => 0), base.map(() => 1), columns);
  const found = enriched(whole, rows, base, ["special", "even"]);
  assert.deepEqual(found.map(({ name, share, rest }) => [name, share, rest]), [["special", 0.5, 0.1]]);
  assert.deepEqual(enriched(whole, rows.slice(0, 3), base, ["special"]), []);
  let [told, seed] = [0, 1];
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let trial = 0; trial < 200; trial++) {
    const noise = {};
    for (let k = 0; k < 10; k++) noise[`n${k}`] = flag(Uint8Array.from(base, () => Number(random() < 0.2)));
    const drawn = table(base.map(() => 0), base.map(() => 1), noise);
    told += Number(enriched(drawn, rows, base, Object.keys(noise)).length > 0);
  }
  assert.ok(told <= 18, `${told} of 200 random choices have a false difference`); // 5 % expected, at most
});

test("histograms and tallies count every row once", () => {
  const values = Float64Array.of(0, 1, 2, NaN, 4, 4);
  const edges = edgesOf(values, 4);
  assert.deepEqual([...histogram(values, [0, 1, 2, 3, 4, 5], edges)], [1, 1, 1, 2]);
  assert.equal(edgesOf(Float64Array.of(3, 3, NaN)), null);
  assert.deepEqual([...tally({ values: Uint8Array.of(0, 1, 1), categories: ["a", "b"] }, [1, 2])], [0, 2]);
});

test("a page's decisions change, are undone and redone as the kernel's", () => {
  const own = new LocalDecisions(new Map([[1, decision(["a"])]]));
  assert.deepEqual(own.decide({ rows: [1, 2], add: ["b"], label: 2 }).changed, {
    1: { tags: ["a", "b"], label: 2, note: "" },
    2: { tags: ["b"], label: 2, note: "" },
  });
  assert.deepEqual(own.decide({ rows: [2], add: ["b"] }).changed, {}); // nothing new, nothing to undo
  assert.deepEqual(own.undo().changed, { 1: decision(["a"]), 2: null });
  assert.deepEqual(own.redo().changed[2], { tags: ["b"], label: 2, note: "" });
  own.decide({ rows: [2], remove: ["b"], clear_label: true, note: 'said "no", twice' });
  const lines = own.csv(table([0, 1, 2], [0, 0, 2]), ["ant", "bee", "cow"], { data: "d", split: "test" }).split("\r\n");
  assert.equal(lines[0], "index,label,predicted,tags,corrected_label,note,data,split");
  assert.equal(lines[2], '2,cow,cow,,,"said ""no"", twice",d,test');
});

test("rows by their ids are a filter, and columns of cohorts come and go", () => {
  const store = new Store({ errors: 2, rows: 3, start: START }, table([0, 1, 2], [0, 0, 1]), new Map());
  store.set({ steps: [{ kind: "rows", rows: [2, 0], words: "like #1" }], wrong_only: false });
  assert.deepEqual([...store.rows].map((k) => store.table.id(k)), [2, 0]);
  assert.equal(store.words, "2 of 3 images: like #1");
  store.replaceColumns("cohort: ", { "cohort: a": flag(Uint8Array.of(1, 0, 1)) });
  store.set({ steps: [{ kind: "any", column: "cohort: a", values: ["yes"] }] });
  assert.equal(store.rows.length, 2);
  let told = 0;
  store.subscribe(() => (told += 1));
  store.replaceColumns("cohort: ", { "cohort: a": flag(Uint8Array.of(1, 0, 1)) });
  assert.equal(told, 0); // nothing changed
  store.replaceColumns("cohort: ", {});
  assert.deepEqual([store.selection.steps, "cohort: a" in store.table.columns], [[], false]);
});

test("differences have a sign and an interval", () => {
  assert.equal(pointsOf(0.031, -0.012, 0.05), "+3.1 points (−1.2 to +5.0)");
  assert.equal(pointsOf(null, null, null), "–");
});

test("each smallest change is said with its answer, and the kinds without one together", () => {
  const found = [
    { kind: "rotate", answer: 1, words: "rotate −3.1 degrees", change: { rotate: -3.1 } },
    { kind: "blur", answer: -1 },
    { kind: "noise", answer: -1 },
  ];
  const { changes, none } = flipWords(found, ["cat", "dog"]);
  assert.deepEqual(changes, [{ text: "rotate −3.1 degrees: dog", change: { rotate: -3.1 } }]);
  assert.equal(none, "No other answer by blur, noise.");
  assert.equal(flipWords(found.slice(0, 1), ["cat", "dog"]).none, "");
});

test("what a change does is said with the probability before and after", () => {
  const bars = (a, b) => [
    { class: 0, value: a },
    { class: 1, value: b },
  ];
  assert.equal(changeWords(bars(0.9, 0.1), bars(0.3, 0.7), ["ant", "bee"]), "The answer changes from ant to bee: ant 90.0 % → 30.0 %.");
  assert.equal(changeWords(bars(0.9, 0.1), bars(0.8, 0.2), ["ant", "bee"]), "The answer stays ant: ant 90.0 % → 80.0 %.");
});

test("what the host knows of the kernel is one of four states", () => {
  assert.deepEqual(["idle", "busy", "restarting", "dead", undefined].map((status) => kernelState(status)), [
    "live",
    "busy",
    "restarting",
    "gone",
    "live",
  ]);
  assert.equal(kernelState("idle", false), "gone");
});
