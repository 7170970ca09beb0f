import { barsOf, enlarged } from "./bars.js";
import { button, choice, h, redraw, toggle } from "./dom.js";
import { decisionBar } from "./decisions.js";
import { mapPanels, showVerdict } from "./maps.js";
import { fromRgb } from "./picture.js";
import { short } from "./numbers.js";
import { whatIfView } from "./whatif.js";

const REST_MS = 500; // the evidence waits until the eye has come to rest
export const SECTIONS = { maps: "Maps", what_if: "What if", history: "Training history", nearest: "Nearest train images" };

function historyOf({ predicted, correct, label_probability: given, loss }, classes) {
  const probability = given ?? loss.map((value) => Math.exp(-value));
  const right = correct ?? [];
  const [width, height, pad] = [460, 150, 30];
  const x = (k) => pad + (k * (width - pad - 8)) / Math.max(1, probability.length - 1);
  const y = (value) => 8 + (1 - value) * (height - pad - 8);
  const parts = probability.map((value, k) => `<circle cx="${x(k)}" cy="${y(value)}" r="3.5" class="${right[k] ? "wb-ok" : "wb-off"}"></circle>`);
  const path = probability.map((value, k) => `${k ? "L" : "M"}${x(k)} ${y(value)}`).join("");
  const labels = [0, 0.5, 1].map((value) => `<text x="${pad - 6}" y="${y(value) + 4}" text-anchor="end">${100 * value}</text>`);
  const forgotten = right.filter((value, k) => k && !value && right[k - 1]).length;
  const since = right.lastIndexOf(false) + 1;
  const words = [
    right.length && right[right.length - 1] ? `Right from epoch ${since + 1} to the end` : "Wrong at the end",
    forgotten ? `forgotten ${forgotten === 1 ? "once" : `${forgotten} times`}` : "never forgotten",
  ];
  if (predicted && !right[right.length - 1]) words.push(`last taken for ${classes[predicted[predicted.length - 1]]}`);
  const plot = h("div", { className: "wb-history" });
  // numbers only: no word of the data goes into this markup
  plot.innerHTML = `<svg viewBox="0 0 ${width} ${height}" role="img"><path d="${path}" class="wb-line-path"></path>${parts.join("")}${labels.join("")}<text x="${width / 2}" y="${height - 4}" text-anchor="middle">epoch 1 to ${probability.length}</text></svg>`;
  plot.firstChild.setAttribute("aria-label", words.join(", "));
  return h("div", {}, h("p", { textContent: `${words.join("; ")}.` }), plot, h("p", { className: "wb-note", textContent: "Probability of the true class (%) after each epoch; filled where the model was right." }));
}

/** The size of an image, and the one at which the model sees it, if that is another. */
export function sizeWords({ shape, whole = shape }) {
  const [own, seen] = [whole, shape].map(([rows, columns]) => `${columns}×${rows}`);
  return own === seen ? `${own} pixels` : `${own} pixels, seen at ${seen}`;
}

export function detailView(context) {
  const { store, source, header } = context;
  const { table } = store;
  const { classes } = header;
  const heading = h("h3", { textContent: "Choose an image to look closer." });
  const decisions = decisionBar(context);
  const tabs = h("div", { className: "wb-bar wb-tabs", role: "group", "aria-label": "About this image" });
  const picture = h("div", { className: "wb-picture" });
  const bars = h("div", {});
  const body = h("div", { className: "wb-section" });
  const node = h("div", { className: "wb-detail" }, heading, decisions.node, h("div", { className: "wb-columns" }, picture, bars, h("div", { className: "wb-wide" }, tabs, body)));
  let section = "maps";
  let detail = null; // of the image shown
  let own = false;
  let number = 0;
  let rest = 0;
  const cache = new Map();

  const sections = () => Object.entries(SECTIONS).filter(([key]) => key === "maps" || (key === "what_if" && source.can.maps && source.whatIf && detail?.shape) || (key === "history" && detail?.history) || (key === "nearest" && detail?.nearest?.length));

  async function show() {
    const { selected } = store.selection;
    const mine = ++number;
    clearTimeout(rest);
    source.stop?.("evidence");
    decisions.update();
    node.classList.toggle("wb-none", selected < 0);
    if (selected < 0) {
      detail = null;
      heading.textContent = "Choose an image to look closer.";
      [picture, bars, body, tabs].forEach((part) => part.replaceChildren());
      delete node.dataset.row;
      return;
    }
    const position = table.position(selected);
    const [label, predicted] = ["label", "predicted"].map((name) => table.text(name, position));
    const why = store.evidence?.[selected];
    heading.replaceChildren(`#${selected}: ${label}, ${label === predicted ? "rightly recognised" : `taken for ${predicted}`}`, why ? h("small", { className: "wb-note", textContent: why }) : "");
    if (section === "maps" && source.can.maps) fetchMaps(spec()).catch(() => {}); // asked at once, told of below
    try {
      const found = await keep(`detail ${selected}`, () => source.detail(selected));
      if (mine !== number) return;
      detail = found;
    } catch (error) {
      if (mine === number) body.replaceChildren(problem(error));
      return;
    }
    drawPicture();
    await drawSection(mine);
  }

  /** The answer to a question, from memory if it is known or under way; the latest 200 are kept. */
  function keep(key, ask) {
    if (!cache.has(key)) {
      const answer = ask();
      cache.set(key, answer);
      answer.catch(() => cache.delete(key));
      if (cache.size > 200) cache.delete(cache.keys().next().value);
    }
    return cache.get(key);
  }

  function spec() {
    const { selected, methods, layers, targets } = store.selection;
    return { row: selected, methods, layers, targets };
  }

  const fetchMaps = (what) => keep(JSON.stringify(what), () => source.explain(what, (words) => tellMaps(words)));
  let tellMaps = () => {};

  function drawPicture() {
    const { selected } = store.selection;
    detail.image ??= detail.rgb ? fromRgb(detail.rgb, ...detail.shape) : null;
    const label = table.value("label", table.position(selected));
    picture.replaceChildren(detail.image ? enlarged(detail.image, 192, `Image ${selected}`) : h("p", { className: detail.problem ? "wb-problem" : "wb-note", role: detail.problem ? "alert" : null, textContent: detail.problem || "No image on this machine." }));
    if (detail.shape) picture.append(h("span", { className: "wb-note", textContent: sizeWords(detail) }));
    bars.replaceChildren(detail.bars ? barsOf(detail.bars, classes, label) : "");
    if (detail.compared) bars.append(h("h5", { textContent: header.comparison.name }), barsOf(detail.compared, classes, label));
    node.dataset.row = selected;
  }

  async function drawSection(mine) {
    if (!sections().some(([key]) => key === section)) section = "maps";
    redraw(
      tabs,
      sections().map(([key, text]) =>
        toggle(text, key === section, () => {
          section = key;
          drawSection(number);
        }),
      ),
    );
    if (section === "maps") await drawMaps(mine);
    else if (section === "history") body.replaceChildren(historyOf(detail.history, classes));
    else if (section === "nearest") body.replaceChildren(nearest());
    else body.replaceChildren(whatIfView(context, detail, store.selection.selected));
  }

  function nearest() {
    return h(
      "div",
      { className: "wb-panels" },
      detail.nearest.map(({ row, label, similarity, rgb, shape, problem }) =>
        h("div", { className: "wb-panel" }, h("b", { textContent: label }), rgb ? enlarged(fromRgb(rgb, ...shape), 128, `train image ${row}: ${label}`) : problem ? h("span", { className: "wb-note", textContent: problem }) : null, h("span", { className: "wb-note", textContent: `train #${row}, similarity ${short(similarity)}` })),
      ),
    );
  }

  const problem = (error) => h("p", { className: "wb-problem", role: "alert" }, error.message, error.trace ? h("details", {}, h("summary", { textContent: "What happened" }), h("pre", { textContent: error.trace })) : null);

  function controls() {
    const { methods, layers, targets } = store.selection;
    const set = (name, value, alone) => {
      const before = store.selection[name];
      const next = alone ? [value] : before.includes(value) ? before.filter((other) => other !== value) : [...before, value];
      if (next.length || name === "layers") store.set({ [name]: next });
    };
    const families_ = [...new Set(source.methods.map(({ family }) => family))];
    const menu = h(
      "details",
      { className: "wb-menu" },
      h("summary", { textContent: methods.length === 1 ? `Method: ${methods[0]}` : `${methods.length} methods` }),
      h(
        "div",
        {},
        families_.map((family) => [
          h("h6", { textContent: family }),
          source.methods
            .filter((method) => method.family === family)
            .map(({ name, slow, citation }) => {
              const box = h("input", { type: "checkbox", checked: methods.includes(name), onchange: () => set("methods", name, false) });
              return h("label", { title: citation }, box, name, slow ? h("small", { className: "wb-note", textContent: " slow" }) : null);
            }),
        ]),
      ),
    );
    menu.open = menuOpen;
    menu.addEventListener("toggle", () => (menuOpen = menu.open));
    const last = source.layers[source.layers.length - 1]?.name;
    const onLayers = source.methods.some(({ name, layers: at }) => at && methods.includes(name));
    const layerButtons = source.layers.map(({ name, grid }) => toggle(`${name} ${grid.join("×")}`, layers.includes(name) || (!layers.length && name === last), () => set("layers", name, false)));
    const position = table.position(store.selection.selected);
    const wrong = table.value("correct", position) === 0;
    const roles = ["predicted", "true", ...(wrong ? ["contrast"] : [])];
    const named = targets.filter((name) => !["predicted", "true", "contrast"].includes(name));
    const others = [["", "other class …"], ...classes.filter((name) => !targets.includes(name)).map((name) => [name, name])];
    return h(
      "div",
      { className: "wb-bar wb-mapbar" },
      menu,
      onLayers && source.layers.length > 1 ? h("span", { className: "wb-group", role: "group", "aria-label": "Layers" }, layerButtons) : null,
      h("span", { className: "wb-group", role: "group", "aria-label": "What is explained" }, [...roles, ...named].map((name) => toggle(name === "contrast" ? "why not the true one" : name, targets.includes(name), () => set("targets", name, false)))),
      choice("", others, "", (name) => name && set("targets", name, false), "Another class to explain"),
      choice("Scale", [["", "one per method"], ["own", "each its own"]], own ? "own" : "", (next) => {
        own = next === "own";
        drawMaps(number);
      }),
    );
  }
  let menuOpen = false;

  async function drawMaps(mine) {
    if (!source.can.maps) {
      body.replaceChildren(h("p", { className: "wb-note", textContent: source.noMaps ?? (source.can.images ? "No maps: the model is not on this machine." : "No maps: the images are not on this machine.") }));
      return;
    }
    const what = spec();
    const { row: selected, methods, layers, targets } = what;
    const status = h("p", { className: "wb-note", role: "status" });
    const place = h("div", { className: "wb-families" });
    const slow = source.methods.some(({ name, slow: costly }) => costly && methods.includes(name));
    status.textContent = slow ? "Computing the maps …" : "";
    if (slow) status.append(" ", button("Stop", () => source.stop("explain")));
    tellMaps = (words) => status.firstChild && (status.firstChild.textContent = words);
    place.append(...body.querySelectorAll(".wb-families > *")); // the old ones stay until the new ones are there
    redraw(body, controls(), status, place);
    try {
      const found = await fetchMaps(what);
      if (mine !== number || section !== "maps" || !place.isConnected) return;
      const { groups, chips } = mapPanels(found.maps, detail.image, header.ramps, { own });
      status.textContent = found.maps.length ? "" : "No map: for a right image there is no other class to hold against.";
      place.replaceChildren(...groups);
      node.dataset.maps = found.maps.length;
      node.dataset.explained = `${selected} ${methods} ${layers} ${targets}`;
      judge(mine, what, found, chips);
    } catch (error) {
      if (mine === number) status.replaceChildren(error.stopped ? "Stopped." : problem(error));
    }
  }

  function judge(mine, what, found, chips) {
    if (!source.evidence) return;
    found.verdicts ??= new Map();
    for (const [place, chip] of chips) {
      if (found.verdicts.has(place)) showVerdict(chip, found.verdicts.get(place));
      else chip.textContent = found.maps[place].model ? "" : "evidence: waiting …";
    }
    const open = [...chips.keys()].some((place) => !found.verdicts.has(place) && !found.maps[place].model);
    if (!open) return;
    clearTimeout(rest);
    rest = setTimeout(async () => {
      for (const [place, chip] of chips) if (!found.verdicts.has(place) && !found.maps[place].model) chip.textContent = "evidence: testing …";
      try {
        await source.evidence(what, (said) => {
          found.verdicts.set(said.place, said);
          if (mine === number && chips.has(said.place)) showVerdict(chips.get(said.place), said);
        });
      } catch (error) {
        if (!error.stopped && mine === number) for (const [place, chip] of chips) if (!found.verdicts.has(place)) chip.textContent = `no evidence: ${error.message}`;
      }
    }, REST_MS);
  }

  show();
  return {
    node,
    decisions,
    update(changed) {
      if (changed.has("selected") || changed.has("columns")) show();
      else if (["methods", "layers", "targets"].some((name) => changed.has(name)) && detail) drawMaps(number);
      if (changed.has("decisions") || changed.has("picked")) decisions.update();
    },
  };
}
