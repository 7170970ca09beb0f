import { button, h } from "./dom.js";

const KEY = "workbench.tour";
const STEPS = [
  [".wb-side", "Findings say what the model gets wrong, most costly first. The other views of this side choose images, too: cells of the matrix, ranges, classes, a circle on the map."],
  [".wb-selection", "This bar says which images are selected. Each filter is a chip that takes itself away; Undo goes back."],
  [".wb-main", "The gallery shows them. The arrow keys walk through it; Shift and Ctrl pick several."],
  [".wb-detail", "The inspector shows one image with its map and the model's answer. Keys 1 to 5 tag it; what you decide is kept beside the run."],
  [".wb-title", "Review asks about labels one by one. Cohorts keep a selection by name. Export takes figures, rows and code along. ? lists the keys."],
];

/** Whether the tour was seen in this browser; where nothing can be remembered it counts as seen. */
function seen() {
  try {
    return localStorage.getItem(KEY) !== null;
  } catch {
    return true;
  }
}

function remember() {
  try {
    localStorage.setItem(KEY, "seen");
  } catch {
    return; // `seen` is true there
  }
}

/** Five steps through the explorer, the first time in a browser; null afterwards. */
export function tourOf(root) {
  if (seen()) return null;
  let at = 0;
  const words = h("span", { role: "status" });
  const next = button("Next", () => step(at + 1));
  const node = h("div", { className: "wb-banner wb-tour", role: "group", "aria-label": "A short tour" }, words, h("span", { className: "wb-bar" }, next, button("Skip", () => end())));
  const mark = (place) =>
    STEPS.forEach(([part], k) => root.querySelector(part)?.classList.toggle("wb-toured", k === place));
  function end() {
    remember();
    mark(-1);
    node.remove();
  }
  function step(place) {
    if (place >= STEPS.length) {
      end();
      return;
    }
    at = place;
    words.textContent = `${at + 1} of ${STEPS.length}. ${STEPS[at][1]}`;
    next.textContent = at + 1 < STEPS.length ? "Next" : "Done";
    mark(at);
  }
  return { node, start: () => step(0) };
}
