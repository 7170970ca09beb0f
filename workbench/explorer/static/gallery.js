import { choice, h, keys, redraw } from "./dom.js";
import { count, percent } from "./numbers.js";

const HEAD = 30; // height of a group's heading
const TEXT = 58; // height of the lines below a picture
const EDGE = 4; // room for the frame of the selected picture

/** A line below the class names, for the eye, and a whole sentence for a screen reader. */
export function labelOf(table, position, tags = []) {
  const [label, predicted] = ["label", "predicted"].map((name) => table.text(name, position));
  const sure = `${percent(table.value("confidence", position))} sure`;
  const right = table.value("correct", position) === 1;
  const verdict = right ? "rightly recognised" : `taken for ${predicted}`;
  const said = tags.length ? `, tagged ${tags.join(", ")}` : "";
  return { label, predicted, right, sure, sentence: `Image ${table.id(position)}: ${label}, ${verdict}, ${sure}${said}` };
}

/** Lines of tiles with their heights: rows in their order, or by group with a heading before each. */
export function layout(rows, columns, tile, groupOf, nameOf) {
  const lines = [];
  let top = EDGE;
  const add = (line, height) => {
    lines.push({ ...line, top, height });
    top += height;
  };
  const groups = groupOf ? Map.groupBy?.(rows, groupOf) ?? grouped(rows, groupOf) : new Map([[null, rows]]);
  const names = [...groups.keys()].sort((a, b) => groups.get(b).length - groups.get(a).length);
  for (const key of names) {
    const members = groups.get(key);
    if (groupOf) add({ heading: `${nameOf(members[0])} (${count(members.length)})` }, HEAD);
    for (let first = 0; first < members.length; first += columns) add({ rows: members.slice(first, first + columns) }, tile);
  }
  return { lines, height: top };
}

function grouped(rows, groupOf) {
  const groups = new Map();
  for (const row of rows) {
    const key = groupOf(row);
    if (groups.has(key)) groups.get(key).push(row);
    else groups.set(key, [row]);
  }
  return groups;
}

export function galleryView({ store, source }) {
  const { table } = store;
  let size = 84;
  let group = "";
  let lines = [];
  let anchor = -1; // where a range of picked images begins
  let flat = [];
  const controls = h("div", { className: "wb-bar" });
  const space = h("div", { className: "wb-space", role: "listbox", "aria-multiselectable": "true", "aria-label": "Selected images" });
  const scroller = h("div", { className: "wb-tiles", tabIndex: -1 }, space);
  const problem = h("div", { className: "wb-problem wb-quiet", role: "alert" });
  const node = h("div", { className: "wb-gallery" }, controls, problem, scroller);
  const tiles = new Map(); // row id -> tile on the page
  let frame = 0;

  function drawControls() {
    const numbers = table.names("number").map((name) => [name, table.columns[name].title]);
    const groups = [["", "nothing"], ...table.names("class", "category", "flag").map((name) => [name, table.columns[name].title])];
    const { order, descending } = store.selection;
    redraw(
      controls,
      choice("Sort by", numbers, order, (next) => store.set({ order: next })),
      choice("", [["true", "highest first"], ["false", "lowest first"]], String(descending), (next) => store.set({ descending: next === "true" }), "Direction"),
      choice("Group by", groups, group, (next) => {
        group = next;
        rebuild();
      }),
      choice("Size", [[56, "small"], [84, "medium"], [128, "large"]], size, (next) => {
        size = Number(next);
        rebuild();
      }),
    );
  }

  function rebuild() {
    const width = scroller.clientWidth - 12;
    const columns = Math.max(1, Math.floor(width / (size + 14)));
    const values = group ? table.columns[group].values : null;
    const made = layout(store.rows, columns, size + TEXT, values && ((k) => values[k]), (k) => table.text(group, k));
    lines = made.lines;
    flat = group ? lines.flatMap(({ rows }) => (rows ? [...rows] : [])) : store.rows;
    space.style.height = `${made.height}px`;
    space.style.setProperty("--tile", `${size}px`);
    const focused = document.activeElement?.closest?.(".wb-tile")?.dataset.row;
    const keeps = focused !== undefined && space.contains(document.activeElement);
    space.replaceChildren();
    tiles.clear();
    if (!store.rows.length) space.append(h("p", { className: "wb-note wb-empty", textContent: "No image is selected. Take a step back in the bar above." }));
    draw();
    // drawn anew, and still where the keys go; an image that is gone gives the focus to the first one
    if (keeps) (tiles.get(Number(focused)) ?? space.querySelector(".wb-tile") ?? scroller).focus({ preventScroll: true });
  }

  /** The place of the first line that ends below a height. */
  function lineAt(top) {
    let [low, high] = [0, lines.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (lines[middle].top + lines[middle].height <= top) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function draw() {
    const [top, bottom] = [scroller.scrollTop, scroller.scrollTop + scroller.clientHeight];
    const wanted = new Set();
    const fresh = [];
    for (let k = lineAt(top - 200); k < lines.length && lines[k].top < bottom + 200; k++) {
      const line = lines[k];
      if (line.heading !== undefined) {
        const key = `heading ${k}`;
        wanted.add(key);
        if (!tiles.has(key)) {
          tiles.set(key, h("h4", { textContent: line.heading, style: { top: `${line.top}px` } }));
          fresh.push(tiles.get(key));
        }
        continue;
      }
      line.rows.forEach((position, column) => {
        const id = table.id(position);
        wanted.add(id);
        if (tiles.has(id)) return;
        const tile = tileOf(position, line.top, column * (size + 14) + 4);
        tiles.set(id, tile);
        fresh.push(tile);
      });
    }
    for (const [key, tile] of tiles) {
      if (wanted.has(key)) continue;
      tile.remove();
      tiles.delete(key);
    }
    space.append(...fresh);
    pictures();
    mark();
  }

  async function pictures() {
    if (!source.can.images) return;
    const ids = [...tiles.keys()].filter((key) => typeof key === "number");
    const paint = () => {
      for (const id of ids) {
        const tile = tiles.get(id);
        if (tile && !tile.dataset.painted && source.thumbnails.paint(tile.firstChild, id)) tile.dataset.painted = "yes";
      }
      if (ids.every((id) => !tiles.has(id) || tiles.get(id).dataset.painted)) node.dataset.painted = store.words;
    };
    paint();
    if (ids.every((id) => source.thumbnails.has(id))) return;
    try {
      await source.thumbnails.need(ids);
      problem.textContent = "";
    } catch (error) {
      problem.textContent = `Some images can't be shown: ${error.message}`;
    }
    paint();
  }

  function tileOf(position, top, left) {
    const id = table.id(position);
    const tags = store.decisions.get(id)?.tags ?? [];
    const { label, predicted, right, sure, sentence } = labelOf(table, position, tags);
    const line = (textContent, className = "") => h("span", { textContent, className });
    return h(
      "button",
      { type: "button", className: "wb-tile", role: "option", title: sentence, "aria-label": sentence, "aria-setsize": store.rows.length, tabIndex: -1, dataset: { row: id }, style: { top: `${top}px`, left: `${left}px` } },
      h("canvas", { width: 1, height: 1, hidden: !source.can.images }),
      line(label),
      right ? line("✓ recognised") : line(`→ ${predicted}`, "wb-wrong"),
      line(sure, "wb-note"),
      tags.length ? h("i", { className: "wb-mark", title: tags.join(", "), textContent: "●" }) : null,
    );
  }

  function mark() {
    const { selected } = store.selection;
    const picked = new Set(store.selection.picked);
    let reachable = null;
    for (const [id, tile] of tiles) {
      if (typeof id !== "number") continue;
      tile.setAttribute("aria-selected", String(picked.has(id) || id === selected));
      tile.classList.toggle("wb-shown", id === selected);
      tile.classList.toggle("wb-picked", picked.has(id));
      tile.tabIndex = -1;
      if (id === selected || !reachable) reachable = tile;
    }
    if (reachable) reachable.tabIndex = 0;
  }

  function choose(id, event) {
    const { picked } = store.selection;
    if (event.shiftKey && anchor >= 0) {
      const ends = [anchor, id].map((row) => flat.indexOf(table.position(row))).sort((a, b) => a - b);
      store.set({ picked: [...flat.slice(ends[0], ends[1] + 1)].map((k) => table.id(k)), selected: id });
      return;
    }
    anchor = id;
    if (event.ctrlKey || event.metaKey) store.set({ picked: picked.includes(id) ? picked.filter((row) => row !== id) : [...picked, id] });
    else store.set({ selected: id, picked: [] });
  }

  const tileAt = (event) => event.target.closest?.(".wb-tile");
  space.addEventListener("click", (event) => {
    const tile = tileAt(event);
    if (tile) choose(Number(tile.dataset.row), event);
  });
  const step = (lineStep, tileStep) => (event) => {
    const tile = tileAt(event);
    if (!tile) return false;
    const position = table.position(Number(tile.dataset.row));
    let target = -1;
    if (lineStep) {
      const at = lines.findIndex(({ rows }) => rows?.includes(position));
      let next = at + lineStep;
      while (lines[next] && !lines[next].rows) next += lineStep;
      if (lines[next]) target = lines[next].rows[Math.min(lines[at].rows.indexOf(position), lines[next].rows.length - 1)];
    } else target = flat[flat.indexOf(position) + tileStep] ?? -1;
    if (target >= 0) focusTile(target);
    return true;
  };
  const space_ = (event) => {
    const tile = tileAt(event);
    if (!tile) return false;
    choose(Number(tile.dataset.row), { ctrlKey: true });
    return true;
  };
  keys(space, { ArrowLeft: step(0, -1), ArrowRight: step(0, 1), ArrowUp: step(-1, 0), ArrowDown: step(1, 0), " ": space_ });

  function focusTile(position) {
    const line = lines.find(({ rows }) => rows?.includes(position));
    if (line.top < scroller.scrollTop) scroller.scrollTop = line.top;
    else if (line.top + line.height > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = line.top + line.height - scroller.clientHeight;
    draw();
    tiles.get(table.id(position))?.focus();
  }

  scroller.addEventListener("scroll", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(draw);
  });
  const watcher = new ResizeObserver(() => rebuild());
  watcher.observe(scroller);
  drawControls();

  return {
    node,
    update(changed) {
      if (changed.has("columns") || changed.has("order") || changed.has("descending")) drawControls();
      if (changed.has("rows") || changed.has("decisions")) {
        if (changed.has("rows")) scroller.scrollTop = 0;
        rebuild();
      } else if (changed.has("selected") || changed.has("picked")) mark();
    },
    close: () => watcher.disconnect(),
    /** Row ids of the neighbours of the selected image, for what is fetched ahead. */
    order: () => flat,
  };
}
