import { explorer } from "./explorer.js";
import { LocalDecisions } from "./local.js";
import { Store, decisionsOf } from "./store.js";
import { Table, halves, valuesOf } from "./table.js";
import { Thumbnails } from "./thumbnails.js";

/** @import { Column } from "./types.d.ts" */

const SHOWN_BARS = 12;

/** The bytes of a base64 text. */
function decoded(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let k = 0; k < raw.length; k++) bytes[k] = raw.charCodeAt(k);
  return bytes;
}

/** Pictures in the sheets of the page, each sheet decoded when it is first needed. */
class Sheets {
  constructor(parts, slice) {
    this.parts = parts;
    this.slice = slice;
    this.opened = new Map();
    this.places = new Map(); // row id -> its sheet and place there
    const names = Object.keys(parts).filter((key) => key.startsWith("sheet "));
    for (const name of names) parts[name].rows.forEach((row, place) => this.places.set(row, { name, place }));
  }

  async open(name) {
    const bitmap = await createImageBitmap(new Blob([this.slice(name)], { type: "image/jpeg" }));
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    return context;
  }

  /** The picture of a row; null if the page has none. */
  async picture(row) {
    const at = this.places.get(row);
    if (!at) return null;
    if (!this.opened.has(at.name)) this.opened.set(at.name, this.open(at.name));
    const { side, columns } = this.parts[at.name];
    const context = await this.opened.get(at.name);
    return context.getImageData(
      (at.place % columns) * side[1],
      Math.floor(at.place / columns) * side[0],
      side[1],
      side[0],
    );
  }
}

/** Grad-CAM of the rows, kept in the page for every class or for the predicted and the true one. */
class Grids {
  constructor(bundle, values, table) {
    this.values = values;
    this.table = table;
    this.targets = bundle.targets;
    this.classes = bundle.header.classes;
    this.every = this.targets.length === this.classes.length && this.targets[0] === this.classes[0];
    const { grid, layer } = bundle.parts.grids;
    this.verdicts = bundle.header.words.verdicts;
    this.cells = grid[0] * grid[1];
    this.common = {
      method: "Grad-CAM",
      kind: "Grad-CAM",
      layer,
      model: "",
      refused: "",
      grid,
      signed: false,
      residual: null,
    };
  }

  at(position, place) {
    const first = (position * this.targets.length + place) * this.cells;
    return this.values.slice(first, first + this.cells);
  }

  /** The map of a target of a row, with its title; null for a contrast of a correct row. */
  mapOf(position, target) {
    const [label, predicted] = ["label", "predicted"].map((name) => this.table.value(name, position));
    if (target === "contrast") return this.contrast(position, label, predicted);
    const of = { predicted, true: label }[target] ?? this.classes.indexOf(target);
    const place = this.every ? of : of === predicted ? 0 : of === label ? 1 : -1;
    const roles = [of === predicted && "predicted", of === label && "true"].filter(Boolean).join(" and ");
    if (place < 0)
      return {
        ...this.common,
        target,
        values: null,
        title: this.classes[of],
        refused: "This page has maps of the predicted and the true class only.",
      };
    const values = this.at(position, place);
    return {
      ...this.common,
      target,
      of,
      values,
      title: this.classes[of] + (roles ? ` (${roles})` : ""),
      remark: this.remark(values),
    };
  }

  contrast(position, label, predicted) {
    if (label === predicted) return null;
    const places = this.every ? [predicted, label] : [0, 1];
    const [one, other] = places.map((place) => this.at(position, place));
    const values = one.map((value, k) => value - other[k]);
    return {
      ...this.common,
      target: "contrast",
      values,
      title: `${this.classes[predicted]} rather than ${this.classes[label]}`,
      remark: this.remark(values),
    };
  }

  remark(values) {
    return values.every((value) => value <= 0) ? "nothing speaks for this class: no positive value" : "";
  }

  /** What evidence has found of the maps of some targets, by their place. */
  judged(row, targets, verdicts) {
    const position = this.table.position(row);
    const found = this.maps(row, targets).map((map, place) => {
      const contrast = map.target === "contrast" ? ["predicted", "label"] : null;
      const [of, against] = contrast?.map((name) => this.table.value(name, position)) ?? [map.of, -1];
      const [verdict, reasons] = verdicts[`${row} ${of} ${against}`] ?? [];
      return { place, verdict: this.verdicts[verdict], reasons };
    });
    return found.filter(({ verdict }) => verdict);
  }

  /** The maps of some targets; of those that are one class the first. */
  maps(row, targets) {
    const found = targets.map((target) => this.mapOf(this.table.position(row), target)).filter(Boolean);
    return found.filter((map, k) => map.of === undefined || found.findIndex((other) => other.of === map.of) === k);
  }
}

/** The label and the most probable classes, in the order of classes. */
function barsOfRow(probability, position, count, label) {
  const bars = Array.from({ length: count }, (_, k) => ({
    class: k,
    value: probability[position * count + k] / 65535,
    votes: null,
  }));
  const shown = [...bars].sort((a, b) => b.value - a.value).slice(0, SHOWN_BARS);
  if (!shown.some((bar) => bar.class === label)) shown.push(bars[label]);
  return shown.sort((a, b) => a.class - b.class);
}

/** The columns of the cohorts, which the page holds with all others. */
const cohortColumns = (table, prefix) =>
  Object.fromEntries(Object.entries(table.columns).filter(([name]) => name.startsWith(prefix)));

/** Decisions that last as long as the page, and their export. */
function deciding({ header, decisions }, table) {
  const own = new LocalDecisions(decisionsOf(decisions));
  return {
    decide: async (change) => own.decide(change),
    undo: async () => own.undo(),
    redo: async () => own.redo(),
    kept: "kept until this page is closed: export them",
    table: async () => ({ name: "decisions.csv", bytes: own.csv(table, header.classes, header.provenance) }),
  };
}

/** What the views may ask for, answered from the page itself. */
function pageSource(bundle, bytes, table) {
  const { header, parts } = bundle;
  const slice = (name) => bytes.subarray(parts[name].first, parts[name].first + parts[name].bytes);
  const probability = parts.probability ? valuesOf("u2", slice("probability")) : null;
  const grids = parts.grids ? new Grids(bundle, halves(slice("grids")), table) : null;
  const sheets = new Sheets(parts, slice);
  const verdicts = parts.verdicts ? JSON.parse(new TextDecoder().decode(slice("verdicts"))) : null;
  return {
    can: {
      images: bundle.images,
      maps: Boolean(grids),
      map: Boolean(parts["map principal"]),
      neighbours: false,
      compare: Boolean(header.comparison),
      fixes: false,
      similar: false,
      origins: false,
    },
    methods: [{ name: "Grad-CAM", family: "class activation", layers: true, slow: false, citation: "", settings: [] }],
    noMaps: "This page keeps no maps.",
    layers: grids ? [{ name: parts.grids.layer, grid: parts.grids.grid }] : [],
    thumbnails: new Thumbnails(
      async (ids) => {
        const found = await Promise.all(ids.map((id) => sheets.picture(id)));
        return new Map(ids.map((id, k) => [id, found[k]]));
      },
    ),
    async detail(row) {
      const [position, image] = [table.position(row), await sheets.picture(row)];
      const bars =
        probability && barsOfRow(probability, position, header.classes.length, table.value("label", position));
      return { row, image, shape: image && [image.height, image.width], bars, nearest: [] };
    },
    explain: async ({ row, targets }) => ({ maps: grids.maps(row, targets) }),
    evidence: verdicts && (async ({ row, targets }, tell) => grids.judged(row, targets, verdicts).forEach(tell)),
    map: async (name) => {
      if (!parts[`map ${name}`]) throw new Error("This page has the principal components only.");
      return valuesOf("f4", slice(`map ${name}`));
    },
    ...(header.decide ? deciding(bundle, table) : {}),
    cohorts: async () => ({ cohorts: bundle.cohorts, columns: cohortColumns(table, header.words.cohort) }),
    findings: bundle.findings ? async () => ({ ...bundle.findings, columns: {} }) : null,
  };
}

function openPage() {
  const bundle = JSON.parse(document.getElementById("bundle").textContent);
  const bytes = decoded(document.getElementById("data").textContent);
  /** @type {Record<string, Column>} */
  const columns = {};
  for (const [name, { first, bytes: size, column }] of Object.entries(bundle.parts)) {
    if (column)
      columns[name.slice("column ".length)] = {
        ...column,
        values: valuesOf(column.dtype, bytes.subarray(first, first + size)),
      };
  }
  const table = new Table(columns);
  const store = new Store(bundle.header, table, decisionsOf(bundle.decisions));
  store.evidence = bundle.findings?.evidence ?? null;
  explorer(document.getElementById("root"), { store, source: pageSource(bundle, bytes, table), header: bundle.header });
}

if (globalThis.document?.getElementById("bundle")) openPage();
