import { button, choice, h, keys, redraw } from "./dom.js";
import { gradient } from "./picture.js";
import { short } from "./numbers.js";
import { withStep } from "./selection.js";

const LAYOUTS = { principal: "principal components", neighbours: "neighbours (t-SNE)" };
const GREY = [140, 140, 140];

/** "#3f90da" as three numbers. */
export const rgbOf = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));

/** The colour of each row by a column, as RGB bytes, with its legend: words with colours, or the ends of a ramp. */
export function colours(column, palette, ramp) {
  const rgb = new Uint8Array(3 * column.values.length);
  if (column.kind !== "number") {
    const [all, many] = [palette.map(rgbOf), column.categories.length > palette.length];
    const shown = many ? palette.length - 1 : column.categories.length;
    const of = (k) => (k < shown ? all[k] : GREY);
    column.values.forEach((value, k) => rgb.set(of(value), 3 * k));
    const legend = column.categories.slice(0, shown).map((name, k) => [name, all[k]]);
    return { rgb, legend: many ? [...legend, [`${column.categories.length - shown} more`, GREY]] : legend };
  }
  let [low, high] = [Infinity, -Infinity];
  for (const value of column.values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  column.values.forEach((value, k) => {
    const place = Number.isNaN(value) ? -1 : 3 * Math.round(high > low ? (255 * (value - low)) / (high - low) : 0);
    for (let c = 0; c < 3; c++) rgb[3 * k + c] = place < 0 ? GREY[c] : ramp[place + c];
  });
  return { rgb, ends: [low, high] };
}

/** Offsets of the pixels of a disc around its middle. */
export function disc(radius) {
  const offsets = [];
  const whole = Math.ceil(radius);
  for (let y = -whole; y <= whole; y++) for (let x = -whole; x <= whole; x++) if (x * x + y * y <= radius * radius + 0.1) offsets.push([x, y]);
  return offsets;
}

export function scatterView({ store, source, header }) {
  const { table } = store;
  let layout = "principal";
  let colour = "predicted";
  let view = null; // {x, y, scale}: a point p lies at (p - x) * scale
  let lasso = null;
  let pan = null;
  let painted = null;
  let frame = 0;
  const controls = h("div", { className: "wb-bar" });
  const canvas = h("canvas", { className: "wb-map", tabIndex: 0, role: "img", "aria-label": "Map of the images; arrows move it, plus and minus zoom" });
  const sketch = h("canvas", { className: "wb-sketch" });
  const hint = h("div", { className: "wb-hover wb-note", "aria-live": "polite", textContent: "Circle images to select them. Wheel zooms, Shift and drag moves, double click shows all." });
  const legend = h("div", { className: "wb-legend" });
  const box = h("div", { className: "wb-canvas" }, canvas, sketch);
  const node = h("div", { className: "wb-scatter" }, controls, box, legend, hint);

  function drawControls() {
    const columns = table.names("class", "category", "flag", "number").filter((name) => name !== "index");
    redraw(
      controls,
      choice("Layout", Object.entries(LAYOUTS), layout, async (next) => {
        layout = next;
        view = null;
        await load();
      }),
      choice("Colour", columns.map((name) => [name, table.columns[name].title]), colour, (next) => {
        colour = next;
        painted = null;
        draw();
      }),
      button("Show all", () => {
        view = null;
        draw();
      }),
      button("Select what is in view", () => view && store.maps[layout] && enclose(corners()), { title: "By keyboard: move with the arrows, zoom with plus and minus, then this" }),
    );
  }

  async function load() {
    const wanted = layout;
    if (store.maps[wanted]) return draw();
    hint.textContent = "Placing the images …";
    try {
      const points = await source.map(wanted, (words) => (hint.textContent = words));
      store.addMap(wanted, points);
      hint.textContent = wanted === "neighbours" ? "Near images look alike to the model; distances between far groups mean nothing." : "The two directions in which the model's features vary most.";
    } catch (error) {
      hint.textContent = error.message;
    }
    draw();
    return null;
  }

  function fit(points) {
    let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let k = 0; k < points.length; k += 2) {
      left = Math.min(left, points[k]);
      right = Math.max(right, points[k]);
      top = Math.min(top, points[k + 1]);
      bottom = Math.max(bottom, points[k + 1]);
    }
    const scale = 0.94 * Math.min(canvas.width / (right - left || 1), canvas.height / (bottom - top || 1));
    return { x: (left + right) / 2 - canvas.width / 2 / scale, y: (top + bottom) / 2 - canvas.height / 2 / scale, scale };
  }

  function draw() {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(paint);
  }

  function paint() {
    const points = store.maps[layout];
    const { width, height } = box.getBoundingClientRect();
    if (!points || !width) return;
    const ratio = window.devicePixelRatio || 1;
    for (const one of [canvas, sketch]) {
      if (one.width !== Math.round(width * ratio) || one.height !== Math.round(height * ratio)) {
        one.width = Math.round(width * ratio);
        one.height = Math.round(height * ratio);
      }
    }
    view ??= fit(points);
    if (!painted || painted.colour !== colour || painted.rows !== table.length) painted = { ...colours(table.columns[colour], header.palette, header.ramps.false), colour, rows: table.length };
    const [W, H] = [canvas.width, canvas.height];
    const image = canvas.getContext("2d").createImageData(W, H);
    const pixels = new Uint32Array(image.data.buffer);
    const rows = store.rows;
    const all = rows.length === table.length;
    const crowd = Math.min(3.2, Math.max(0.6, 320 / Math.sqrt(table.length))) * ratio;
    const put = (k, offsets, alpha) => {
      const x = Math.round((points[2 * k] - view.x) * view.scale);
      const y = Math.round((points[2 * k + 1] - view.y) * view.scale);
      if (x < 4 || y < 4 || x >= W - 4 || y >= H - 4) return;
      const value = (alpha << 24) | (painted.rgb[3 * k + 2] << 16) | (painted.rgb[3 * k + 1] << 8) | painted.rgb[3 * k];
      for (const [dx, dy] of offsets) pixels[(y + dy) * W + x + dx] = value;
    };
    const small = disc(crowd * 0.7);
    if (!all) for (let k = 0; k < table.length; k++) put(k, small, 70);
    const large = disc(all ? crowd : Math.min(3.2 * ratio, crowd * 1.5));
    for (const k of rows) put(k, large, 255);
    canvas.getContext("2d").putImageData(image, 0, 0);
    ring(points);
    drawLegend();
    node.dataset.painted = `${layout} ${rows.length}`;
  }

  function ring(points) {
    const context = sketch.getContext("2d");
    context.clearRect(0, 0, sketch.width, sketch.height);
    context.strokeStyle = getComputedStyle(node).color;
    context.lineWidth = 2;
    const place = table.position(store.selection.selected);
    if (place >= 0) {
      context.beginPath();
      context.arc((points[2 * place] - view.x) * view.scale, (points[2 * place + 1] - view.y) * view.scale, 9, 0, 2 * Math.PI);
      context.stroke();
    }
    const step = store.selection.steps.find(({ kind, map }) => kind === "inside" && map === layout);
    const path = lasso ?? step?.polygon;
    if (!path) return;
    context.beginPath();
    for (let k = 0; k < path.length; k += 2) context.lineTo((path[k] - view.x) * view.scale, (path[k + 1] - view.y) * view.scale);
    if (!lasso) context.closePath();
    context.setLineDash([6, 4]);
    context.stroke();
    context.setLineDash([]);
  }

  function drawLegend() {
    const css = ([r, g, b]) => `rgb(${r},${g},${b})`;
    if (painted.legend) {
      legend.replaceChildren(...painted.legend.map(([name, rgb]) => h("span", { title: name }, h("i", { style: { background: css(rgb) } }), name)));
    } else {
      const ends = painted.ends.map((value) => h("span", { textContent: short(value) }));
      legend.replaceChildren(ends[0], h("b", { style: { background: gradient(header.ramps.false) } }), ends[1]);
    }
  }

  const at = (event) => {
    const box_ = canvas.getBoundingClientRect();
    const ratio = canvas.width / box_.width;
    return [(event.clientX - box_.left) * ratio, (event.clientY - box_.top) * ratio];
  };
  const toData = ([x, y]) => [view.x + x / view.scale, view.y + y / view.scale];
  const zoom = ([x, y], factor) => {
    const [u, v] = toData([x, y]);
    view = { scale: view.scale * factor, x: u - x / (view.scale * factor), y: v - y / (view.scale * factor) };
    draw();
  };

  sketch.addEventListener("pointerdown", (event) => {
    if (!view || event.button) return;
    sketch.setPointerCapture(event.pointerId);
    if (event.shiftKey) pan = { from: at(event), view };
    else lasso = [...toData(at(event))];
  });
  sketch.addEventListener("pointermove", (event) => {
    if (pan) {
      const [x, y] = at(event);
      view = { ...view, x: pan.view.x - (x - pan.from[0]) / view.scale, y: pan.view.y - (y - pan.from[1]) / view.scale };
      draw();
    } else if (lasso) {
      lasso.push(...toData(at(event)));
      ring(store.maps[layout]);
    }
  });
  sketch.addEventListener("pointerup", (event) => {
    if (lasso) {
      const drawn = lasso;
      lasso = null;
      if (drawn.length >= 12) enclose(drawn);
      else choosePoint(at(event));
    }
    pan = null;
  });
  sketch.addEventListener("dblclick", () => {
    view = null;
    draw();
  });
  sketch.addEventListener(
    "wheel",
    (event) => {
      if (!view) return;
      event.preventDefault();
      zoom(at(event), 1.0015 ** -event.deltaY);
    },
    { passive: false },
  );

  /** Select what lies within a polygon; its corners are rounded as the points are. */
  function enclose(polygon) {
    store.set(withStep(store.selection, { kind: "inside", map: layout, polygon: polygon.map((value) => Math.fround(value)) }));
  }

  const corners = () => [[0, 0], [canvas.width, 0], [canvas.width, canvas.height], [0, canvas.height]].flatMap(toData);

  /** Select the nearest image among the selected ones, within 12 pixels. */
  function choosePoint([x, y]) {
    const points = store.maps[layout];
    let [best, nearest] = [-1, 144];
    for (const k of store.rows) {
      const distance = ((points[2 * k] - view.x) * view.scale - x) ** 2 + ((points[2 * k + 1] - view.y) * view.scale - y) ** 2;
      if (distance < nearest) [best, nearest] = [k, distance];
    }
    if (best >= 0) store.set({ selected: table.id(best), picked: [] });
  }

  const shift = (x, y) => () => {
    if (!view) return false;
    view = { ...view, x: view.x + (x * canvas.width) / 10 / view.scale, y: view.y + (y * canvas.height) / 10 / view.scale };
    draw();
    return true;
  };
  const closer = (factor) => () => view && (zoom([canvas.width / 2, canvas.height / 2], factor), true);
  keys(canvas, { ArrowLeft: shift(-1, 0), ArrowRight: shift(1, 0), ArrowUp: shift(0, -1), ArrowDown: shift(0, 1), "+": closer(1.25), "-": closer(0.8) });
  const watcher = new ResizeObserver(() => {
    view = null;
    draw();
  });
  watcher.observe(box);
  drawControls();

  return {
    node,
    shown() {
      if (!store.maps[layout]) load();
      else draw();
    },
    update(changed) {
      if (changed.has("columns")) {
        painted = null;
        drawControls();
      }
      if (node.isConnected && ["rows", "selected", "columns", "maps"].some((name) => changed.has(name))) draw();
    },
    close: () => watcher.disconnect(),
  };
}
