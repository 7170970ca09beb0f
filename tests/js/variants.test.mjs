import assert from "node:assert/strict";
import test from "node:test";

import { plainOf, settingsOf, variantName } from "../../workbench/explorer/static/variants.js";

const SETTINGS = [
  { name: "baseline", value: "black", kind: "str", choices: ["black", "blurred"] },
  { name: "steps", value: 64, kind: "int", least: 1 },
];

test("a name without settings has the defaults", () => {
  assert.deepEqual(settingsOf("Integrated gradients", SETTINGS), { baseline: "black", steps: 64 });
  assert.equal(variantName("Integrated gradients", SETTINGS, { baseline: "black", steps: 64 }), "Integrated gradients");
});

test("settings in a name are read and written back", () => {
  const name = "Integrated gradients:baseline=blurred:steps=128";
  const values = settingsOf(name, SETTINGS);
  assert.deepEqual(values, { baseline: "blurred", steps: 128 });
  assert.equal(variantName("Integrated gradients", SETTINGS, values), name);
  assert.equal(plainOf(name), "Integrated gradients");
});

test("a setting that is its default again is not written", () => {
  assert.equal(
    variantName("Integrated gradients:baseline=blurred:steps=128", SETTINGS, { baseline: "black", steps: 128 }),
    "Integrated gradients:steps=128",
  );
});
