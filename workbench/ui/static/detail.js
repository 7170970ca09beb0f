function element(tag, properties = {}, children = []) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** A number with two significant digits, without a long tail of zeros. */
export const short = (value) => String(Number(value.toPrecision(2)));

function barsOf(bars) {
  const rows = bars.map(({ name, value, true: isTrue, predicted }) => {
    const role = isTrue && predicted ? " ✓" : isTrue ? " (true)" : predicted ? " (predicted)" : "";
    const bar = element("i");
    bar.style.width = `${100 * value}%`;
    return element("div", { className: `${isTrue ? "wb-true " : ""}${predicted ? "wb-predicted" : ""}` }, [
      element("span", { textContent: name + role }),
      bar,
      element("span", { textContent: `${(100 * value).toFixed(1)} %` }),
    ]);
  });
  return element("div", { className: "wb-bars" }, rows);
}

function scaleOf({ top, signed, colours }) {
  const ramp = element("i");
  ramp.style.background = `linear-gradient(to right, ${colours.join(",")})`;
  const ends = signed ? [`−${short(top)} against`, `${short(top)} for`] : ["0", short(top)];
  return element("div", { className: "wb-scale" }, [
    element("b", { textContent: "scale of these maps" }),
    ramp,
    element("div", {}, ends.map((textContent) => element("span", { textContent }))),
  ]);
}

function render({ model, el }) {
  el.classList.add("wb");
  const root = element("div", { className: "wb-detail" });
  root.setAttribute("aria-live", "polite");
  el.append(root);
  let drawing = 0;

  async function draw() {
    const number = ++drawing;
    const sheet = model.get("sheet");
    const bitmap = sheet.byteLength ? await createImageBitmap(new Blob([sheet], { type: "image/png" })) : null;
    if (number !== drawing) return; // another image was chosen meanwhile
    const side = model.get("side");
    const panels = model.get("panels").map(({ title, note }, place) => {
      const canvas = element("canvas", { width: side, height: side });
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${title}: ${note}`);
      canvas.getContext("2d").drawImage(bitmap, place * side, 0, side, side, 0, 0, side, side);
      return element("div", { className: "wb-panel" }, [
        element("b", { textContent: title }),
        canvas,
        element("span", { className: "wb-note", textContent: note }),
      ]);
    });
    const scale = model.get("scale");
    const beside = scale.colours ? [scaleOf(scale)] : [];
    if (model.get("bars").length) beside.push(barsOf(model.get("bars")));
    const parts = [...panels, element("div", { className: "wb-beside" }, beside)];
    const children = [];
    if (model.get("heading")) children.push(element("h3", { textContent: model.get("heading") }));
    if (model.get("message")) children.push(element("p", { className: "wb-note", textContent: model.get("message") }));
    root.replaceChildren(...children, element("div", { className: "wb-panels" }, parts));
    root.dataset.row = model.get("row");
    root.dataset.maps = Math.max(0, panels.length - 1);
  }

  const names = ["sheet", "panels", "message", "row", "bars", "scale"].map((name) => `change:${name}`);
  names.forEach((name) => model.on(name, draw));
  draw();
  return () => names.forEach((name) => model.off(name, draw));
}

export default { render };
