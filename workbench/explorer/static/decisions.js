import { button, choice, h, redraw, toggle } from "./dom.js";
import { counted } from "./numbers.js";

export const TAG_KEYS = { 1: "wrong label", 2: "ambiguous", 3: "ignore", 4: "interesting" };

/** Tags, corrected label and note of the picked images, or of the one shown. */
export function decisionBar({ store, source, header }) {
  const node = h("div", { className: "wb-bar wb-decisions", role: "group", "aria-label": "Decisions" });
  const status = h("span", { className: "wb-note", role: "status" });
  const rows = () => (store.selection.picked.length ? store.selection.picked : store.selection.selected >= 0 ? [store.selection.selected] : []);
  const known = (id) => store.decisions.get(id) ?? { tags: [], label: null, note: "" };

  async function change(fields) {
    const ids = rows();
    if (ids.length) await said(() => source.decide({ rows: ids, ...fields }));
  }

  /** Make a change, and say whether it is kept. */
  async function said(make) {
    status.textContent = "saving …";
    try {
      const { changed, unsaved } = await make();
      store.decide(changed);
      status.classList.toggle("wb-problem", Boolean(unsaved));
      if (unsaved) status.textContent = `Not saved, and kept here until the next try: ${unsaved}`;
      else status.textContent = source.keeps ? "saved" : "kept until the kernel ends: this run has no folder";
    } catch (error) {
      status.classList.add("wb-problem");
      status.textContent = error.message;
    }
  }

  const flip = (word) => {
    const all = rows().every((id) => known(id).tags.includes(word));
    return change(all ? { remove: [word] } : { add: [word] });
  };

  function update() {
    node.hidden = !rows().length || !source.decide;
    if (node.hidden) return;
    const ids = rows();
    const own = [...new Set([...store.decisions.values()].flatMap(({ tags }) => tags))].filter((word) => !Object.values(TAG_KEYS).includes(word));
    const on = (word) => ids.every((id) => known(id).tags.includes(word));
    const tags = [...Object.entries(TAG_KEYS), ...own.map((word) => ["", word])].map(([key, word]) => toggle(key ? `${word} (${key})` : word, on(word), () => flip(word), { title: key ? `Key ${key}` : "" }));
    const added = h("input", { type: "text", placeholder: "own tag", maxLength: 60, "aria-label": "Add a tag of your own" });
    added.onkeydown = (event) => {
      event.stopPropagation();
      if (event.key === "Enter" && added.value.trim()) change({ add: [added.value.trim()] });
    };
    const first = known(ids[0]);
    const labels = [["-1", "label is right"], ...header.classes.map((name, k) => [String(k), name])];
    const corrected = choice("Should be", labels, first.label === null ? "-1" : String(first.label), (next) => change(next === "-1" ? { clear_label: true } : { label: Number(next) }));
    const note = h("input", { type: "text", placeholder: "note", value: first.note, maxLength: 2000, className: "wb-noteinput", "aria-label": "Note" });
    note.onkeydown = (event) => event.stopPropagation();
    note.onchange = () => change({ note: note.value });
    const travel = [
      ["Undo", "Undo the last decision (Ctrl+Z)", () => source.undo()],
      ["Redo", "Make it again (Ctrl+Shift+Z)", () => source.redo()],
    ].map(([text, title, go]) => button(text, () => said(go), { title }));
    const typing = node.contains(document.activeElement) && document.activeElement.matches("input") ? document.activeElement : null;
    redraw(node, ids.length > 1 ? h("b", { textContent: counted(ids.length, "image") }) : "", ...tags, added, corrected, note, ...travel, status);
    if (typing) {
      // what is being typed stays, whatever is drawn anew around it
      const same = [added, note].find((input) => input.getAttribute("aria-label") === typing.getAttribute("aria-label"));
      if (ids.join() === node.dataset.rows) same.value = typing.value;
      same.focus({ preventScroll: true });
    }
    node.dataset.rows = ids.join();
  }
  return { node, update, flip, travel: (back) => said(() => (back ? source.undo() : source.redo())) };
}
