import { button, choice, h, menu, toggle } from "./dom.js";
import { plainOf, settingsOf, variantName } from "./variants.js";

/** What is explained and how: methods and their settings, layers, targets, and the scale of the maps. */
export class MapBar {
  constructor(section) {
    this.section = section;
    this.store = section.store;
    this.source = section.source;
    this.header = section.header;
    this.boxes = new Map(); // method -> its box in the menu
    this.methods = this.methodMenu();
    this.settings = menu("Settings");
  }

  /** The controls, placed by a function; a menu that was open stays open. */
  draw(place) {
    const open = [this.methods, this.settings].find(({ list }) => list.matches(":popover-open"));
    const scrolled = open ? open.list.scrollTop : 0;
    const bar = this.bar();
    place(bar);
    if (open?.list.isConnected) {
      open.list.showPopover();
      open.list.scrollTop = scrolled;
    }
    return bar;
  }

  bar() {
    const { methods } = this.store.selection;
    this.methods.opener.textContent = methods.length === 1 ? `Method: ${plainOf(methods[0])}` : `${methods.length} methods`;
    for (const [name, input] of this.boxes) input.checked = methods.some((one) => plainOf(one) === name);
    return h(
      "div",
      { className: "wb-bar wb-mapbar" },
      this.methods.node,
      this.settingsMenu(),
      this.layerButtons(),
      this.targetButtons(),
      this.otherTarget(),
      this.scaleChoice(),
    );
  }

  /** Add a value to one of the lists of the selection, or take it out; a list may be empty only if it is of layers. */
  flip(name, value) {
    const same = (other) => (name === "methods" ? plainOf(other) === value : other === value);
    const before = this.store.selection[name];
    const next = before.some(same) ? before.filter((other) => !same(other)) : [...before, value];
    if (next.length || name === "layers") this.store.set({ [name]: next });
  }

  methodMenu() {
    const box = ({ name, slow, citation }) => {
      const input = h("input", { type: "checkbox", onchange: () => this.flip("methods", name) });
      this.boxes.set(name, input);
      return h(
        "label",
        { title: citation },
        input,
        name,
        slow ? h("small", { className: "wb-note", textContent: " slow" }) : null,
      );
    };
    const families = [...new Set(this.source.methods.map(({ family }) => family))];
    const lists = families.map((family) => [
      h("h6", { textContent: family }),
      this.source.methods.filter((method) => method.family === family).map(box),
    ]);
    return menu("", lists);
  }

  /** The settings of the methods that are chosen, if they have any. */
  settingsMenu() {
    const having = this.store.selection.methods.flatMap((name) => {
      const method = this.source.methods.find((one) => one.name === plainOf(name));
      return method?.settings?.length ? [[name, method.settings]] : [];
    });
    if (!having.length) return null;
    this.settings.list.replaceChildren(...having.flatMap(([name, settings]) => this.settingsForm(name, settings)));
    return this.settings.node;
  }

  settingsForm(name, settings) {
    const now = settingsOf(name, settings);
    const set = (next) => {
      const changed = variantName(name, settings, next);
      this.store.set({ methods: this.store.selection.methods.map((one) => (one === name ? changed : one)) });
    };
    const field = ({ name: key, kind, least, choices }) => {
      const options = choices?.map((one) => [one, one]);
      if (options) return choice(key, options, now[key], (value) => set({ ...now, [key]: value }));
      const step = kind === "int" ? 1 : "any";
      const input = h("input", { type: "number", min: least, step, value: now[key] });
      input.onchange = () => input.reportValidity() && input.value !== "" && set({ ...now, [key]: Number(input.value) });
      input.onkeydown = (event) => event.stopPropagation();
      return h("label", { className: "wb-choice" }, h("span", { textContent: key }), input);
    };
    const back = button("Defaults", () => set(settingsOf(plainOf(name), settings)));
    const title = h("h6", { textContent: plainOf(name) });
    return [title, ...settings.map(field), ...(name === plainOf(name) ? [] : [back])];
  }

  layerButtons() {
    const { methods, layers } = this.store.selection;
    const all = this.source.layers;
    const onLayers = this.source.methods.some((method) => method.layers && methods.map(plainOf).includes(method.name));
    if (!onLayers || all.length < 2) return null;
    const last = all[all.length - 1].name;
    const on = (name) => layers.includes(name) || (!layers.length && name === last);
    const buttons = all.map(({ name, grid }) =>
      toggle(`${name} ${grid.join("×")}`, on(name), () => this.flip("layers", name)),
    );
    return h("span", { className: "wb-group", role: "group", "aria-label": "Layers" }, buttons);
  }

  targetButtons() {
    const { targets, selected } = this.store.selection;
    const [predicted, label, contrast] = this.header.words.targets;
    const wrong = this.store.table.value("correct", this.store.table.position(selected)) === 0;
    const named = targets.filter((name) => !this.header.words.targets.includes(name));
    const names = [predicted, label, ...(wrong ? [contrast] : []), ...named];
    const buttons = names.map((name) =>
      toggle(name === contrast ? "why not the true one" : name, targets.includes(name), () =>
        this.flip("targets", name),
      ),
    );
    return h("span", { className: "wb-group", role: "group", "aria-label": "What is explained" }, buttons);
  }

  otherTarget() {
    const { targets } = this.store.selection;
    const others = this.header.classes.filter((name) => !targets.includes(name)).map((name) => [name, name]);
    return choice(
      "",
      [["", "other class …"], ...others],
      "",
      (name) => name && this.flip("targets", name),
      "Another class to explain",
    );
  }

  scaleChoice() {
    const { section } = this;
    return choice(
      "Scale",
      [
        ["", "one per method"],
        ["own", "each its own"],
      ],
      section.own ? "own" : "",
      (next) => {
        section.own = next === "own";
        section.drawStage();
        section.draw();
      },
    );
  }
}
