// People as shapes over a photograph, and as files.

// The colours of higherhrnet/drawing.py, so that the page and the drawn pictures agree.
const LEFT = "rgb(48 140 255)", RIGHT = "rgb(255 140 0)", MIDDLE = "rgb(236 236 236)";
const OUTLINE = "rgb(16 16 20)";
const PEOPLE = [
  "rgb(255 225 60)", "rgb(214 44 160)", "rgb(60 214 120)", "rgb(226 40 54)", "rgb(170 240 240)",
  "rgb(126 60 220)", "rgb(200 240 40)", "rgb(255 160 200)", "rgb(0 128 110)", "rgb(190 170 255)",
];


export const size = (person) => Math.max(person.bbox[2], person.bbox[3]);
export const colour = (person) => PEOPLE[(person.id - 1) % PEOPLE.length];
export const pretty = (name) => name.replaceAll("_", " ");

/** A person's keypoints: names, places in the picture, scores, and whether they are shown. */
export function keypointsOf(person, category, least) {
  return category.keypoints.map((name, k) => {
    const [x, y, score] = person.keypoints.slice(3 * k);
    const shown = score > 0 && score >= least;
    return { name, score, x: x + 0.5, y: y + 0.5, shown }; // the middles of pixels
  });
}

/** A person as SVG that needs no style sheet, so that it can be saved as it is. */
export function figure(person, category, least, widest, chosen) {
  const keypoints = keypointsOf(person, category, least);
  const width = Math.min(Math.max(size(person) / 60, widest / 3, 1), Math.max(widest, 1));
  const limbs = category.skeleton
    .map((ends) => ends.map((k) => keypoints[k - 1]))
    .filter((ends) => ends.every((end) => end.shown));
  const lines = (thick, stroke) =>
    limbs.map(([a, b]) => element("line", {
      x1: a.x, y1: a.y, x2: b.x, y2: b.y,
      "stroke-width": thick, stroke: stroke ?? side(a.name + b.name),
    }));
  const dots = keypoints.filter((keypoint) => keypoint.shown)
    .map((keypoint) => dot(keypoint, width, colour(person)));
  const attributes = {
    class: chosen ? "person chosen" : "person", "stroke-linecap": "round",
    "data-id": person.id, tabindex: 0, role: "button", "aria-pressed": chosen,
    "aria-label": `Person ${person.id}, score ${person.score.toFixed(2)}`,
  };
  return element("g", attributes,
    element("g", { class: "halo", opacity: 0.4 }, ...lines(4 * width + 2, colour(person))),
    element("g", {}, ...lines(1.6 * width + 1, OUTLINE)),
    element("g", {}, ...lines(width)),
    ...dots);
}

function dot({ name, x, y, score }, width, fill) {
  return element("circle", {
    cx: x, cy: y, r: 1.15 * width, fill, stroke: OUTLINE, "stroke-width": width / 3,
    tabindex: -1, role: "img", "data-name": name, "aria-label": `${pretty(name)} ${score.toFixed(2)}`,
  });
}

function side(names) {
  const [left, right] = ["left", "right"].map((word) => names.toLowerCase().includes(word));
  return left === right ? MIDDLE : left ? LEFT : RIGHT;
}

function element(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** The shapes as an SVG file, with the picture below them if it is given. */
export function asSvg(shapes, canvas, withPicture) {
  const { width, height } = canvas;
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, width, height });
  if (withPicture) {
    svg.append(element("image", { href: canvas.toDataURL("image/jpeg", 0.92), width, height }));
  }
  svg.append(...[...shapes.children].map((shape) => shape.cloneNode(true)));
  for (const shape of svg.querySelectorAll("[tabindex]")) {
    for (const name of ["tabindex", "role", "aria-pressed"]) shape.removeAttribute(name);
  }
  return new Blob([new XMLSerializer().serializeToString(svg)], { type: "image/svg+xml" });
}

/** The canvas and the shapes on it as a PNG file. */
export async function asPng(shapes, canvas) {
  const { width, height } = canvas;
  const image = new Image(width, height);
  image.src = URL.createObjectURL(asSvg(shapes, canvas, false));
  await image.decode();
  const sheet = new OffscreenCanvas(width, height);
  const context = sheet.getContext("2d");
  context.drawImage(canvas, 0, 0);
  context.drawImage(image, 0, 0, width, height);
  URL.revokeObjectURL(image.src);
  return sheet.convertToBlob({ type: "image/png" });
}
