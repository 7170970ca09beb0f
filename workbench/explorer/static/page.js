import { explorer } from "./explorer.js";
import { Store } from "./store.js";
import { Table, halves, valuesOf } from "./table.js";
import { Thumbnails } from "./thumbnails.js";

/** The bytes of a base64 text. */
export function decoded(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let k = 0; k < raw.length; k++) bytes[k] = raw.charCodeAt(k);
  return bytes;
}

/** What the views may ask for, answered from the page itself. */
export function pageSource(bundle, bytes, table) {
  const { header, parts, targets } = bundle;
  const { classes } = header;
  const slice = (name) => bytes.subarray(parts[name].first, parts[name].first + parts[name].bytes);
  const probability = parts.probability ? valuesOf("u2", slice("probability")) : null;
  const grids = parts.grids ? halves(slice("grids")) : null;
  const sheetOf = new Map();
  for (const name of Object.keys(parts).filter((key) => key.startsWith("sheet "))) parts[name].rows.forEach((row, place) => sheetOf.set(row, { name, place }));
  const opened = new Map();

  async function sheet(name) {
    const bitmap = await createImageBitmap(new Blob([slice(name)], { type: "image/jpeg" }));
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    return context;
  }

  async function picture(row) {
    const at = sheetOf.get(row);
    if (!at) return null;
    if (!opened.has(at.name)) opened.set(at.name, sheet(at.name));
    const { side, columns } = parts[at.name];
    return (await opened.get(at.name)).getImageData((at.place % columns) * side[1], Math.floor(at.place / columns) * side[0], side[1], side[0]);
  }

  const cells = grids ? parts.grids.grid[0] * parts.grids.grid[1] : 0;
  const grid = (position, place) => grids.slice((position * targets.length + place) * cells, (position * targets.length + place + 1) * cells);

  /** The map of a target of a row, with its title; null if the page has none. */
  function mapOf(position, target) {
    const [label, predicted] = ["label", "predicted"].map((name) => table.value(name, position));
    const every = targets.length === classes.length && targets[0] === classes[0];
    const said = { method: "Grad-CAM", kind: "Grad-CAM", layer: parts.grids.layer, target, model: "", refused: "", grid: parts.grids.grid, signed: false, residual: null };
    const remark = (values) => (values.every((value) => value <= 0) ? "nothing speaks for this class: no positive value" : "");
    if (target === "contrast") {
      if (label === predicted) return null;
      const at = every ? [predicted, label] : [0, 1];
      const [one, other] = at.map((place) => grid(position, place));
      const values = one.map((value, k) => value - other[k]);
      return { ...said, values, title: `${classes[predicted]} rather than ${classes[label]}`, remark: remark(values) };
    }
    const of = { predicted, true: label }[target] ?? classes.indexOf(target);
    const place = every ? of : of === predicted ? 0 : of === label ? 1 : -1;
    const role = label === predicted && of === label ? " (predicted and true)" : of === predicted ? " (predicted)" : of === label ? " (true)" : "";
    if (place < 0) return { ...said, values: null, title: classes[of], refused: "This page has maps of the predicted and the true class only." };
    const values = grid(position, place);
    return { ...said, of, values, title: `${classes[of]}${role}`, remark: remark(values) };
  }

  return {
    can: { images: bundle.images, maps: Boolean(grids), map: Boolean(parts["map principal"]), neighbours: false, compare: Boolean(header.comparison) },
    methods: [{ name: "Grad-CAM", family: "class activation", layers: true, slow: false, citation: "" }],
    noMaps: "This page keeps no maps.",
    layers: grids ? [{ name: parts.grids.layer, grid: parts.grids.grid }] : [],
    thumbnails: new Thumbnails(async (ids) => new Map(await Promise.all(ids.map(async (id) => [id, await picture(id)])))),
    async detail(row) {
      const position = table.position(row);
      const image = await picture(row);
      const bars = probability && classes.map((_, k) => ({ class: k, value: probability[position * classes.length + k] / 65535, votes: null }));
      const shown = bars && [...bars].sort((a, b) => b.value - a.value).slice(0, 12);
      if (shown && !shown.some((bar) => bar.class === table.value("label", position))) shown.push(bars[table.value("label", position)]);
      return { row, image, shape: image && [image.height, image.width], bars: shown && shown.sort((a, b) => a.class - b.class), nearest: [] };
    },
    async explain({ row, targets: wanted }) {
      const found = wanted.map((target) => mapOf(table.position(row), target)).filter(Boolean);
      return { maps: found.filter((map, k) => map.of === undefined || found.findIndex((other) => other.of === map.of) === k) };
    },
    map: async (name) => {
      if (!parts[`map ${name}`]) throw new Error("This page has the principal components only.");
      return valuesOf("f4", slice(`map ${name}`));
    },
    causes: bundle.summary.length && (async () => ({ summary: bundle.summary, evidence: bundle.evidence, column: null })),
  };
}

function open() {
  const bundle = JSON.parse(document.getElementById("bundle").textContent);
  const bytes = decoded(document.getElementById("data").textContent);
  const columns = {};
  for (const [name, { first, bytes: size, column }] of Object.entries(bundle.parts)) {
    if (column) columns[name.slice("column ".length)] = { ...column, values: valuesOf(column.dtype, bytes.subarray(first, first + size)) };
  }
  const table = new Table(columns);
  const decisions = new Map(Object.entries(bundle.decisions).map(([row, decision]) => [Number(row), decision]));
  const store = new Store(bundle.header, table, decisions);
  store.evidence = bundle.evidence;
  explorer(document.getElementById("root"), { store, source: pageSource(bundle, bytes, table), header: bundle.header });
}

if (globalThis.document?.getElementById("bundle")) open();
