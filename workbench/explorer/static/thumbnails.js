const SIDES = [64, 128, 256]; // that may be asked for
const AT_ONCE = 256; // pictures of the smallest side
const MOST_PIXELS = 80e6; // kept

/** The side to ask for, so that pictures shown at some pixels of the page are sharp on this screen. */
export const sideFor = (pixels, ratio = globalThis.devicePixelRatio ?? 1) =>
  SIDES.find((side) => side >= pixels * ratio) ?? SIDES[SIDES.length - 1];

/** Small pictures by row id: fetched when first needed, a few hundred at a time, and kept. */
export class Thumbnails {
  /**
   * @param {(rows: number[], side: number) => Promise<Map<number, ImageData | null>>} load
   * @param {Map<number, ImageData | null>} known pictures that are there already, of `side`
   */
  constructor(load, known = new Map(), side = SIDES[0], limit = MOST_PIXELS) {
    this.load = load;
    this.limit = limit; // pixels
    this.pixels = 0;
    this.known = new Map(); // row id -> its picture, null for none, and the side up to which it is sharp
    this.asked = new Map(); // row id -> side
    for (const [id, picture] of known) this.keep(id, picture, side);
  }

  keep(id, picture, side) {
    this.drop(id);
    const whole = !picture || Math.max(picture.width, picture.height) < side; // there is no larger one
    this.known.set(id, { picture, side: whole ? Infinity : side });
    this.pixels += picture ? picture.width * picture.height : 0;
  }

  drop(id) {
    const old = this.known.get(id)?.picture;
    this.pixels -= old ? old.width * old.height : 0;
    this.known.delete(id);
  }

  has(id, side = SIDES[0]) {
    return (this.known.get(id)?.side ?? 0) >= side;
  }

  /** Resolves when the pictures are there, or known to be missing. */
  async need(ids, side = SIDES[0]) {
    const wanted = ids.filter((id) => !this.has(id, side) && !((this.asked.get(id) ?? 0) >= side));
    const most = Math.max(1, Math.floor((AT_ONCE * SIDES[0] ** 2) / side ** 2));
    const parts = [];
    for (let first = 0; first < wanted.length; first += most) parts.push(wanted.slice(first, first + most));
    wanted.forEach((id) => this.asked.set(id, side));
    await Promise.all(
      parts.map(async (part) => {
        try {
          for (const [id, picture] of await this.load(part, side)) this.keep(id, picture, side);
        } finally {
          part.forEach((id) => this.asked.delete(id));
        }
      }),
    );
    for (const id of this.known.keys()) {
      if (this.pixels <= this.limit) break;
      this.drop(id); // the longest known go first
    }
  }

  /** Draw a picture, of any side; false if there is none yet. */
  paint(canvas, id) {
    const picture = this.known.get(id)?.picture;
    canvas.parentElement?.classList.toggle("wb-missing", picture === null);
    if (!picture) return picture === null;
    canvas.width = picture.width;
    canvas.height = picture.height;
    canvas.getContext("2d").putImageData(picture, 0, 0);
    canvas.style.imageRendering = Math.max(picture.width, picture.height) > SIDES[0] ? "auto" : ""; // a photograph is smoothed
    return true;
  }
}
