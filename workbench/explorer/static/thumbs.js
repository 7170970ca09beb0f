import { h } from "./dom.js";
import { short } from "./numbers.js";

/** @import { Source } from "./types.d.ts" */
/** @import { Store } from "./store.js" */

/**
 * A small picture of an image with its classes, to be clicked; it is painted by `paintThumbs`.
 * @param {Store} store
 * @param {number} row
 * @param {(row: number) => void} open
 * @param {{ similarity?: number | null, brief?: boolean }} options similarity to the image that it stands beside; whether
 *   the classes are left to the title
 */
export function thumbOf(store, row, open, { similarity = null, brief = false } = {}) {
  const { table } = store;
  const position = table.position(row);
  const known = position >= 0; // of very many rows the views hold a sample
  const [label, predicted] = ["label", "predicted"].map((name) => (known ? table.text(name, position) : ""));
  const words = label === predicted ? label : `${label} → ${predicted}`;
  const alike = similarity === null ? "" : `, similarity ${short(similarity)}`;
  return h(
    "button",
    {
      type: "button",
      className: "wb-thumb",
      title: `#${row}: ${words}${alike}`,
      "aria-label": `Show image ${row}: ${words}${alike}`,
      disabled: !known,
      dataset: { row },
      onclick: () => open(row),
    },
    h("canvas", { width: 1, height: 1 }),
    brief ? null : h("span", { className: label === predicted ? "wb-note" : "wb-wrong", textContent: words }),
  );
}

/**
 * Fetch and paint the thumbnails within a node.
 * @param {Source} source
 * @param {HTMLElement} node
 */
export async function paintThumbs(source, node) {
  const thumbs = /** @type {HTMLElement[]} */ ([...node.querySelectorAll(".wb-thumb")]);
  if (!source.can.images) {
    for (const thumb of thumbs) thumb.querySelector("canvas").hidden = true;
    return;
  }
  if (!thumbs.length) return;
  await source.thumbnails.need([...new Set(thumbs.map(({ dataset }) => Number(dataset.row)))]);
  for (const thumb of thumbs) source.thumbnails.paint(thumb.querySelector("canvas"), Number(thumb.dataset.row));
}
