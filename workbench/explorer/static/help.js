import { button, h } from "./dom.js";

const KEYS = [
  ["← →", "the image before, the next one, in the order of the gallery"],
  ["↑ ↓", "one line up or down in the gallery"],
  ["1 … 5", "set or take off a tag: of the images picked, or of the one shown"],
  ["Space", "pick the image with the focus; Shift and Ctrl with a click pick several"],
  ["M", "the map alone, over the picture again, the picture alone"],
  ["+ − 0", "zoom into picture and map, out, and back; Ctrl and the wheel, a double click, drag"],
  ["R", "review the labels of the selection one by one"],
  ["Backspace", "undo the last filter"],
  ["Ctrl+Z, Ctrl+Shift+Z", "undo and redo the last decision"],
  ["F", "the whole screen, and back"],
  ["?", "this list"],
  ["Y, N, D, U", "in a review: the label is wrong, is correct, don't know, undo"],
];

/** The keys of the explorer, in a box over it. */
export function helpBox() {
  const node = h(
    "dialog",
    { className: "wb-help", "aria-label": "Keys" },
    h("div", { className: "wb-head-line" }, h("h3", { textContent: "Keys" }), button("✕", () => node.close(), { "aria-label": "Close" })),
    h("dl", {}, KEYS.map(([keys, words]) => [h("dt", {}, h("kbd", { textContent: keys })), h("dd", { textContent: words })])),
  );
  node.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "?") node.close();
  });
  return node;
}
