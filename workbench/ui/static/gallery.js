const percent = (share) => `${(100 * share).toFixed(share >= 0.9995 && share < 1 ? 2 : 1)} %`;

/** A line below the thumbnails' class names, for the eye, and a whole sentence for a screen reader. */
export function labelOf(item) {
  const sure = `${percent(item.confidence)} sure`;
  const verdict = item.correct ? "rightly recognised" : `taken for ${item.predicted_class}`;
  return { sure, sentence: `Image ${item.index}: ${item.true_class}, ${verdict}, ${sure}` };
}

function render({ model, el }) {
  el.classList.add("wb");
  const root = document.createElement("div");
  root.className = "wb-gallery";
  const title = document.createElement("h3");
  title.setAttribute("aria-live", "polite");
  const bar = document.createElement("div");
  bar.className = "wb-bar";
  const [back, forth] = ["‹ back", "next ›"].map((textContent) =>
    Object.assign(document.createElement("button"), { textContent, type: "button" }),
  );
  const where = document.createElement("span");
  bar.append(back, where, forth);
  const tiles = document.createElement("div");
  tiles.className = "wb-tiles";
  root.append(title, bar, tiles);
  el.append(root);
  let drawing = 0;

  back.onclick = () => model.send({ page: model.get("page") - 1 });
  forth.onclick = () => model.send({ page: model.get("page") + 1 });
  tiles.addEventListener("click", (event) => {
    const tile = event.target.closest("button");
    if (tile) model.send({ row: Number(tile.dataset.row) });
  });
  tiles.addEventListener("keydown", (event) => {
    const list = [...tiles.children];
    const columns = getComputedStyle(tiles).gridTemplateColumns.split(" ").length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    const next = list[list.indexOf(event.target.closest("button")) + step];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    if (next) next.focus();
  });

  async function draw() {
    const number = ++drawing;
    const items = model.get("items");
    const sheet = model.get("sheet");
    const bitmap = sheet.byteLength ? await createImageBitmap(new Blob([sheet], { type: "image/png" })) : null;
    if (number !== drawing) return; // a newer page arrived meanwhile
    title.textContent = model.get("description");
    const [page, pages] = [model.get("page"), model.get("page_count")];
    where.textContent = `page ${page + 1} of ${pages}`;
    bar.style.visibility = pages > 1 ? "visible" : "hidden";
    back.disabled = page === 0;
    forth.disabled = page + 1 >= pages;
    const side = bitmap ? bitmap.height : 0;
    tiles.replaceChildren(
      ...items.map((item, place) => {
        const tile = document.createElement("button");
        tile.type = "button";
        tile.dataset.row = item.index;
        const { sure, sentence } = labelOf(item);
        tile.setAttribute("aria-label", sentence);
        tile.title = sentence;
        tile.setAttribute("aria-pressed", item.index === model.get("selected"));
        if (bitmap) {
          const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
          canvas.getContext("2d").drawImage(bitmap, place * side, 0, side, side, 0, 0, side, side);
          tile.append(canvas);
        }
        const line = (textContent, className = "") => Object.assign(document.createElement("span"), { textContent, className });
        tile.append(line(item.true_class));
        if (!item.correct) tile.append(line(`→ ${item.predicted_class}`, "wb-wrong"));
        tile.append(line(sure, "wb-note"));
        return tile;
      }),
    );
    if (!items.length) tiles.textContent = "No image here.";
    root.dataset.painted = number;
  }

  function mark() {
    for (const tile of tiles.children) tile.setAttribute("aria-pressed", Number(tile.dataset.row) === model.get("selected"));
  }

  model.on("change:items", draw);
  model.on("change:description", draw);
  model.on("change:selected", mark);
  draw();
  return () => {
    model.off("change:items", draw);
    model.off("change:description", draw);
    model.off("change:selected", mark);
  };
}

export default { render };
